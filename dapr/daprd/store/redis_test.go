package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dapr/components-contrib/metadata"
	"github.com/dapr/components-contrib/state"
	"github.com/dapr/components-contrib/state/redis"
	"github.com/dapr/kit/logger"
	client "github.com/redis/go-redis/v9"
)

// redisServer starts a private server and returns its address, and a client for the test itself.
func redisServer(t testing.TB) (address string, direct *client.Client) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a server")
	}
	program, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CI") == "" {
			t.Skipf("Redis is not installed: %v", err)
		}
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = free.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	server := exec.CommandContext(ctx, program, "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "yes", "--appendfsync", "always")
	server.Dir = t.TempDir()
	server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	direct = client.NewClient(&client.Options{Addr: address})
	t.Cleanup(func() {
		_ = direct.Close()
		stop()
		_ = server.Wait()
	})
	for deadline := time.Now().Add(time.Minute); direct.Ping(ctx).Err() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the server does not answer")
		}
	}
	return address, direct
}

// openRedis opens a server with a component: NewRedis or the stock one.
func openRedis(t testing.TB, address string, open func(logger.Logger) state.Store) state.Store {
	t.Helper()
	log := logger.NewLogger("store")
	log.SetOutputLevel(logger.FatalLevel)
	opened := open(log)
	properties := map[string]string{"redisHost": address, "redisMaxRetries": "-1"}
	if err := opened.Init(t.Context(), state.Metadata{Base: metadata.Base{Name: "store", Properties: properties}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = opened.(io.Closer).Close() })
	return opened
}

// failures are the errors of a bulk write by key.
func failures(t testing.TB, err error) map[string]error {
	t.Helper()
	found := map[string]error{}
	if err == nil {
		return found
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatal(err)
	}
	for _, one := range joined.Unwrap() {
		var of state.BulkStoreError
		if !errors.As(one, &of) {
			t.Fatalf("%v is of no key", one)
		}
		found[of.Key()] = one
	}
	return found
}

// refused reports whether an error says that a document was changed meanwhile, or exists.
func refused(err error) bool {
	var mismatch *state.ETagError
	return errors.As(err, &mismatch) && mismatch.Kind() == state.ETagMismatch
}

