package sim

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	runtime "github.com/dapr/dapr/pkg/proto/runtime/v1"
	dapr "github.com/dapr/go-sdk/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"caravan/internal/document"
)

// Kind is the store behind a simulated sidecar. The stores differ in their answers.
type Kind int

// The three stores.
const (
	SQLite Kind = iota
	Postgres
	Redis
)

// String is the store's name.
func (k Kind) String() string { return [...]string{"sqlite", "postgres", "redis"}[k] }

// store is the state store of one service.
type store struct {
	kind    Kind
	records map[string]record
	version int
	down    bool
	hung    bool                           // it accepts everything and answers nothing
	cut     time.Time                      // until when its connections are broken
	watch   func(key string, value []byte) // gets what is written; may be nil
	asked   func(key string)               // gets the keys that are read; may be nil
}

type record struct {
	value []byte
	etag  string
}

func newStore(kind Kind) *store { return &store{kind: kind, records: make(map[string]record)} }

// unkeyable is the answer for keys that daprd or a store does not accept.
func unkeyable(keys ...string) error {
	if err := document.CheckKeys(keys...); err != nil {
		return status.Error(codes.Internal, err.Error())
	}
	return nil
}

// longestCut is how long the connections to a store are broken at most.
const longestCut = 300 * time.Millisecond

// item is a sidecar's answer for a key. Our own sidecar marks absent keys.
func (s *store) item(key string, marked bool) *dapr.BulkStateItem {
	if s.asked != nil {
		s.asked(key)
	}
	r, exists := s.records[key]
	item := &dapr.BulkStateItem{Key: key, Value: slices.Clone(r.value), Etag: r.etag}
	if marked && !exists {
		item.Metadata = map[string]string{"absent": "true"}
	}
	return item
}

// keys lists what is stored, in order.
func (s *store) keys() []string { return slices.Sorted(maps.Keys(s.records)) }

// errDown is the answer of a sidecar whose store is unavailable.
func (s *store) errDown() error {
	if s.kind == Redis { // its component reports every error of a write as a conflict
		return status.Error(codes.Aborted, "failed saving state in state store store: possible etag mismatch. error from state store: dial tcp: connection refused")
	}
	return status.Error(codes.Internal, "failed saving state in state store store: connection refused")
}

// set is a write with first-write concurrency. With an ETag it replaces that record, and without one it creates a
// record. The stores answer a conflict in different ways (components-contrib v1.18.4).
func (s *store) set(key string, value []byte, etag string) error {
	if err := unkeyable(key); err != nil {
		return err
	}
	if s.down {
		return s.errDown()
	}
	present, exists := s.records[key]
	switch {
	case etag == "" && !exists, etag != "" && exists && present.etag == etag:
		s.put(key, value)
		return nil
	case s.kind == Postgres && etag == "":
		return status.Error(codes.Internal, "failed saving state in state store store: no item was updated")
	default:
		return status.Error(codes.Aborted, "failed saving state in state store store: possible etag mismatch")
	}
}

func (s *store) put(key string, value []byte) {
	s.version++
	etag := "e" + strconv.Itoa(s.version)
	if s.kind == Redis { // a counter of the key, which starts again after a deletion
		n, _ := strconv.Atoi(s.records[key].etag)
		etag = strconv.Itoa(n + 1)
	}
	s.records[key] = record{slices.Clone(value), etag}
	if s.watch != nil {
		s.watch(key, value)
	}
}

// remove deletes a key. The services never do that, because Redis' ETags would start again.
func (s *store) remove(key, etag string) error {
	if present, ok := s.records[key]; ok && etag != "" && present.etag != etag {
		return status.Error(codes.Aborted, "possible etag mismatch")
	}
	delete(s.records, key)
	return nil
}

