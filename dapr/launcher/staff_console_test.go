package launcher

import (
	"slices"
	"strings"
	"testing"
)

func TestStaffConsole(t *testing.T) {
	for _, test := range []struct {
		options Options
		want    bool
	}{
		{Options{Console: true}, true},
		{Options{}, false},
		{Options{Console: true, Only: []string{"users"}}, false}, // nobody can sign in without a gateway
	} {
		options := test.options
		options.Root, options.Dir, options.FreePorts = repository, t.TempDir(), true
		s, err := newStack(options)
		if err != nil {
			t.Fatal(err)
		}
		defer s.ports.Release()
		if err := s.prepareConsole(); err != nil {
			t.Fatal(err)
		}
		if got := s.ConsoleURL() != ""; got != test.want || s.Metadata().Console != s.ConsoleURL() {
			t.Errorf("%+v: the page is %q, and %q in stack.json", test.options, s.ConsoleURL(), s.Metadata().Console)
		}
	}
}

func TestStaffConsoleIsToldWhatRuns(t *testing.T) {
	s, err := newStack(Options{Root: repository, Dir: t.TempDir(), FreePorts: true, Console: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.ports.Release()
	if err := s.prepareConsole(); err != nil {
		t.Fatal(err)
	}
	spec := s.consoleSpec()
	if slices.Contains(spec.Args, "-logs") || !strings.HasPrefix(spec.URL, "http://127.0.0.1:") || spec.Args[3] != s.GatewayURL() || spec.Args[5] != s.dir {
		t.Errorf("without a store for log lines it gets %q", spec.Args)
	}
	s.observed.store = "http://127.0.0.1:9428"
	if args := s.consoleSpec().Args; !slices.Contains(args, s.observed.store) {
		t.Errorf("it gets %q", args)
	}
}
