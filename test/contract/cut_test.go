package contract

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"caravan/dapr/launcher/infra"
)

// TestCutReads interrupts the store repeatedly while many read from it. A read may fail. It must never report an
// existing document as missing: a wallet with money would be shown empty, and an order would be a 404.
func TestCutReads(t *testing.T) {
	if inCompose {
		t.Skip("TestCutReads is not run with the target compose: the test cuts connections from this machine, which does not reach the servers")
	}
	for _, kind := range infra.Stores() {
		t.Run(kind, func(t *testing.T) {
			s := open(t, kind)
			if s.server.URL != "" && len(s.server.Processes) == 0 {
				t.Skip("the server is not this test's own; its connections are left alone")
			}
			keys := s.fill(t)
			cut, done := cutter(t, s)
			r := &readers{store: s, keys: keys, stop: make(chan struct{})}
			for i := range 8 {
				r.running.Go(func() { r.run(t, i) })
			}
			for !done(r) {
				cut()
				r.recover(t)
			}
			close(r.stop)
			r.running.Wait()
			t.Logf("%d reads were whole, %d failed", r.whole.Load(), r.failed.Load())
		})
	}
}

// fill writes documents that are so large that a bulk read of them takes some time, and returns their keys.
func (s *stack) fill(t *testing.T) []string {
	t.Helper()
	var keys []string
	for i := range 60 {
		key := fmt.Sprintf("cut/%d", i)
		if err := s.Store().Put(t.Context(), key, fmt.Appendf(nil, `{"i":%d,"pad":%q}`, i, strings.Repeat("x", 64<<10)), ""); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	return keys
}

// readers read until they are stopped: some all documents at once, the others one each, in batches.
type readers struct {
	store         *stack
	keys          []string
	stop          chan struct{}
	running       sync.WaitGroup
	whole, failed atomic.Int64
}

func (r *readers) run(t *testing.T, n int) {
	for i := n; ; i++ {
		select {
		case <-r.stop:
			return
		default:
		}
		some := r.keys
		if n%2 == 0 {
			some = []string{r.keys[i%len(r.keys)]}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		records, err := r.store.Store().Get(ctx, append([]string{"cut/none"}, some...)[n%2:]...)
		cancel()
		if err != nil {
			r.failed.Add(1)
			continue
		}
		r.whole.Add(1)
		for _, key := range some {
			if len(records[key].Value) == 0 {
				t.Errorf("%s is there, but was read as absent", key)
			}
		}
	}
}

// recover waits until some reads were complete again, for at most a second.
func (r *readers) recover(t *testing.T) {
	t.Helper()
	before := r.whole.Load()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for r.whole.Load() < before+8 {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// cutter returns a function that interrupts the reads of a store, and one that reports when that happened often enough.
func cutter(t *testing.T, s *stack) (cut func(), done func(*readers) bool) {
	t.Helper()
	enough := func(r *readers) bool { return t.Failed() || r.failed.Load() >= 30 && r.whole.Load() >= 300 }
	switch s.server.Kind {
	case "postgres":
		psql := filepath.Join(filepath.Dir(s.server.Processes[0].Path), "psql")
		return func() {
			const statement = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
			if output, err := exec.CommandContext(t.Context(), psql, "-Atc", statement, s.server.URL).CombinedOutput(); err != nil {
				t.Errorf("terminating backends: %v: %s", err, output)
			}
		}, enough
	case "redis":
		conn, reader := respTo(t, s.server)
		return func() {
			if answer, err := ask(conn, reader, "CLIENT KILL TYPE normal SKIPME yes"); err != nil || !strings.HasPrefix(answer, ":") {
				t.Errorf("killing connections: %q, %v", answer, err)
			}
		}, enough
	case "sqlite":
		// A file has no connections. It loses its second half once, and then those documents can no longer be read.
		return func() {
			path, _, _ := strings.Cut(strings.TrimPrefix(s.server.Settings(app)["connectionString"], "file:"), "?")
			file, err := os.Stat(path)
			if err == nil && file.Size() > 2<<20 {
				err = os.Truncate(path, file.Size()/2)
			}
			if err != nil {
				t.Errorf("truncating %s: %v", path, err)
			}
		}, func(r *readers) bool { return t.Failed() || r.failed.Load() >= 30 }
	}
	t.Fatalf("nobody has said how reads of %s are disturbed", s.server.Kind)
	return nil, nil
}

// respTo connects to a private server with the protocol RESP
// (https://redis.io/docs/latest/develop/reference/protocol-spec/).
func respTo(t *testing.T, server infra.Server) (net.Conn, *bufio.Reader) {
	t.Helper()
	address, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := address.User.Password()
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "tcp", address.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(5 * time.Minute))
	reader := bufio.NewReader(conn)
	if answer, err := ask(conn, reader, "AUTH "+password); err != nil || answer != "+OK" {
		t.Fatalf("AUTH answers %q, %v", answer, err)
	}
	return conn, reader
}