// TestARedisPipelineDoesAsTheComponent gives the same bulks to the component and to ours, on a server with and without the script, and
// compares what is refused, what is stored, and what is read.
func TestARedisPipelineDoesAsTheComponent(t *testing.T) {
	address, direct := redisServer(t)
	outcomes := map[string][]string{}
	for name, open := range map[string]func(logger.Logger) state.Store{"component": redis.NewRedisStateStore, "with script": NewRedis, "without script": NewRedis} {
		if err := direct.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		opened := openRedis(t, address, open)
		for _, key := range []string{"exists", "changed", "stale", "bad", "last"} {
			create := firstWrite(key, "old", nil)
			if err := opened.Set(t.Context(), &create); err != nil {
				t.Fatal(err)
			}
		}
		if err := opened.Set(t.Context(), &state.SetRequest{Key: "loose", Value: []byte("old")}); err != nil { // not a first write
			t.Fatal(err)
		}
		if name == "without script" {
			if err := direct.ScriptFlush(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
		}
		one, nine, no := "1", "9", "no number"
		bulk := []state.SetRequest{
			firstWrite("new", "1", nil), firstWrite("exists", "2", nil), firstWrite("changed", "3\x00\xff", &one), firstWrite("stale", "4", &nine),
			firstWrite("absent", "5", &nine), firstWrite("bad", "6", &no), {Key: "loose", Value: []byte("7")},
			{Key: "last", Value: []byte("8"), ETag: &nine, Options: state.SetStateOption{Concurrency: state.LastWrite}}, firstWrite("empty", "", nil),
		}
		for key := range failures(t, opened.(state.BulkStore).BulkSet(t.Context(), bulk, state.BulkStoreOpts{})) {
			outcomes[name] = append(outcomes[name], "refused "+key)
		}
		direct.Set(t.Context(), "plain text", "text", 0)
		direct.RPush(t.Context(), "a list", "item")
		direct.HSet(t.Context(), "no document", "field", "value")
		keys := requests("new", "exists", "changed", "stale", "absent", "bad", "loose", "last", "empty", "plain text", "a list", "no document", "none")
		answers, err := opened.BulkGet(t.Context(), keys, state.BulkGetOpts{})
		if err != nil {
			t.Fatal(err)
		}
		for _, answer := range answers {
			etag := "none"
			if answer.ETag != nil {
				etag = *answer.ETag
			}
			outcomes[name] = append(outcomes[name], fmt.Sprintf("%s is %q with ETag %s and error %q", answer.Key, answer.Data, etag, answer.Error))
			if isAbsent := answer.Key == "none"; name != "component" && (answer.Metadata[Absent] == "true") != isAbsent {
				t.Errorf("%s: absent is %q", answer.Key, answer.Metadata[Absent])
			}
		}
		slices.Sort(outcomes[name])
	}
	for _, name := range []string{"with script", "without script"} {
		if !slices.Equal(outcomes[name], outcomes["component"]) {
			t.Errorf("%s:\n%q\nthe component:\n%q", name, outcomes[name], outcomes["component"])
		}
	}
	for _, want := range []string{
		"refused bad", "refused exists", "refused stale", `changed is "3\x00\xff" with ETag 2 and error ""`, `absent is "5" with ETag 1 and error ""`,
	} {
		if got := outcomes["component"]; !slices.Contains(got, want) || len(got) != 17 {
			t.Errorf("%d outcomes, want 17, and %s", len(got), want)
		}
	}
}

// TestRedisHasTheScript checks that the component's single write leaves our script in the server, and that a bulk then writes with it.
func TestRedisHasTheScript(t *testing.T) {
	address, direct := redisServer(t)
	opened := openRedis(t, address, NewRedis)
	create := firstWrite("a", "1", nil)
	if err := opened.Set(t.Context(), &create); err != nil {
		t.Fatal(err)
	}
	if has, err := direct.ScriptExists(t.Context(), setScript).Result(); err != nil || !has[0] {
		t.Errorf("the component has another script: %v, %v", has, err)
	}
	for key, err := range failures(t, opened.(state.BulkStore).BulkSet(t.Context(), []state.SetRequest{create, firstWrite("b", "1", nil)}, state.BulkStoreOpts{})) {
		if key != "a" || !refused(err) {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// TestWhatTheComponentDoes checks which bulks go to the component, and that they do what they say.
func TestWhatTheComponentDoes(t *testing.T) {
	address, direct := redisServer(t)
	opened := openRedis(t, address, NewRedis)
	expiring := firstWrite("expiring", "1", nil)
	expiring.Metadata = map[string]string{"ttlInSeconds": "100"}
	bulk := []state.SetRequest{expiring, {Key: "json", Value: map[string]int{"a": 7}}}
	if err := opened.(state.BulkStore).BulkSet(t.Context(), bulk, state.BulkStoreOpts{}); err != nil {
		t.Fatal(err)
	}
	if left := direct.TTL(t.Context(), "expiring").Val(); left <= 0 {
		t.Errorf("it expires in %s", left)
	}
	if value, _ := read(t, opened, "json"); value != `{"a":7}` {
		t.Errorf("it is %q", value)
	}
	inner := func(properties map[string]string) component {
		t.Helper()
		log := logger.NewLogger("store")
		connected := redis.NewRedisStateStore(log).(*redis.StateStore)
		properties["redisHost"] = address
		c, err := newPipelined(t.Context(), connected, properties)
		if err != nil {
			t.Fatal(err)
		}
		if p, ours := c.(*pipelined); ours {
			_ = p.client.Close()
		}
		return c
	}
	for name, settings := range map[string]map[string]string{
		"cluster": {"redisType": "cluster"}, "sentinel": {"failover": "true"}, "default expiry": {"ttlInSeconds": "60"},
	} {
		if _, ours := inner(settings).(*pipelined); ours {
			t.Errorf("%s: it is pipelined", name)
		}
	}
	if _, ours := inner(map[string]string{}).(*pipelined); !ours {
		t.Error("a plain server is not pipelined")
	}
}

// TestNoUpdateIsLostInRedis counts in documents from several stores, in bulks that overlap, with compare-and-swap.
func TestNoUpdateIsLostInRedis(t *testing.T) {
	address, _ := redisServer(t)
	keys := []string{"k0", "k1", "k2", "k3"}
	var wrote sync.Map
	var workers sync.WaitGroup
	stored := make([]map[string]int, 4)
	for w := range stored {
		opened := openRedis(t, address, NewRedis)
		stored[w] = map[string]int{}
		workers.Go(func() {
			for range 50 {
				if err := count(t.Context(), opened, keys, stored[w], &wrote); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	workers.Wait()
	want, got := map[string]int{}, map[string]int{}
	for _, of := range stored {
		for key, n := range of {
			want[key] += n
		}
	}
	reader := openRedis(t, address, redis.NewRedisStateStore)
	for _, key := range keys {
		value, _ := read(t, reader, key)
		got[key], _ = strconv.Atoi(value)
	}
	if !maps.Equal(got, want) || len(want) != len(keys) {
		t.Errorf("the documents count %v, and %v writes were stored", got, want)
	}
	wrote.Range(func(state, n any) bool {
		if n.(int) != 1 {
			t.Errorf("%d writes were stored after %v", n, state)
		}
		return true
	})
}

// What a bulk of 16 documents costs, with the component and with pipelines: also in processor time of this process and of the server.
func BenchmarkRedisBulk(b *testing.B) {
	address, direct := redisServer(b)
	for name, open := range map[string]func(logger.Logger) state.Store{"component": redis.NewRedisStateStore, "pipeline": NewRedis} {
		opened := openRedis(b, address, open)
		var keys []state.GetRequest
		var writes []state.SetRequest
		for i := range 16 {
			keys = append(keys, state.GetRequest{Key: fmt.Sprintf("%s/%d", name, i)})
			writes = append(writes, state.SetRequest{Key: keys[i].Key, Value: make([]byte, 1000)})
		}
		measured(b, "write/"+name, direct, func() error {
			return opened.(state.BulkStore).BulkSet(b.Context(), writes, state.BulkStoreOpts{})
		})
		measured(b, "read/"+name, direct, func() error {
			_, err := opened.BulkGet(b.Context(), keys, state.BulkGetOpts{})
			return err
		})
	}
}

// measured runs a benchmark, and reports processor time.
func measured(b *testing.B, name string, server *client.Client, do func() error) {
	used := func() (here, there float64) {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		for line := range strings.Lines(server.Info(b.Context(), "cpu").Val()) {
			if name, value, _ := strings.Cut(strings.TrimSpace(line), ":"); name == "used_cpu_user" || name == "used_cpu_sys" {
				seconds, _ := strconv.ParseFloat(value, 64)
				there += seconds
			}
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds(), there
	}
	b.Run(name, func(b *testing.B) {
		here, there := used()
		for b.Loop() {
			if err := do(); err != nil {
				b.Fatal(err)
			}
		}
		hereNow, thereNow := used()
		b.ReportMetric((hereNow-here)*1e6/float64(b.N), "cpu-us/op")
		b.ReportMetric((thereNow-there)*1e6/float64(b.N), "server-cpu-us/op")
	})
}
