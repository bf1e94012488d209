package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"caravan/internal/deadletter"
	"caravan/internal/document"
	"caravan/internal/document/documenttest"
	"caravan/internal/event"
	"caravan/internal/feed"
	"caravan/services/notifications/app"
)

// gated is a clock whose sleepers wait until they are let go.
type gated struct {
	process
	sleeping chan struct{} // one for each that falls asleep
	wake     chan struct{}
}

func newGated(p process) gated {
	return gated{p, make(chan struct{}, 100), make(chan struct{})}
}

func (g gated) Sleep(ctx context.Context, d time.Duration) error {
	if d < time.Second { // between tries of the store
		return g.process.Sleep(ctx, d)
	}
	g.sleeping <- struct{}{}
	select {
	case <-g.wake:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// running starts a consumer with a collector, as service.Consume makes it. stop ends it as the program would, and waits for it.
func running(t testing.TB, ports app.Ports, o app.CollectorOptions) (c *feed.Consumer, seen *feed.Seen, stop func()) {
	t.Helper()
	seen = feed.NewSeen(1000)
	n := over(ports)
	collector := app.NewCollector(n.deliverEvent(), o)
	c = &feed.Consumer{Handle: n.Deliver, Collector: collector, Seen: seen, DeadLetters: lettersOf(n)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- collector.Run(ctx, c.Settle) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the consumer ended with %v", err)
		}
	})
	t.Cleanup(stop)
	return c, seen, stop
}

// push insists until the consumer, which may be starting, takes the events.
func push(t testing.TB, c *feed.Consumer, events ...event.Event) {
	t.Helper()
	for _, e := range events {
		for {
			err := c.Push(t.Context(), e)
			if err == nil {
				break
			}
			if !event.Retriable(err) || t.Context().Err() != nil {
				t.Fatalf("pushing %s: %v", e.ID, err)
			}
		}
	}
}

const interval = time.Second

func TestTheEventsOfAnIntervalShareAWrite(t *testing.T) {
	store := documenttest.NewStore()
	p := replica(store, "a")
	ports := p.ports()
	clock := newGated(p)
	ports.Clock = clock
	c, seen, stop := running(t, ports, app.CollectorOptions{Interval: interval, Waiting: 100})
	events := orderEvents("u1", 10)
	push(t, c, events[0])
	<-clock.sleeping // the first one is stored at once
	if !seen.Has(events[0].ID) {
		t.Error("the first event waits")
	}
	writes := 0
	store.BeforePut(func(string, []byte) error { writes++; return nil })
	push(t, c, events...) // the first one comes again
	if writes != 0 || seen.Has(events[1].ID) {
		t.Error("the others do not wait")
	}
	clock.wake <- struct{}{}
	<-clock.sleeping
	if writes != 1 {
		t.Errorf("%d writes for %d events", writes, len(events)-1)
	}
	for _, e := range events {
		if !seen.Has(e.ID) {
			t.Errorf("%s is stored and not seen", e.ID)
		}
	}
	clock.wake <- struct{}{} // nothing waits: the user is at rest again
	push(t, c, deposit("u1", 1))
	<-clock.sleeping
	if writes != 2 {
		t.Errorf("%d writes after the user was at rest", writes)
	}
	stop()
	if err := exactlyOnce(t.Context(), p.notifications(), map[string][]event.Event{"u1": append(events, deposit("u1", 1))}); err != nil {
		t.Error(err)
	}
}

func TestACollectorThatStopsStoresWhatWaits(t *testing.T) {
	store := documenttest.NewStore()
	p := replica(store, "a")
	ports := p.ports()
	clock := newGated(p)
	ports.Clock = clock
	c, _, stop := running(t, ports, app.CollectorOptions{Interval: interval, Waiting: 1000})
	of := map[string][]event.Event{"u1": orderEvents("u1", 250), "u2": orderEvents("u2", 3)}
	push(t, c, append(of["u1"], of["u2"]...)...)
	stop()
	if err := exactlyOnce(t.Context(), p.notifications(), of); err != nil {
		t.Error(err)
	}
	if err := c.Push(t.Context(), deposit("u3", 1)); !event.Retriable(err) {
		t.Errorf("takes events after its end: %v", err)
	}
}

