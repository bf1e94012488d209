// Command console is the page for staff of one stack: what runs, which orders wait and why, what happened to an order, dead
// letters, and faults to try. Everything about orders and letters comes from the gateway, with the token of who is signed in.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/net/netutil"

	"caravan/dapr/records/store"
	"caravan/internal/clock"
	"caravan/internal/version"
)

// Limits of the server.
const (
	maxConnections = 256
	maxHeader      = 16 << 10
	stopTimeout    = 5 * time.Second
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "console:", err)
		os.Exit(1)
	}
}

// settings are the command line.
type settings struct {
	port          int
	gateway, logs string
	dir           string
}

func run() error {
	var given settings
	flag.IntVar(&given.port, "port", 0, "`port` of the page, on 127.0.0.1")
	flag.StringVar(&given.gateway, "gateway", "", "`URL` of the gateway")
	flag.StringVar(&given.logs, "logs", "", "`URL` of the store for log lines and spans, if there is one")
	flag.StringVar(&given.dir, "dir", "", "`folder` of the stack, if its launcher runs on this machine")
	showVersion := flag.Bool("version", false, "print what this is built from, and exit")
	flag.Parse()
	if *showVersion {
		fmt.Println("console", version.Read())
		return nil
	}
	if err := given.check(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stdout, nil)).With("service", "console"))
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(given.port)))
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	s := newServer(given, clock.System{})
	slog.Info("serving", "page", "http://"+listener.Addr().String())
	return s.serve(ctx, listener)
}

// check refuses a command line that cannot work.
func (g settings) check() error {
	if g.port < 1 || g.port > 65535 || flag.NArg() != 0 {
		return errors.New("needs -port and -gateway, and nothing else but -logs and -dir")
	}
	for name, address := range map[string]string{"-gateway": g.gateway, "-logs": g.logs} {
		if address == "" && name == "-logs" {
			continue
		}
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
			return fmt.Errorf("%s is not an http or https URL", name)
		}
	}
	return nil
}

// serve runs until the context ends or the server fails. It returns when all requests and jobs have ended.
func (s *server) serve(ctx context.Context, listener net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	web := &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return ctx }, // ends event streams
	}
	ended := make(chan error, 1)
	go func() { ended <- web.Serve(netutil.LimitListener(listener, maxConnections)) }()
	var err error
	select {
	case err = <-ended:
		err = fmt.Errorf("serving the page: %w", err)
	case <-ctx.Done():
		cancel()
		closing, done := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer done()
		if web.Shutdown(closing) != nil {
			_ = web.Close()
		}
		<-ended
	}
	cancel()
	s.jobs.end()
	if s.logs != nil {
		s.logs.Close()
	}
	return err
}

// logStore is the client of the store for log lines and spans, nil if there is none.
func logStore(address string) *store.Client {
	if address == "" {
		return nil
	}
	return store.New(address)
}
