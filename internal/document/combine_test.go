package document

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"caravan/internal/clock"
	"caravan/internal/event"
	"caravan/internal/id"
)

// mapStore is a fake store for one goroutine.
type mapStore map[string]Record

func (m mapStore) Get(_ context.Context, keys ...string) (map[string]Record, error) {
	found := make(map[string]Record)
	for _, k := range keys {
		if r, ok := m[k]; ok {
			found[k] = r
		}
	}
	return found, nil
}

func (m mapStore) Put(_ context.Context, key string, value []byte, etag string) error {
	if m[key].ETag != etag {
		return ErrUnknown
	}
	m[key] = Record{Value: value, ETag: etag + "x"}
	return nil
}

type created struct {
	Root
	Times int `json:"times"`
}

func TestCommandsThatShareTheFirstWriteSeeTheDocumentExist(t *testing.T) {
	repo := NewRepository[created](mapStore{}, Options{Clock: clock.System{}, IDs: id.Random{}})
	commands := make([]*command[*created], 20)
	for i := range commands {
		commands[i] = &command[*created]{ctx: t.Context(), done: make(chan struct{}), decide: func(d *created) error {
			if d.Exists() {
				return ErrUnchanged
			}
			d.Times++
			return nil
		}}
	}
	repo.commit("a", commands)
	for _, c := range commands {
		if c.err != nil || c.doc.Times != 1 || c.doc.Revision != 1 {
			t.Fatalf("err %v, document %+v", c.err, c.doc)
		}
	}
}

// slowStore needs time for every write.
type slowStore struct {
	mapStore
	takes time.Duration
}

func (s slowStore) Put(ctx context.Context, key string, value []byte, etag string) error {
	time.Sleep(s.takes)
	return s.mapStore.Put(ctx, key, value, etag)
}

// A command is not applied when its caller left while others were written. The caller got the answer that the outcome
// is unknown, and may have done something else since.
func TestACommandIsDroppedWhenItsCallerLeavesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		repo := NewRepository[created](slowStore{mapStore{}, 2 * time.Second}, Options{Clock: clock.System{}, IDs: id.Random{}})
		count := func(d *created) error { d.Times++; return nil }
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := repo.Update(t.Context(), "a", count); err != nil {
				t.Errorf("the first: %v", err)
			}
		})
		synctest.Wait()
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := repo.Update(ctx, "a", count); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the one that leaves: %v", err)
			}
		})
		all.Wait()
		synctest.Wait()
		if doc, err := repo.Get(t.Context(), "a"); err != nil || doc.Times != 1 || doc.Revision != 1 {
			t.Errorf("document %+v, %v", doc, err)
		}
	})
}

// An event gets the time of the write that stores it, because the feed looks for it around that time. Its command may
// have waited behind others, or in a program that was paused.
func TestEventsOfACommandThatWaitedBearTheTimeOfItsWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		repo := NewRepository[created](mapStore{}, Options{Clock: clock.System{}, IDs: id.Random{}, Source: "things"})
		for _, waited := range []time.Duration{0, eventFresh, eventFresh + time.Second, time.Hour} {
			asked := time.Now()
			time.Sleep(waited)
			doc, err := repo.Update(t.Context(), waited.String(), func(d *created) error {
				d.Emit("things.created.v1", asked, struct{}{})
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			want := asked
			if waited > eventFresh {
				want = time.Now()
			}
			if at := doc.Timeline[0].Time; !at.Equal(want) {
				t.Errorf("after %s the event is from %s before its write", waited, time.Since(at))
			}
		}
	})
}

// slowIndex needs time for the first entries.
type slowIndex struct {
	takes   []time.Duration
	entered []time.Time // when each was requested
}

func (x *slowIndex) Append(context.Context, string) error {
	x.entered = append(x.entered, time.Now())
	if len(x.takes) > 0 {
		time.Sleep(x.takes[0])
		x.takes = x.takes[1:]
	}
	return nil
}

