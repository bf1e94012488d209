package launcher

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestBetweenChangesTheAddressesThatBothGet(t *testing.T) {
	s, err := newStack(Options{Root: repository, Dir: t.TempDir(), Only: []string{"orders"}, Between: func(l Link) (Link, error) {
		if l.App != "orders" || l.Process != "orders-2" {
			t.Errorf("asked about %+v", l)
		}
		return Link{HTTPPort: l.HTTPPort + 1000, GRPCPort: l.GRPCPort + 2000, AppPort: l.AppPort + 3000}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	told, err := s.between(s.plan.Apps[0], "orders-2")
	if err != nil {
		t.Fatal(err)
	}
	program, sidecar := s.programSpec(s.plan.Apps[0], "orders-2", told), s.sidecarSpec(s.plan.Apps[0], "orders-2", told)
	for _, want := range []string{"APP_PORT=7003", "DAPR_HTTP_PORT=4503", "DAPR_GRPC_PORT=5603"} {
		if !slices.Contains(program.Env, want) {
			t.Errorf("the program is not told %s", want)
		}
	}
	arguments := strings.Join(sidecar.Args, " ")
	for _, want := range []string{"--app-port 10003 ", "--dapr-http-port 3503 ", "--dapr-grpc-port 3603 "} {
		if !strings.Contains(arguments, want) {
			t.Errorf("the sidecar is not told %s", want)
		}
	}
}

func TestBetweenMayRefuse(t *testing.T) {
	refusal := errors.New("no place")
	s := &Stack{options: Options{Between: func(Link) (Link, error) { return Link{}, refusal }}}
	if _, err := s.between(&app{ID: "orders"}, "orders"); !errors.Is(err, refusal) {
		t.Errorf("got %v", err)
	}
}