func TestOnlySoManyEventsWait(t *testing.T) {
	store := documenttest.NewStore()
	p := replica(store, "a")
	ports := p.ports()
	clock := newGated(p)
	ports.Clock = clock
	c, _, stop := running(t, ports, app.CollectorOptions{Interval: interval, Waiting: 5})
	events := orderEvents("u1", 7)
	push(t, c, events[0])
	<-clock.sleeping
	push(t, c, events[1:6]...)
	if err := c.Push(t.Context(), events[6]); !event.Retriable(err) {
		t.Errorf("one too many: %v", err)
	}
	clock.wake <- struct{}{}
	<-clock.sleeping
	push(t, c, events[6])
	stop()
	if err := exactlyOnce(t.Context(), p.notifications(), map[string][]event.Event{"u1": events}); err != nil {
		t.Error(err)
	}
}

func TestEventsWaitForAnUnavailableStore(t *testing.T) {
	store := documenttest.NewStore()
	p := replica(store, "a")
	ports := p.ports()
	clock := newGated(p)
	ports.Clock = clock
	var mu sync.Mutex
	away := true
	store.BeforeGet(func([]string) error {
		mu.Lock()
		defer mu.Unlock()
		if away {
			return temporary{}
		}
		return nil
	})
	c, seen, stop := running(t, ports, app.CollectorOptions{Interval: interval, Waiting: 100})
	events := orderEvents("u1", 3)
	push(t, c, events...)
	<-clock.sleeping
	clock.wake <- struct{}{}
	<-clock.sleeping
	if seen.Has(events[0].ID) {
		t.Error("seen without being stored")
	}
	mu.Lock()
	away = false
	mu.Unlock()
	clock.wake <- struct{}{}
	<-clock.sleeping
	stop()
	if err := exactlyOnce(t.Context(), p.notifications(), map[string][]event.Event{"u1": events}); err != nil {
		t.Error(err)
	}
}

func TestEventsOfAnUnreadableInboxAreDeadLettered(t *testing.T) {
	store := documenttest.NewStore()
	store.Overwrite("inbox/u1", []byte("not an inbox"))
	p := replica(store, "a")
	ports := p.ports()
	clock := newGated(p)
	ports.Clock = clock
	c, _, stop := running(t, ports, app.CollectorOptions{Interval: interval, Waiting: 100})
	events := orderEvents("u1", 2)
	push(t, c, events...)
	stop()
	letters, _, err := lettersOf(p.notifications()).List(t.Context(), deadletter.Filter{}, "", 10)
	if err != nil || len(letters) != 2 || !strings.Contains(letters[0].Reason, "decoding") {
		t.Errorf("%d dead letters, %v", len(letters), err)
	}
}

// A decision that panics ends neither the process nor the delivery of what came with it.
func TestAnEventThatPanicsIsDeadLetteredAlone(t *testing.T) {
	store := documenttest.NewStore()
	p := replica(store, "a")
	events := orderEvents("u1", 5)
	panicking := []byte(events[3].ID)
	ports := p.ports()
	ports.Store = panicky{Store: p, on: panicking}
	clock := newGated(p)
	ports.Clock = clock
	c, seen, stop := running(t, ports, app.CollectorOptions{Interval: interval, Waiting: 100})
	push(t, c, events...)
	stop()
	for _, e := range events {
		if !seen.Has(e.ID) {
			t.Errorf("%s was not dealt with", e.ID)
		}
	}
	letters, _, err := lettersOf(p.notifications()).List(t.Context(), deadletter.Filter{}, "", 10)
	if err != nil || len(letters) != 1 || letters[0].EventID != events[3].ID || !strings.Contains(letters[0].Reason, "panic") {
		t.Errorf("%d dead letters, %v", len(letters), err)
	}
	if err := exactlyOnce(t.Context(), p.notifications(), map[string][]event.Event{"u1": slices.Delete(slices.Clone(events), 3, 4)}); err != nil {
		t.Error(err)
	}
}

// panicky is a store that panics when an inbox with some bytes in it is written, as a bug that one event brings out.
type panicky struct {
	document.Store
	on []byte
}

func (p panicky) Put(ctx context.Context, key string, value []byte, etag string) error {
	if strings.HasPrefix(key, "inbox/") && bytes.Contains(value, p.on) {
		panic("a bug that this event brings out")
	}
	return p.Store.Put(ctx, key, value, etag)
}