// The feed relies on a write soon after its index entry. When an entry took long, the repository makes another one.
func TestAWriteNeverFollowsAnOldIndexEntry(t *testing.T) {
	for _, takes := range []time.Duration{0, indexFresh - 1, indexFresh + time.Second, eventFresh + time.Second, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			index := &slowIndex{takes: []time.Duration{takes, time.Second}}
			repo := NewRepository[created](mapStore{}, Options{Clock: clock.System{}, IDs: id.Random{}, Index: index, Timeout: 5 * time.Minute})
			asked := time.Now()
			doc, err := repo.Update(t.Context(), "a", func(d *created) error { d.Emit("things.created.v1", asked, struct{}{}); return nil })
			if err != nil {
				t.Fatal(err)
			}
			if last := index.entered[len(index.entered)-1]; time.Since(last) >= indexFresh {
				t.Errorf("the entry took %s: the last is from %s before the write", takes, time.Since(last))
			}
			if age := time.Since(doc.Timeline[0].Time); age > eventFresh {
				t.Errorf("the entry took %s: the event is from %s before the write", takes, age)
			}
			if doc.Sequence != 1 || doc.Revision != 1 {
				t.Errorf("the entry took %s: %d events at revision %d", takes, doc.Sequence, doc.Revision)
			}
		})
	}
}

// watch is a clock that the test sets.
type watch struct{ now time.Time }

func (w *watch) Now() time.Time { return w.now }

func (w *watch) Sleep(_ context.Context, d time.Duration) error { w.now = w.now.Add(d); return nil }

// settingIndex sets the clock back while the first entry is made.
type settingIndex struct {
	clock   *watch
	by      time.Duration
	entered []time.Time
}

func (x *settingIndex) Append(context.Context, string) error {
	x.entered = append(x.entered, x.clock.now)
	x.clock.now, x.by = x.clock.now.Add(-x.by), 0
	return nil
}

// When the clock is set back, neither an event nor its index entry keeps a time that is now in the future.
func TestAClockIsSetBackWhileADocumentIsWritten(t *testing.T) {
	began := time.Unix(1_800_000_000, 0)
	for _, c := range []struct{ deciding, indexing time.Duration }{{time.Minute, 0}, {0, time.Minute}, {time.Minute, time.Minute}} {
		clk := &watch{began}
		index := &settingIndex{clock: clk, by: c.indexing}
		repo := NewRepository[created](mapStore{}, Options{Clock: clk, IDs: id.Random{}, Index: index, Source: "things"})
		asked, set := clk.now, false
		asking := &command[*created]{ctx: t.Context(), done: make(chan struct{}), decide: func(d *created) error {
			if !set {
				clk.now, set = clk.now.Add(-c.deciding), true
			}
			d.Emit("things.created.v1", asked, struct{}{})
			return nil
		}}
		repo.commit("a", []*command[*created]{asking})
		if asking.err != nil {
			t.Fatal(asking.err)
		}
		if at := asking.doc.Timeline[0].Time; at.Sub(clk.now).Abs() > eventFresh {
			t.Errorf("%+v: the event is from %s after its write", c, at.Sub(clk.now))
		}
		if at := index.entered[len(index.entered)-1]; at.Sub(clk.now).Abs() >= indexFresh {
			t.Errorf("%+v: the entry is from %s after the write", c, at.Sub(clk.now))
		}
	}
}

// collector is a relay that keeps the events it gets.
type collector struct{ events []event.Event }

func (c *collector) Publish(events []event.Event) { c.events = append(c.events, events...) }

// The head of a document stays small when many commands share its writes. All their events are published, also those
// that leave the head with the same write.
func TestManyCommandsInOneWriteDoNotSwellTheTimeline(t *testing.T) {
	relay := &collector{}
	repo := NewRepository[created](mapStore{}, Options{Clock: clock.System{}, IDs: id.Random{}, Source: "things", Relay: relay})
	const writes, commands = 5, 100
	for range writes {
		all := make([]*command[*created], commands)
		for i := range all {
			all[i] = &command[*created]{ctx: t.Context(), done: make(chan struct{}), decide: func(d *created) error {
				d.Emit("things.created.v1", time.Now(), struct{}{})
				return nil
			}}
		}
		repo.commit("a", all)
		if all[0].err != nil {
			t.Fatal(all[0].err)
		}
		if n := len(all[0].doc.Timeline); n > timelineMax {
			t.Fatalf("the head holds %d events", n)
		}
	}
	if len(relay.events) != writes*commands {
		t.Errorf("%d events were published", len(relay.events))
	}
	for i, e := range relay.events {
		if e.Sequence != int64(i+1) {
			t.Fatalf("event %d published has sequence %d", i+1, e.Sequence)
		}
	}
}
