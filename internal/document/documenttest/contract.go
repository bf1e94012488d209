package documenttest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"caravan/internal/clock"
	"caravan/internal/document"
	"caravan/internal/id"
)

// Contract checks that a store keeps the promises that package document needs. It runs on the fake store and, through a
// real sidecar, on every component set. Each run makes new keys, so the store may contain other documents.
func Contract(t *testing.T, store document.Store) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	key := func(t *testing.T) string {
		return "contract/" + strings.ReplaceAll(t.Name(), "/", "-") + "/" + id.Random{}.New()
	}
	t.Run("a missing key is absent", func(t *testing.T) {
		got, err := store.Get(ctx, key(t))
		if err != nil || len(got) != 0 {
			t.Fatalf("Get = %v, %v; want nothing", got, err)
		}
	})
	t.Run("a created document is read back byte for byte", func(t *testing.T) {
		k, value := key(t), `{"a":1,"text":"größer <&> \u2028","n":12345678901234567}`
		must(t, store.Put(ctx, k, []byte(value), ""))
		if r := read(ctx, t, store, k); string(r.Value) != value || r.ETag == "" {
			t.Fatalf("read %q with etag %q; want %q", r.Value, r.ETag, value)
		}
	})
	t.Run("creating over a document fails and changes nothing", func(t *testing.T) {
		k := key(t)
		must(t, store.Put(ctx, k, []byte(`{"owner":"first"}`), ""))
		if err := store.Put(ctx, k, []byte(`{"owner":"second"}`), ""); err == nil {
			t.Fatal("the second create reported success")
		}
		if r := read(ctx, t, store, k); string(r.Value) != `{"owner":"first"}` {
			t.Fatalf("document is now %s", r.Value)
		}
	})
	t.Run("a write with a stale etag fails and changes nothing", func(t *testing.T) {
		k := key(t)
		must(t, store.Put(ctx, k, []byte(`{"n":1}`), ""))
		first := read(ctx, t, store, k)
		must(t, store.Put(ctx, k, []byte(`{"n":2}`), first.ETag))
		if err := store.Put(ctx, k, []byte(`{"n":3}`), first.ETag); err == nil {
			t.Fatal("the stale write reported success")
		}
		if r := read(ctx, t, store, k); string(r.Value) != `{"n":2}` {
			t.Fatalf("document is now %s", r.Value)
		}
	})
	t.Run("one read of many keys finds each", func(t *testing.T) {
		var keys []string
		for i := range 20 {
			k := key(t)
			must(t, store.Put(ctx, k, fmt.Appendf(nil, `{"i":%d}`, i), ""))
			keys = append(keys, k)
		}
		got, err := store.Get(ctx, append(keys, key(t))...)
		must(t, err)
		for i, k := range keys {
			if want := fmt.Sprintf(`{"i":%d}`, i); string(got[k].Value) != want {
				t.Errorf("key %d holds %s", i, got[k].Value)
			}
		}
		if len(got) != len(keys) {
			t.Errorf("%d documents; want %d", len(got), len(keys))
		}
	})
	t.Run("of racing writers with one etag exactly one wins", func(t *testing.T) {
		k := key(t)
		must(t, store.Put(ctx, k, []byte(`{}`), ""))
		base := read(ctx, t, store, k)
		var wins atomic.Int32
		var all sync.WaitGroup
		for i := range 16 {
			all.Go(func() {
				if store.Put(ctx, k, fmt.Appendf(nil, `{"winner":%d}`, i), base.ETag) == nil {
					wins.Add(1)
				}
			})
		}
		all.Wait()
		if wins.Load() > 1 || read(ctx, t, store, k).ETag == base.ETag {
			t.Fatalf("%d writers won", wins.Load())
		}
	})
	t.Run("of writes at once those with a stale etag change nothing and the others are stored", func(t *testing.T) {
		writesAtOnce(ctx, t, store, func() string { return key(t) })
	})
	t.Run("concurrent updates of one counter in two processes are all counted", func(t *testing.T) {
		counters(ctx, t, store, key(t))
	})
	t.Run("a key that cannot be one is refused", func(t *testing.T) {
		good := key(t)
		must(t, store.Put(ctx, good, []byte(`{}`), ""))
		for _, bad := range BadKeys() {
			if _, err := store.Get(ctx, bad); !errors.Is(err, document.ErrKey) {
				t.Errorf("reading %+.40q: %v", bad, err)
			}
			if _, err := store.Get(ctx, good, bad); !errors.Is(err, document.ErrKey) {
				t.Errorf("reading %+.40q with another: %v", bad, err)
			}
			if err := store.Put(ctx, bad, []byte(`{}`), ""); !errors.Is(err, document.ErrKey) {
				t.Errorf("writing %+.40q: %v", bad, err)
			}
		}
	})
	t.Run("a large document is kept whole", func(t *testing.T) {
		k, value := key(t), `{"pad":"`+strings.Repeat("x", 512<<10)+`"}`
		must(t, store.Put(ctx, k, []byte(value), ""))
		if r := read(ctx, t, store, k); string(r.Value) != value {
			t.Fatalf("read %d bytes; want %d", len(r.Value), len(value))
		}
	})
}