func TestWithoutAnIntervalEventsAreStoredFirst(t *testing.T) {
	store := documenttest.NewStore()
	p := replica(store, "a")
	seen, n := feed.NewSeen(100), p.notifications()
	c := &feed.Consumer{Handle: n.Deliver, Seen: seen, DeadLetters: lettersOf(n)}
	store.BeforeGet(func([]string) error { return temporary{} })
	e := deposit("u1", 1)
	if err := c.Push(t.Context(), e); !event.Retriable(err) || seen.Has(e.ID) {
		t.Errorf("pushed: %v", err)
	}
	store.BeforeGet(nil)
	for range 2 {
		if err := c.Push(t.Context(), e); err != nil || !seen.Has(e.ID) {
			t.Errorf("pushed: %v", err)
		}
	}
	if err := exactlyOnce(t.Context(), p.notifications(), map[string][]event.Event{"u1": {e}}); err != nil {
		t.Error(err)
	}
}

func TestAPoisonEventIsDeadLetteredPushedOrPulled(t *testing.T) {
	p := replica(documenttest.NewStore(), "a")
	c, seen, _ := running(t, p.ports(), app.CollectorOptions{Interval: interval, Waiting: 10})
	letters := lettersOf(p.notifications())
	poison := orderEvent("u1", 1, noon)
	poison.Data = json.RawMessage(`{"userId":"u1","orderId":"u1-order-1"}`)
	if err := c.Push(t.Context(), poison); err == nil || event.Retriable(err) || seen.Has(poison.ID) {
		t.Errorf("pushed: %v", err)
	}
	for range 2 {
		err := c.Handle(t.Context(), poison)
		if err == nil || event.Retriable(err) {
			t.Fatalf("pulled: %v", err)
		}
		if err := letters.DeadLetter(t.Context(), poison, err); err != nil { // what the puller does
			t.Fatal(err)
		}
	}
	body, err := poison.CloudEvent()
	if err != nil {
		t.Fatal(err)
	}
	if err := letters.Receive(t.Context(), body); err != nil { // what the push leads to
		t.Fatal(err)
	}
	kept, next, err := letters.List(t.Context(), deadletter.Filter{}, "", 10)
	if err != nil || next != "" || len(kept) != 1 {
		t.Fatalf("%d letters, %v", len(kept), err)
	}
	if l := kept[0]; l.EventID != poison.ID || l.Topic != "orders" || !strings.Contains(l.Reason, "total") {
		t.Errorf("kept %+v", l)
	}
}

// TestPushAndPullTogetherEndWithOneEntryEach has two replicas take pushes, one of which crashes at any moment with
// events waiting, stops the other, and then pulls all that was not seen, as the feed does.
func TestPushAndPullTogetherEndWithOneEntryEach(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		perUser := rapid.IntRange(1, 70).Draw(rt, "events")
		dice := rand.New(rand.NewPCG(seed, 3))
		store := documenttest.NewStore()
		var all []event.Event
		of := make(map[string][]event.Event)
		for u := range 3 {
			user := fmt.Sprint("u", u)
			of[user] = orderEvents(user, perUser)
			all = append(all, of[user]...)
		}
		dice.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		sound, doomed := replica(store, "sound"), replica(store, "doomed")
		doomed.Left, doomed.Lands = dice.IntN(3*len(all)), dice.IntN(2) == 0
		options := app.CollectorOptions{Interval: interval, Waiting: 1 + dice.IntN(100)}
		first, seen, stopFirst := running(t, sound.ports(), options)
		second, _, stopSecond := running(t, doomed.ports(), options)
		for i, e := range all {
			consumer := first
			if i%2 == 0 {
				consumer = second
			}
			_ = consumer.Push(rt.Context(), e) // what is refused is pulled
		}
		stopFirst()
		stopSecond()
		for _, e := range all {
			if seen.Has(e.ID) {
				continue
			}
			if err := first.Handle(rt.Context(), e); err != nil {
				rt.Fatal(err)
			}
		}
		if err := exactlyOnce(rt.Context(), sound.notifications(), of); err != nil {
			rt.Fatal(err)
		}
	})
}
