// Package version says what a program was built from.
package version

import (
	"cmp"
	"fmt"
	"runtime/debug"
)

// Set by the linker where the build sees no repository, as in an image:
//
//	go build -ldflags "-X caravan/internal/version.version=1.2.0 -X caravan/internal/version.revision=0123abc"
var version, revision string

// Info is what a program was built from.
type Info struct {
	Version  string // of the module; "devel" when nobody named one
	Revision string // of the repository, with "+changes" when files differed from it; "unknown" without one
	Go       string // the compiler's version
}

// Read returns what this program was built from: what the linker was given, or what the go command noted.
func Read() Info {
	build, ok := debug.ReadBuildInfo()
	if !ok {
		build = &debug.BuildInfo{}
	}
	return from(build, version, revision)
}

func from(build *debug.BuildInfo, version, revision string) Info {
	info := Info{Version: version, Revision: revision, Go: build.GoVersion}
	if info.Version == "" && build.Main.Version != "(devel)" {
		info.Version = build.Main.Version
	}
	if info.Revision == "" {
		info.Revision = noted(build.Settings)
	}
	info.Version, info.Revision = cmp.Or(info.Version, "devel"), cmp.Or(info.Revision, "unknown")
	return info
}

// noted is the revision among the settings of a build.
func noted(settings []debug.BuildSetting) string {
	found, changes := "", ""
	for _, setting := range settings {
		switch {
		case setting.Key == "vcs.revision":
			found = setting.Value
		case setting.Key == "vcs.modified" && setting.Value == "true":
			changes = "+changes"
		}
	}
	if found == "" {
		return ""
	}
	return found + changes
}

// String is one line for people.
func (i Info) String() string {
	return fmt.Sprintf("%s, revision %s, %s", i.Version, i.Revision, i.Go)
}
