package launcher

import "fmt"

// Link has the addresses through which a program and its sidecar find each other: ports of 127.0.0.1.
type Link struct {
	App     string // the app id, as "orders"
	Process string // the program's name, as "orders-2"; its sidecar is "orders-2-daprd"
	// HTTPPort and GRPCPort are those of the sidecar's APIs. AppPort is the program's own.
	HTTPPort, GRPCPort, AppPort int
}

// between asks Options.Between for the addresses that a program and its sidecar get of each other. Without that option
// and Options.ProgramProxies they get the real addresses.
func (s *Stack) between(a *app, name string) (Link, error) {
	link := Link{App: a.ID, Process: name, HTTPPort: a.HTTPPort, GRPCPort: a.GRPCPort, AppPort: a.Port}
	stand := s.options.Between
	switch {
	case s.options.ProgramProxies && s.proxies != nil:
		stand = s.proxyBetween
	case stand == nil:
		return link, nil
	}
	told, err := stand(link)
	if err != nil {
		return Link{}, fmt.Errorf("standing between %s and its sidecar: %w", name, err)
	}
	return told, nil
}