// transact writes several records. On Redis each operation runs although another failed, and creating overwrites. So
// the services never use it.
func (s *store) transact(operations []*dapr.StateOperation) error {
	before := maps.Clone(s.records)
	var failed error
	for _, operation := range operations {
		item := operation.Item
		etag := ""
		if item.Etag != nil {
			etag = item.Etag.Value
		}
		if s.kind == Redis && etag == "" {
			s.put(item.Key, item.Value)
			continue
		}
		if err := s.set(item.Key, item.Value, etag); err != nil {
			failed = status.Error(codes.Internal, "error while executing state transaction: "+err.Error())
		}
	}
	if failed != nil && s.kind != Redis {
		s.records = before
	}
	return failed
}

// sdk is the gRPC API of a simulated sidecar. It embeds a nil Client for the methods that no program uses: a call of
// one panics, and the run fails.
type sdk struct {
	dapr.Client
	life *life
}

// Close does nothing.
func (sdk) Close() {}

// GrpcClient returns an API that refuses to let a program listen to events, like a stack without the component live.
func (sdk) GrpcClient() runtime.DaprClient { return deaf{} }

type deaf struct{ runtime.DaprClient }

// SubscribeTopicEventsAlpha1 fails.
func (deaf) SubscribeTopicEventsAlpha1(context.Context, ...grpc.CallOption) (runtime.Dapr_SubscribeTopicEventsAlpha1Client, error) {
	return nil, status.Error(codes.InvalidArgument, "pubsub live is not found")
}

// GetState reads one record.
func (s sdk) GetState(ctx context.Context, _, key string, _ map[string]string) (*dapr.StateItem, error) {
	items, err := s.read(ctx, false, key)
	if err != nil {
		return nil, err
	}
	return &dapr.StateItem{Key: key, Value: items[0].Value, Etag: items[0].Etag}, nil
}

// GetBulkState reads several records, each at another time.
func (s sdk) GetBulkState(ctx context.Context, _ string, keys []string, _ map[string]string, _ int32) ([]*dapr.BulkStateItem, error) {
	return s.read(ctx, true, keys...)
}

func (s sdk) read(ctx context.Context, bulk bool, keys ...string) ([]*dapr.BulkStateItem, error) {
	w, from := s.life.world, s.life.replica
	items := make([]*dapr.BulkStateItem, len(keys))
	err := w.ask(ctx, s.life, "get "+strings.Join(keys, " "), func(c *call) {
		w.through(c, from, func(reply func(error)) {
			store := w.stores[from.app]
			if store.hung {
				return
			}
			if bulk && w.chance("bulk read cut", w.faults.BulkReadCut) {
				store.cut = w.now().Add(w.between(0, longestCut))
			}
			broken, silent := w.now().Before(store.cut), bulk && w.faults.StockSidecar && store.kind != Redis
			if store.down || broken && !silent || w.chance("read fails", w.faults.ReadFails) {
				reply(status.Error(codes.Internal, "failed getting state from state store store: connection refused"))
				return
			}
			if err := unkeyable(keys...); err != nil {
				reply(err)
				return
			}
			for i, key := range keys {
				items[i] = store.item(key, bulk && !w.faults.StockSidecar)
			}
			if broken {
				for _, i := range w.rng.Perm(len(keys))[w.rng.IntN(len(keys)):] {
					items[i] = &dapr.BulkStateItem{Key: keys[i]}
				}
			}
			reply(nil)
		})
	})
	if err != nil {
		return nil, err
	}
	return items, nil
}

// SaveBulkState writes records one by one, each with its own ETag. If any fails, it returns one error for all.
func (s sdk) SaveBulkState(ctx context.Context, _ string, items ...*dapr.SetStateItem) error {
	w, from := s.life.world, s.life.replica
	labels := make([]string, len(items))
	for i, item := range items {
		labels[i] = item.Key
	}
	return w.ask(ctx, s.life, "save "+strings.Join(labels, " "), func(c *call) {
		w.through(c, from, func(reply func(error)) {
			if w.stores[from.app].hung {
				w.swallow(from.app, items)
				return
			}
			order := w.rng.Perm(len(items))
			var failed error
			for _, i := range order {
				if err := w.write(from.app, items[i]); err != nil {
					failed = err
				}
			}
			reply(failed)
		})
	})
}

