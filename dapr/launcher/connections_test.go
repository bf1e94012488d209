package launcher

import (
	"errors"
	"net"
	"strconv"
	"testing"
	"time"
)

// TestConnectionsAreCutAndSlowed: each state follows each other one, and the report shows what the proxy does.
func TestConnectionsAreCutAndSlowed(t *testing.T) {
	s, address := proxied(t)
	const name = "orders:broker"
	for _, state := range []ConnectionState{Slow, Cut, Slow, Intact, Cut, Cut, Intact, Slow, Slow, Intact} {
		if err := s.SetConnection(name, state); err != nil {
			t.Fatal(err)
		}
		reports := s.connectionReports()
		if want := (ConnectionReport{name, "orders-daprd", "broker", state}); len(reports) != 1 || reports[0] != want {
			t.Fatalf("%+v, want %+v", reports, want)
		}
		began := time.Now()
		err := exchange(address)
		if took := time.Since(began); (err != nil) != (state == Cut) || (took >= SlowBy) != (state == Slow) {
			t.Errorf("while it is %s, an exchange took %s: %v", state, took, err)
		}
	}
	if err := s.SetConnection(name, "loose"); !errors.Is(err, ErrNoFault) {
		t.Errorf("an unknown state: %v", err)
	}
	if err := s.SetConnection("orders:store", Cut); !errors.Is(err, ErrNoFault) {
		t.Errorf("an unknown connection: %v", err)
	}
	if err := (&Stack{}).SetConnection(name, Cut); !errors.Is(err, ErrNoFault) {
		t.Errorf("without proxies: %v", err)
	}
}

// TestAProgramIsCutOffFromItsSidecar: both APIs of the sidecar are one connection.
func TestAProgramIsCutOffFromItsSidecar(t *testing.T) {
	s, _ := proxied(t)
	s.options.ProgramProxies = true
	_, http := proxied(t)
	_, grpc := proxied(t)
	told, err := s.between(&app{ID: "orders", Port: 1, HTTPPort: portOf(t, http), GRPCPort: portOf(t, grpc)}, "orders-2")
	if err != nil {
		t.Fatal(err)
	}
	if told.AppPort != 1 {
		t.Errorf("the program's port became %d", told.AppPort)
	}
	for _, state := range []ConnectionState{Cut, Intact} {
		if err := s.SetConnection("orders-2:sidecar", state); err != nil {
			t.Fatal(err)
		}
		for _, port := range []int{told.HTTPPort, told.GRPCPort} {
			if err := exchange(local(port)); (err != nil) != (state == Cut) {
				t.Errorf("while it is %s: %v", state, err)
			}
		}
		reports := s.connectionReports()
		if want := (ConnectionReport{"orders-2:sidecar", "orders-2", "orders-2-daprd", state}); len(reports) != 2 || reports[0] != want {
			t.Errorf("%+v, want %+v", reports, want)
		}
	}
}

// portOf is the port of an address.
func portOf(t *testing.T, address string) int {
	t.Helper()
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return port
}
