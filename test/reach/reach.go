// Package reach is how tests reach processes that something else than the launcher runs: containers, or pods of a node.
package reach

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"caravan/dapr/launcher/process"
)

// probeTimeout bounds one question to a process.
const probeTimeout = 3 * time.Second

// Serves asks a process whether it is ready, without waiting for its next health check. One without a URL is ready when its
// status says so.
func Serves(ctx context.Context, status process.Status) error {
	if status.PID == 0 || status.URL == "" && status.State != process.Ready {
		return fmt.Errorf("%s is %s", status.Name, status.State)
	}
	if status.URL == "" {
		return nil
	}
	probe := "/readyz"
	if strings.HasSuffix(status.Name, "-daprd") {
		probe = "/v1.0/healthz"
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, status.URL+probe, nil)
	if err != nil {
		return fmt.Errorf("asking %s: %w", status.Name, err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("asking %s: %w", status.Name, err)
	}
	defer response.Body.Close()
	if response.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("%s answers %s", status.Name, response.Status)
	}
	return nil
}

// Dial connects to a process, wherever it is now.
type Dial func(ctx context.Context) (net.Conn, error)

// Relay listens on a port of 127.0.0.1 until the context ends, and passes each connection on to what dial connects to. The
// process may have another address in its next life. It returns where it listens, and what waits for its end.
func Relay(ctx context.Context, dial Dial) (address *net.TCPAddr, wait func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, fmt.Errorf("listening for a relay: %w", err)
	}
	context.AfterFunc(ctx, func() { _ = listener.Close() })
	var all sync.WaitGroup
	all.Go(func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() { pass(ctx, connection, dial) })
		}
	})
	return listener.Addr().(*net.TCPAddr), all.Wait, nil
}

// pass copies what comes from either side to the other, until one ends. A connection that cannot be passed on is closed.
func pass(ctx context.Context, from net.Conn, dial Dial) {
	defer from.Close()
	to, err := dial(ctx)
	if err != nil {
		return
	}
	stop := context.AfterFunc(ctx, func() { _, _ = from.Close(), to.Close() })
	defer stop()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{from, to}, {to, from}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			_, _ = way[0].Close(), way[1].Close()
		})
	}
	both.Wait()
}