// lateWrite is how late a write may be stored after it was given up: SQLite's component takes up to 20 s (reliability
// research, F8).
const lateWrite = 20 * time.Second

func (w *World) write(app string, item *dapr.SetStateItem) error {
	store := w.stores[app]
	etag := ""
	if item.Etag != nil {
		etag = item.Etag.Value
	}
	switch {
	case w.faults.Sabotage == LastWriteWins && !store.down:
		store.put(item.Key, item.Value)
		return nil
	case w.faults.Sabotage == WritesVanish && w.rng.IntN(100) == 0:
		return nil
	case w.faults.Sabotage == SentForgotten && strings.HasPrefix(item.Key, threadPrefix) && bytes.Contains(item.Value, []byte(`"state":"sent"`)):
		return nil
	case w.chance("write fails", w.faults.WriteFails):
		return store.errDown()
	case w.chance("write late", w.faults.WriteLate):
		w.after(w.between(0, lateWrite), "late write "+item.Key, func() { _ = store.set(item.Key, item.Value, etag) })
		return status.Error(codes.DeadlineExceeded, "context deadline exceeded")
	case w.chance("write reply lost", w.faults.WriteReplyLost):
		_ = store.set(item.Key, item.Value, etag)
		return status.Error(codes.Unavailable, "connection reset by peer")
	}
	return store.set(item.Key, item.Value, etag)
}

// swallow accepts writes and never answers. Half of them are stored nevertheless.
func (w *World) swallow(app string, items []*dapr.SetStateItem) {
	for _, item := range items {
		if w.rng.IntN(2) == 0 {
			w.after(w.between(0, lateWrite), "late write "+item.Key, func() { _ = w.write(app, item) })
		}
	}
}

// through sends a call into a sidecar, lets it take effect there, and returns the answer, unless the sidecar crashes
// meanwhile.
func (w *World) through(c *call, r *replica, effect func(reply func(error))) {
	if !r.sidecar.up { // the client waits for a connection
		w.after(100*time.Millisecond, "wait for sidecar "+c.label, func() { w.through(c, r, effect) })
		return
	}
	switch {
	case r.frozen == TheProgram: // it cannot make calls
		return
	case r.frozen == TheSidecar: // when it continues, half of the calls are in its buffers
		if w.rng.IntN(2) == 0 {
			r.held = append(r.held, func() { w.through(c, r, effect) })
		}
		return
	}
	sidecar := r.sidecar.life
	lost := status.Error(codes.Unavailable, "error reading from server: EOF")
	w.after(w.latency(), "effect "+c.label, func() {
		if r.sidecar.life != sidecar {
			w.answer(c, lost)
			return
		}
		effect(func(err error) {
			w.after(w.latency(), "answer "+c.label, func() {
				if r.sidecar.life != sidecar {
					err = lost
				}
				w.answer(c, err)
			})
		})
	})
}

// outage makes a store unavailable for a while.
func (w *World) outage(app string) {
	store := w.stores[app]
	if store.down || w.calm {
		return
	}
	store.down = true
	w.fired["store down"]++
	w.after(w.between(200*time.Millisecond, 8*time.Second), fmt.Sprintf("store of %s is back", app), func() { store.down = false })
}

// hang makes a store answer nothing for a while, as in a network that drops packets. The calls that programs give up
// meanwhile must not collect and take effect when the store answers again.
func (w *World) hang(app string) {
	store := w.stores[app]
	if store.hung || w.calm {
		return
	}
	store.hung = true
	w.fired["store hangs"]++
	w.after(w.between(2*time.Second, 90*time.Second), fmt.Sprintf("store of %s answers again", app), func() { store.hung = false })
}
