package service

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

const (
	headerTimeout = 5 * time.Second
	// idleTimeout is longer than that of the sidecar's client, so that always the client closes an idle connection. If
	// the server did, a request could arrive at a closing connection.
	idleTimeout  = 10 * time.Minute
	writeGrace   = 5 * time.Second // to send the answer after the handler's own limit
	flushTimeout = 6 * time.Second // for the relay, after the requests
	finalTimeout = 3 * time.Second // for telemetry, after everything else
	waitFirst    = 50 * time.Millisecond
	waitMost     = 250 * time.Millisecond
	startWait    = 2 * time.Second // for a call that arrives while the program starts
	startPoll    = 20 * time.Millisecond
	waitNotice   = 5 * time.Second
	handlerGrace = 5 * time.Second // for a handler to return after its context has ended
)

// live serves until ctx ends and then stops in order: readiness first, so that no new requests are sent here; then
// background work, streams and requests; then what all of these depend on.
func (s *Service) live(ctx context.Context) int {
	if err := s.monitorSubscriptions(s.Sidecar); err != nil {
		s.Log.ErrorContext(ctx, "the subscriptions cannot be monitored", "error", err)
		return exitFailure
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(s.Settings.App.Host, strconv.Itoa(s.Settings.App.Port)))
	if err != nil {
		s.Log.ErrorContext(ctx, "the port cannot be listened on", "error", err)
		return exitFailure
	}
	err = s.serve(ctx, listener, s.Sidecar)
	finish, cancel := context.WithTimeout(context.WithoutCancel(ctx), finalTimeout)
	defer cancel()
	if s.Sidecar != nil {
		err = errors.Join(err, s.Sidecar.Close())
	}
	if lost := s.Telemetry.Shutdown(finish); lost != nil { // an unavailable collector is not a failure of the program
		s.Log.WarnContext(finish, "the last telemetry is lost", "error", lost)
	}
	if err != nil {
		s.Log.ErrorContext(finish, "stopped with errors", "error", err)
		return exitFailure
	}
	s.Log.InfoContext(finish, "stopped")
	return 0
}

// serve runs the HTTP server and the workers on a listener, until ctx ends or the server fails.
func (s *Service) serve(ctx context.Context, listener net.Listener, c connection) error {
	s.standardProbes(c)
	// None of these depend on ctx. They end one after another, below.
	base := context.WithoutCancel(ctx)
	streams, endStreams := context.WithCancel(base)
	defer endStreams()
	s.streams = streams
	server := s.server(base)

	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }() // ends with Shutdown or Close below
	s.Log.InfoContext(ctx, "listening", "address", listener.Addr().String())

	work, stopWork := context.WithCancel(base)
	defer stopWork()
	foundation, stopFoundation := context.WithCancel(base)
	defer stopFoundation()
	var workers, foundations sync.WaitGroup
	workers.Go(func() {
		if s.awaitSidecar(work, c) != nil {
			return
		}
		s.start(foundation, &foundations, true)
		s.started.Store(true)
		s.Log.InfoContext(work, "started")
		s.start(work, &workers, false)
	})

	var err error
	select {
	case <-ctx.Done():
		s.Log.InfoContext(ctx, "stopping")
	case err = <-failed:
	case err = <-s.monitor.Broken():
		s.Log.ErrorContext(ctx, "stopping, to be restarted", "error", err)
	}
	s.draining.Store(true)
	_ = s.Clock.Sleep(base, s.Settings.Drain.Delay) // base never ends
	stopWork()
	endStreams()
	err = errors.Join(err, s.drain(base, server, &workers))
	stopFoundation()
	within(base, flushTimeout, foundations.Wait)
	return err
}

func (s *Service) server(base context.Context) *http.Server {
	limits := s.Settings.HTTP
	var handler http.Handler = s
	if s.front != nil {
		handler = s.front
	}
	return &http.Server{
		Protocols: s.protocols(), Handler: handler, BaseContext: func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: headerTimeout, ReadTimeout: limits.ReadTimeout,
		WriteTimeout: limits.ReadTimeout + limits.RequestTimeout + writeGrace,
		IdleTimeout:  idleTimeout, MaxHeaderBytes: limits.MaxHeader,
		ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
	}
}

// protocols are those that the program answers. A sidecar has at most 1024 connections to its program (daprd 1.18), and with HTTP/1.1 each
// open stream takes one. So the sidecar of a program with streams uses HTTP/2 (app protocol h2c). The edge takes HTTP/1.1 only.
func (s *Service) protocols() *http.Protocols {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(s.front == nil)
	return protocols
}

// drain waits for running requests and workers, at most for drain.timeout. Then it closes the connections.
func (s *Service) drain(ctx context.Context, server *http.Server, workers *sync.WaitGroup) error {
	ctx, cancel := context.WithTimeout(ctx, s.Settings.Drain.Timeout)
	defer cancel()
	err := server.Shutdown(ctx)
	if err != nil {
		s.Log.WarnContext(ctx, "requests did not finish in time and are cut off", "error", err)
		err = server.Close()
	}
	if !within(ctx, s.Settings.Drain.Timeout, workers.Wait) {
		s.Log.WarnContext(ctx, "background work did not stop in time")
	}
	return err
}

// within waits for wait to return, at most for d or until ctx ends. A wait that never returns is abandoned, because the
// program is ending.
func within(ctx context.Context, d time.Duration, wait func()) bool {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	done := make(chan struct{})
	go func() { wait(); close(done) }()
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}

// awaitSidecar returns when the sidecar's components are ready, or when ctx ends.
func (s *Service) awaitSidecar(ctx context.Context, c connection) error {
	began, noticed := s.Clock.Now(), s.Clock.Now()
	for pause := waitFirst; ; pause = min(pause*2, waitMost) {
		err := c.Outbound(ctx)
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		if now := s.Clock.Now(); now.Sub(noticed) >= waitNotice {
			noticed = now
			s.Log.WarnContext(ctx, "waiting for the sidecar", "seconds", int(now.Sub(began).Seconds()), "error", err)
		}
		if err := s.Clock.Sleep(ctx, pause); err != nil {
			return err
		}
	}
}
