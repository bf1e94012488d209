package service

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"

	"caravan/internal/clock"
	"caravan/internal/id"
	"caravan/internal/sidecar"
	"caravan/internal/telemetry"
)

// Surroundings are what a program depends on. For a process they are the machine and its sidecar; the simulation
// provides its own.
type Surroundings struct {
	// Settings are configuration keys with their values as in flags: feed.bucket, 1s.
	Settings map[string]string
	// Log takes the program's log lines.
	Log *slog.Logger
	// Clock is the time.
	Clock clock.Clock
	// IDs makes identifiers.
	IDs id.Source
	// Jitter gives numbers from 0 up to 1 that spread retries.
	Jitter func() float64
	// Sidecar is the client for everything outside of the program.
	Sidecar *sidecar.Client
	// Outside makes the calls that cannot go through the sidecar. Nil is the network.
	Outside http.RoundTripper
	// Telemetry makes spans and instruments.
	Telemetry *telemetry.Telemetry
}

// New builds a program in the given surroundings, without its own process. Run runs it and ServeHTTP serves it. The
// error is a mistake in the configuration or in what build registers.
func New(ctx context.Context, name string, around Surroundings, build Build) (*Service, error) {
	cfg, err := loadConfig(arguments{values: around.Settings}, nil)
	if err != nil {
		return nil, err
	}
	var settings Settings
	if err := cfg.configure(&settings); err != nil {
		return nil, err
	}
	if settings.App.ID == "" {
		settings.App.ID = name
	}
	s, err := newService(name, settings, cfg, around.Log, around.Telemetry)
	if err != nil {
		return nil, err
	}
	s.Clock, s.IDs, s.Jitter, s.Sidecar = around.Clock, around.IDs, around.Jitter, around.Sidecar
	s.Outside = around.Outside
	if err := s.build(ctx, build); err != nil {
		return nil, fmt.Errorf("building %s: %w", name, err)
	}
	return s, nil
}

// Run runs a program made by New: it waits for the sidecar, works until ctx ends and stops in order, as a process does
// on SIGTERM. Requests come by ServeHTTP. The error is the reason if the program ended by itself.
func (s *Service) Run(ctx context.Context) error {
	if err := s.monitorSubscriptions(s.Sidecar); err != nil {
		return err
	}
	return s.serve(ctx, &deafListener{closed: make(chan struct{})}, s.Sidecar)
}

// deafListener accepts no connection.
type deafListener struct {
	once   sync.Once
	closed chan struct{}
}

// Accept waits until the listener is closed.
func (l *deafListener) Accept() (net.Conn, error) {
	<-l.closed
	return nil, net.ErrClosed
}

// Close ends Accept.
func (l *deafListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr returns an empty address.
func (*deafListener) Addr() net.Addr { return deafAddress{} }

type deafAddress struct{}

func (deafAddress) Network() string { return "none" }
func (deafAddress) String() string  { return "no address" }