// BadKeys are keys that some store or sidecar does not accept.
func BadKeys() []string {
	return []string{"", "a||b", "a|||b", "a\x00b", "a\nb", "a\u0085b", "a\x7f", "a\xffb", "a\xed\xa0\x80", strings.Repeat("k", document.MaxKey+1)}
}

type counter struct {
	document.Root
	Applied map[string]bool `json:"applied"`
}

// counters makes two repositories, as of two replicas, which both count in one document.
func counters(ctx context.Context, t *testing.T, store document.Store, owner string) {
	t.Helper()
	replicas := make([]*document.Repository[counter, *counter], 2)
	for i := range replicas {
		replicas[i] = document.NewRepository[counter](store, document.Options{
			Clock: clock.System{}, IDs: id.Random{}, Timeout: 30 * time.Second,
		})
	}
	const each = 20
	errs := make(chan error, len(replicas)*each)
	var all sync.WaitGroup
	for i, repo := range replicas {
		for j := range each {
			all.Go(func() {
				operation := fmt.Sprintf("%d-%d", i, j)
				_, err := repo.Update(ctx, owner, func(c *counter) error {
					if c.Applied[operation] {
						return document.ErrUnchanged
					}
					if c.Applied == nil {
						c.Applied = make(map[string]bool)
					}
					c.Applied[operation] = true
					return nil
				})
				errs <- err
			})
		}
	}
	all.Wait()
	close(errs)
	for err := range errs {
		must(t, err)
	}
	got, err := replicas[0].Get(ctx, owner)
	must(t, err)
	if len(got.Applied) != len(replicas)*each {
		t.Fatalf("%d operations applied; want %d", len(got.Applied), len(replicas)*each)
	}
}

// writesAtOnce writes many documents at once: every second one exists and was changed meanwhile, or exists although it is to be created.
func writesAtOnce(ctx context.Context, t *testing.T, store document.Store, key func() string) {
	const documents = 48
	keys, etags := make([]string, documents), make([]string, documents)
	for i := range keys {
		keys[i] = key()
		if i%4 < 2 { // updates; the others are creations
			must(t, store.Put(ctx, keys[i], []byte(`{"n":0}`), ""))
			etags[i] = read(ctx, t, store, keys[i]).ETag
		}
		if i%2 == 1 {
			must(t, store.Put(ctx, keys[i], []byte(`{"n":1}`), etags[i]))
		}
	}
	failures := make([]error, documents)
	var all sync.WaitGroup
	for i := range keys {
		all.Go(func() { failures[i] = store.Put(ctx, keys[i], []byte(`{"n":2}`), etags[i]) })
	}
	all.Wait()
	for i, k := range keys {
		want := `{"n":2}`
		if i%2 == 1 {
			want = `{"n":1}`
		}
		// A write that was stored may say that it is unknown, because another one of its call was refused.
		if got := string(read(ctx, t, store, k).Value); got != want || i%2 == 1 && failures[i] == nil {
			t.Errorf("document %d is %s, want %s; its write says %v", i, got, want, failures[i])
		}
	}
}

func read(ctx context.Context, t *testing.T, store document.Store, key string) document.Record {
	t.Helper()
	got, err := store.Get(ctx, key)
	must(t, err)
	r, ok := got[key]
	if !ok {
		t.Fatalf("no document under %s", key)
	}
	return r
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ErrInjected is the error that tests make a FakeStore return.
var ErrInjected = errors.New("injected fault")
