package version

import (
	"runtime/debug"
	"testing"
)

func TestTheLinkerWinsOverWhatTheGoCommandNoted(t *testing.T) {
	vcs := func(modified string) *debug.BuildInfo {
		return &debug.BuildInfo{GoVersion: "go1.26", Main: debug.Module{Version: "(devel)"}, Settings: []debug.BuildSetting{
			{Key: "vcs.revision", Value: "0123abc"}, {Key: "vcs.modified", Value: modified},
		}}
	}
	for name, test := range map[string]struct {
		build             *debug.BuildInfo
		version, revision string
		want              string
	}{
		"linked":             {vcs("true"), "1.2.0", "fedcba9", "1.2.0, revision fedcba9, go1.26"},
		"noted":              {vcs("false"), "", "", "devel, revision 0123abc, go1.26"},
		"noted with changes": {vcs("true"), "", "", "devel, revision 0123abc+changes, go1.26"},
		"nothing":            {&debug.BuildInfo{GoVersion: "go1.26"}, "", "", "devel, revision unknown, go1.26"},
		"a module":           {&debug.BuildInfo{GoVersion: "go1.26", Main: debug.Module{Version: "v1.1.0"}}, "", "", "v1.1.0, revision unknown, go1.26"},
	} {
		if got := from(test.build, test.version, test.revision).String(); got != test.want {
			t.Errorf("%s: %q, not %q", name, got, test.want)
		}
	}
}
