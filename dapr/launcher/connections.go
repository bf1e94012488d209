package launcher

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
)

// ConnectionState is what a connection with a proxy does at present.
type ConnectionState string

// The states of a connection.
const (
	Intact ConnectionState = "intact"
	Cut    ConnectionState = "cut"  // connections are closed, and no new one is possible
	Slow   ConnectionState = "slow" // each answer takes SlowBy longer
)

// SlowBy is how much longer an answer takes on a slow connection.
const SlowBy = time.Second

// slowToxic is the name of what makes a proxy slow.
const slowToxic = "latency_downstream"

// sidecarEnd is the part of a connection's name that means the APIs of a sidecar. Those for gRPC have a proxy of their own.
const sidecarEnd, grpcProxy = "sidecar", "-grpc"

// ConnectionReport is a connection and its state in effect.
type ConnectionReport struct {
	Name  string          `json:"name"` // as "orders:broker", "orders:store" or "orders:sidecar"
	From  string          `json:"from"` // the process that connects
	To    string          `json:"to"`
	State ConnectionState `json:"state"`
}

// connectionReports are all connections that SetConnection can change.
func (s *Stack) connectionReports() []ConnectionReport {
	var all []ConnectionReport
	for _, name := range s.Connections() {
		if strings.HasSuffix(name, grpcProxy) {
			continue // a part of another connection
		}
		app, end, _ := strings.Cut(name, ":")
		one := ConnectionReport{Name: name, From: app + "-daprd", To: end, State: s.connectionState(name)}
		if end == sidecarEnd {
			one.From, one.To = app, app+"-daprd"
		}
		all = append(all, one)
	}
	return all
}

// connectionState looks at the proxies, whoever changed them.
func (s *Stack) connectionState(name string) ConnectionState {
	state := Intact
	for _, proxy := range s.proxiesOf(name) {
		proxy.Lock()
		enabled := proxy.Enabled
		proxy.Unlock()
		switch {
		case !enabled:
			return Cut
		case len(proxy.Toxics.GetToxicArray()) > 0:
			state = Slow
		}
	}
	return state
}

// proxiesOf are the proxies of a connection.
func (s *Stack) proxiesOf(name string) []*toxiproxy.Proxy {
	if s.proxies == nil {
		return nil
	}
	s.proxies.mu.Lock()
	defer s.proxies.mu.Unlock()
	var all []*toxiproxy.Proxy
	for _, part := range []string{name, name + grpcProxy} {
		if proxy := s.proxies.byName[part]; proxy != nil {
			all = append(all, proxy)
		}
	}
	return all
}

// SetConnection cuts a connection, slows it down or restores it.
func (s *Stack) SetConnection(name string, state ConnectionState) error {
	if !slices.Contains([]ConnectionState{Intact, Cut, Slow}, state) {
		return fmt.Errorf("%w: no connection can be %q", ErrNoFault, state)
	}
	if _, err := s.connection(name); err != nil {
		return err
	}
	for _, proxy := range s.proxiesOf(name) {
		if state == Cut {
			proxy.Stop()
			continue
		}
		if err := startProxy(proxy); err != nil {
			return err
		}
		if err := setSlow(proxy, state == Slow); err != nil {
			return fmt.Errorf("making %s %s: %w", name, state, err)
		}
	}
	return nil
}

// setSlow makes a proxy slow, or as fast as it can be.
func setSlow(proxy *toxiproxy.Proxy, slow bool) error {
	is := proxy.Toxics.GetToxic(slowToxic) != nil
	if is == slow {
		return nil
	}
	if slow {
		return addToxic(proxy, slowToxic, "latency", "downstream", map[string]any{"latency": SlowBy.Milliseconds()})
	}
	return removeToxic(proxy, slowToxic)
}

// proxyBetween puts proxies between a program and the APIs of its sidecar.
func (s *Stack) proxyBetween(link Link) (Link, error) {
	for suffix, port := range map[string]*int{"": &link.HTTPPort, grpcProxy: &link.GRPCPort} {
		proxy, err := s.addProxy(link.Process+":"+sidecarEnd+suffix, local(*port))
		if err != nil {
			return Link{}, err
		}
		_, listens, err := net.SplitHostPort(proxy.Listen)
		if err != nil {
			return Link{}, fmt.Errorf("putting a proxy before a sidecar: %w", err)
		}
		if *port, err = strconv.Atoi(listens); err != nil {
			return Link{}, fmt.Errorf("putting a proxy before a sidecar: %w", err)
		}
	}
	return link, nil
}
