// Command collector brings log lines and spans to the store: it follows the log files of a stack, or of containers of Docker or
// Kubernetes, receives the spans that programs and sidecars export, and sends both in batches. Files are the only buffer, and what was sent is remembered in a file, so no
// line is lost and none is stored twice when the collector or the store is killed (docs/adr/0015-log-collector.md).
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"caravan/dapr/records/store"
	"caravan/internal/clock"
)

func main() {
	s := readSettings()
	if s.probe != "" {
		if err := probe(s.probe); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	log := slog.New(slog.NewJSONHandler(os.Stdout, nil)).With("service", "collector")
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, s, log); err != nil {
		log.Error("the collector ends", "error", err)
		os.Exit(1)
	}
}

// run collects until the context ends, and then sends what is left.
func run(ctx context.Context, s settings, log *slog.Logger) error {
	spool, err := openSpool(filepath.Join(s.data, "spans"), spoolLimits{file: 16 << 20, all: 128 << 20})
	if err != nil {
		return err
	}
	positions, err := readPositions(filepath.Join(s.data, "positions.json"))
	if err != nil {
		return err
	}
	client := store.New(s.store)
	defer client.Close()
	counts := new(counts)
	shipper := newShipper(client, positions, log, counts)
	shipper.folders = append(s.folders(), folder{path: spool.folder, spans: true, active: spool.active, finished: spool.remove})
	shipper.retryAt = time.Now().Add(startPause)
	receiver := &receiver{spool: spool, counts: counts, share: s.sidecars}
	listener, err := listen(s.host, s.port)
	if err != nil {
		return fmt.Errorf("listening for spans: %w", err)
	}
	// Without a long idle timeout a connection could be closed while an exporter uses it again, and its spans would be lost.
	server := &http.Server{Handler: receiver.handler(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 10 * time.Minute}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	log.Info("collecting", "logs", s.logs+s.docker+s.pods, "spans", listener.Addr().String())
	follow(ctx, shipper)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 8*time.Second)
	defer cancel()
	err = server.Shutdown(closing)
	if serving := <-served; !errors.Is(serving, http.ErrServerClosed) {
		err = errors.Join(err, serving)
	}
	shipper.drain(closing)
	log.Info("ended", "lines", counts.lines.Load(), "spans", counts.spans.Load())
	return errors.Join(err, spool.close())
}

// startPause is how long the collector waits before it asks the store what it has. An insert of a collector that was killed may still be under
// way.
const startPause = 2 * time.Second

// listen listens on a port, or on the socket that the launcher has opened. The launcher keeps it open when this program is killed.
func listen(host string, port int) (net.Listener, error) {
	if port != 0 {
		return net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	}
	const inherited = 3
	file := os.NewFile(inherited, "socket for spans")
	defer file.Close()
	return net.FileListener(file)
}

// interval is how often the collector looks for new lines.
const interval = 700 * time.Millisecond

// follow ships until the context ends.
func follow(ctx context.Context, s *shipper) {
	for {
		pause := interval
		if s.pass(ctx) {
			pause = 0 // there is more
		}
		if (clock.System{}).Sleep(ctx, pause) != nil {
			return
		}
	}
}
