package store

import (
	"io"
	"net"
	"strconv"
	"sync"
	"testing"

	"github.com/dapr/components-contrib/state"
	"github.com/dapr/components-contrib/state/redis"
)

// TestRedisAnswersThatAreCut breaks the connection after each number of bytes of the answers. No document may then be reported as absent
// or written that is not, and none as refused.
func TestRedisAnswersThatAreCut(t *testing.T) {
	address, direct := redisServer(t)
	proxy := newCutter(t, address)
	opened := openRedis(t, proxy.address, NewRedis)
	filler := openRedis(t, address, redis.NewRedisStateStore)
	keys := []string{"a", "b", "c"}
	for _, key := range keys {
		create := firstWrite(key, "0", nil)
		if err := filler.Set(t.Context(), &create); err != nil {
			t.Fatal(err)
		}
	}
	whole := 0
	for n := 0; whole < 3; n++ {
		proxy.cutAfter(n)
		if documentsRead(t.Context(), t, opened, keys) {
			whole++
		}
		proxy.cutAfter(n)
		var bulk []state.SetRequest
		for _, key := range keys {
			_, etag := read(t, filler, key)
			bulk = append(bulk, firstWrite(key, strconv.Itoa(n), etag))
		}
		failed := failures(t, opened.(state.BulkStore).BulkSet(t.Context(), bulk, state.BulkStoreOpts{}))
		for _, key := range keys {
			value, _ := read(t, filler, key)
			switch err := failed[key]; {
			case err == nil && value != strconv.Itoa(n):
				t.Fatalf("after %d bytes: %s is said to be written, and is %q", n, key, value)
			case err != nil && refused(err):
				t.Fatalf("after %d bytes: %s is said to be refused: %v", n, key, err)
			}
		}
		if n > 5000 {
			t.Fatal("no read is whole")
		}
	}
	if err := direct.ShutdownNoSave(t.Context()).Err(); err == nil {
		t.Fatal("the server is still there")
	}
	proxy.cutAfter(1 << 30)
	if documentsRead(t.Context(), t, opened, keys) {
		t.Error("the documents are read from no server")
	}
	bulk := []state.SetRequest{firstWrite("a", "9", nil), firstWrite("b", "9", nil)}
	if failed := failures(t, opened.(state.BulkStore).BulkSet(t.Context(), bulk, state.BulkStoreOpts{})); len(failed) != 2 || refused(failed["a"]) || refused(failed["b"]) {
		t.Errorf("writing to no server: %v", failed)
	}
}

// cutter is a proxy that closes each connection after a number of bytes of the server's answers to commands.
type cutter struct {
	address string
	mu      sync.Mutex
	left    int
	open    []net.Conn
}

func newCutter(t *testing.T, server string) *cutter {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{address: listener.Addr().String(), left: 1 << 30}
	var connections sync.WaitGroup
	connections.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", server)
			if err != nil {
				_ = near.Close()
				continue
			}
			c.mu.Lock()
			c.open = append(c.open, near, far)
			c.mu.Unlock()
			connections.Go(func() { _, _ = io.Copy(far, near); _ = far.Close() })
			connections.Go(func() { c.answer(near, far); _ = near.Close(); _ = far.Close() })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		c.closeAll()
		connections.Wait()
	})
	return c
}

func (c *cutter) closeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, connection := range c.open {
		_ = connection.Close()
	}
	c.open = nil
}

// cutAfter closes the connections, and lets n bytes of answers pass on the new ones.
func (c *cutter) cutAfter(n int) {
	c.closeAll()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = n
}

func (c *cutter) answer(near, far net.Conn) {
	buffer := make([]byte, 4096)
	for {
		n, err := far.Read(buffer)
		c.mu.Lock()
		pass := min(n, c.left)
		c.left -= pass
		c.mu.Unlock()
		if _, failed := near.Write(buffer[:pass]); failed != nil || err != nil || pass < n {
			return
		}
	}
}
