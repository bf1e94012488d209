package launcher

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/rs/zerolog"

	"caravan/dapr/launcher/infra"
)

// proxies are the proxies between sidecars and servers. Each pair has its own, so that one can be cut while the others
// continue.
type proxies struct {
	server *toxiproxy.ApiServer
	mu     sync.Mutex
	byName map[string]*toxiproxy.Proxy // "orders:broker"
}

func newProxies() *proxies {
	toxics.Register(frameCut, new(frameCutToxic))
	return &proxies{
		server: toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()),
		byName: make(map[string]*toxiproxy.Proxy),
	}
}

// reroute puts a proxy between an app's sidecar and a server, and returns the settings that use it. It leaves files,
// and brokers that send their address to their clients, as they are.
func (s *Stack) reroute(app, what string, server infra.Server) (map[string]string, error) {
	settings := map[string]string{}
	maps.Copy(settings, server.Settings(app))
	maps.Copy(settings, s.options.Settings[app+":"+what])
	if s.disk != nil && s.disk.reason == nil && server.URL == "" {
		s.disk.relocate(settings, filepath.Join(s.dir, "data"))
	}
	if s.proxies == nil || !CanProxy(server.Kind) {
		return settings, nil
	}
	address, err := url.Parse(server.URL)
	if err != nil || address.Port() == "" {
		return nil, fmt.Errorf("putting a proxy before the %s: its address is unclear", what)
	}
	proxy, err := s.addProxy(app+":"+what, address.Host)
	if err != nil {
		return nil, err
	}
	rewriter := strings.NewReplacer(
		address.Host, proxy.Listen,
		"host="+address.Hostname()+" port="+address.Port(), strings.Replace("host="+proxy.Listen, ":", " port=", 1),
	)
	changed := false
	for name, value := range settings {
		settings[name] = rewriter.Replace(value)
		changed = changed || settings[name] != value
	}
	if !changed {
		return nil, fmt.Errorf("putting a proxy before the %s: no setting holds its address", what)
	}
	return settings, nil
}

// addProxy starts a proxy before an address.
func (s *Stack) addProxy(name, upstream string) (*toxiproxy.Proxy, error) {
	port, err := s.ports.Take()
	if err != nil {
		return nil, err
	}
	proxy := toxiproxy.NewProxy(s.proxies.server, name, local(port), upstream)
	if err := proxy.Start(); err != nil {
		return nil, fmt.Errorf("starting the proxy %s: %w", name, err)
	}
	s.proxies.mu.Lock()
	defer s.proxies.mu.Unlock()
	s.proxies.byName[name] = proxy
	return proxy, nil
}

func (p *proxies) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, proxy := range p.byName {
		proxy.Stop()
	}
}

// Connections are the connections that BreakConnection can break, such as "orders:broker": a sidecar's app and "broker"
// or "store". There are none unless Options.Proxies is set.
func (s *Stack) Connections() []string {
	if s.proxies == nil {
		return nil
	}
	s.proxies.mu.Lock()
	defer s.proxies.mu.Unlock()
	return slices.Sorted(maps.Keys(s.proxies.byName))
}

// ConnectionFault is a fault of a connection between a sidecar and its server. The zero value cuts it: connections are
// closed, and no new one is possible until the fault ends.
type ConnectionFault struct {
	// Toxic is a kind of toxic of toxiproxy, or FrameCut. "" cuts the connection.
	Toxic string
	// Upstream is the direction towards the server. Otherwise the fault affects what the server sends.
	Upstream   bool
	Attributes map[string]any
	// Reconnect closes the existing connections, so that all have the fault from their first byte.
	Reconnect bool
}

// BreakConnection causes a fault of a connection and returns a function that ends it.
func (s *Stack) BreakConnection(name string, fault ConnectionFault) (heal func() error, err error) {
	proxy, err := s.connection(name)
	if err != nil {
		return nil, err
	}
	if fault.Toxic == "" {
		proxy.Stop()
		return func() error { return startProxy(proxy) }, nil
	}
	direction := "downstream"
	if fault.Upstream {
		direction = "upstream"
	}
	toxic := fault.Toxic + "_" + direction
	if err := addToxic(proxy, toxic, fault.Toxic, direction, fault.Attributes); err != nil {
		return nil, fmt.Errorf("breaking %s: %w", name, err)
	}
	if fault.Reconnect {
		proxy.Stop()
		if err := startProxy(proxy); err != nil {
			return nil, err
		}
	}
	return func() error {
		if err := removeToxic(proxy, toxic); err != nil {
			return fmt.Errorf("healing %s: %w", name, err)
		}
		return nil
	}, nil
}

func addToxic(proxy *toxiproxy.Proxy, name, kind, direction string, attributes map[string]any) error {
	raw, err := json.Marshal(map[string]any{"name": name, "type": kind, "stream": direction, "attributes": attributes})
	if err != nil {
		return err
	}
	return changeProxy(proxy, func() error {
		_, err := proxy.Toxics.AddToxicJson(bytes.NewReader(raw))
		return err
	})
}

func removeToxic(proxy *toxiproxy.Proxy, name string) error {
	return changeProxy(proxy, func() error { return proxy.Toxics.RemoveToxic(context.Background(), name) })
}

// changeProxy changes the toxics of a proxy. Toxiproxy changes each connection when it is idle. A connection whose
// reader has stopped never is; then all connections are closed, and the change can continue.
func changeProxy(proxy *toxiproxy.Proxy, change func() error) error {
	const timeout = 2 * time.Second
	changed := make(chan error, 1)
	go func() { changed <- change() }()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case err := <-changed:
		return err
	case <-timer.C:
	}
	proxy.Stop()
	return errors.Join(<-changed, startProxy(proxy))
}

func (s *Stack) connection(name string) (*toxiproxy.Proxy, error) {
	if s.proxies == nil {
		return nil, fmt.Errorf("%w: the stack has no proxies", ErrNoFault)
	}
	s.proxies.mu.Lock()
	defer s.proxies.mu.Unlock()
	proxy, ok := s.proxies.byName[name]
	if !ok {
		return nil, fmt.Errorf("%w: no connection is called %q", ErrNoFault, name)
	}
	return proxy, nil
}

func startProxy(proxy *toxiproxy.Proxy) error {
	if err := proxy.Start(); err != nil && !errors.Is(err, toxiproxy.ErrProxyAlreadyStarted) {
		return fmt.Errorf("healing %s: %w", proxy.Name, err)
	}
	return nil
}
