package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"caravan/internal/document/documenttest"
	"caravan/internal/event"
	"caravan/services/notifications/app"
	"caravan/services/notifications/domain"
	orders "caravan/services/orders/contract"
)

func TestWhatBecomesOfEachKindOfEvent(t *testing.T) {
	confirmed := orderEvent("u1", 1, noon)
	placed, future, malformed := confirmed, confirmed, confirmed
	placed.Type, placed.ID = orders.EventPlaced, "orders/u1-order-1/1"
	future.Type, future.ID = "orders.gift_wrapped.v1", "orders/u1-order-1/2"
	malformed.Data = json.RawMessage(`{"userId":"u1"}`)
	tests := []struct {
		name    string
		event   event.Event
		outcome string
		entries int
		touches bool // the store
	}{
		{"notified", confirmed, app.OutcomeNotified, 1, true},
		{"silent", placed, app.OutcomeSilent, 0, false},
		{"of the future", future, app.OutcomeUnknown, 0, false},
		{"malformed", malformed, "", 0, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			store, c := documenttest.NewStore(), &counts{}
			touched := false
			store.BeforeGet(func([]string) error { touched = true; return nil })
			n := replica(store, "a").counted(c)
			err := n.Deliver(t.Context(), test.event)
			if test.outcome == "" {
				if !errors.Is(err, domain.ErrPayload) || event.Retriable(err) || len(c.of) != 0 {
					t.Errorf("err = %v, counted %v", err, c.of)
				}
			} else if err != nil || c.of[test.outcome] != 1 {
				t.Errorf("err = %v, counted %v", err, c.of)
			}
			if touched != test.touches {
				t.Errorf("touched the store: %v", touched)
			}
			if list, _, err := n.List(t.Context(), app.Query{UserID: "u1", Limit: 10}); err != nil || len(list) != test.entries {
				t.Errorf("listed %d, %v", len(list), err)
			}
		})
	}
}

func TestAnUnavailableStoreAsksForAnotherDelivery(t *testing.T) {
	store := documenttest.NewStore()
	p := replica(store, "a")
	p.Left = 1
	if err := p.notifications().Deliver(t.Context(), orderEvent("u1", 1, noon)); err == nil {
		t.Fatal("delivered over a store that is away")
	}
	// The real store says of its errors that they pass.
	store.BeforeGet(func([]string) error { return temporary{} })
	if err := replica(store, "b").notifications().Deliver(t.Context(), orderEvent("u1", 1, noon)); !event.Retriable(err) {
		t.Errorf("err = %v", err)
	}
}

type temporary struct{}

func (temporary) Error() string   { return "the store is away" }
func (temporary) Temporary() bool { return true }

// NOTIFY-DUP, and much later: everything again after the entries left the head, by this replica and by a new one.
func TestARedeliveryMuchLaterIsNotASecondEntry(t *testing.T) {
	store := documenttest.NewStore()
	first := replica(store, "a").notifications()
	events := orderEvents("u1", 137)
	deliver(t, first, events...)
	deliver(t, first, events...)
	deliver(t, replica(store, "b").notifications(), events...)
	if err := exactlyOnce(t.Context(), first, map[string][]event.Event{"u1": events}); err != nil {
		t.Error(err)
	}
}

// NOTIFY-DLY: an event that arrives after younger events were archived is stored, once.
func TestAnEventThatComesLateIsStored(t *testing.T) {
	store := documenttest.NewStore()
	n := replica(store, "a").notifications()
	events := orderEvents("u1", 90)
	deliver(t, n, events[1:]...)
	deliver(t, n, events[0], events[0])
	list, _, err := n.List(t.Context(), app.Query{UserID: "u1", Limit: 1})
	if err != nil || len(list) != 1 || list[0].Subject != events[0].Subject || !list[0].OccurredAt.Equal(events[0].Time) {
		t.Errorf("newest is %+v, %v", list, err)
	}
	deliver(t, n, events...)
	if err := exactlyOnce(t.Context(), n, map[string][]event.Event{"u1": events}); err != nil {
		t.Error(err)
	}
}

// NOTIFY-CB and NOTIFY-CA: a crash at each single operation on the store, before or after it took effect, while an
// inbox begins and while it is sealed. Every event is then delivered again, to another replica, and has one entry.
func TestACrashAnywhereDoublesAndLosesNothing(t *testing.T) {
	events := orderEvents("u1", 2*domain.SegmentSize+4)
	for name, healthy := range map[string]int{"beginning": 0, "sealing": 2*domain.SegmentSize - 2} {
		for _, lands := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " lands=", lands), func(t *testing.T) {
				doomed := events[healthy:min(healthy+5, len(events))]
				if crashes := crashEverywhere(t, events, healthy, doomed, lands); crashes < 2*len(doomed) {
					t.Errorf("only %d places to crash", crashes)
				}
			})
		}
	}
}

// crashEverywhere lets one replica deliver the first events and another crash at its n-th operation, for each n, while
// it delivers the doomed ones. It returns how many such places there are.
func crashEverywhere(t *testing.T, events []event.Event, healthy int, doomed []event.Event, lands bool) (crashes int) {
	t.Helper()
	before := documenttest.NewStore()
	deliver(t, replica(before, "a").notifications(), events[:healthy]...)
	for {
		store := before.Clone()
		p := replica(store, "b")
		p.Left, p.Lands = crashes+1, lands
		n := p.notifications()
		for _, e := range doomed {
			_ = n.Deliver(t.Context(), e) // what the crash leaves behind is the point
		}
		if !p.Crashed() {
			return crashes
		}
		crashes++
		heir := replica(store, "c").notifications()
		deliver(t, heir, events...)
		if err := exactlyOnce(t.Context(), heir, map[string][]event.Event{"u1": events}); err != nil {
			t.Fatalf("crash at operation %d: %v", crashes, err)
		}
	}
}

// While one replica looks for a late event in the archive, another takes the event and archives it: the answer of the
// first is stale.
func TestAnEventThatIsArchivedMeanwhileIsNotTakenAgain(t *testing.T) {
	store := documenttest.NewStore()
	events := orderEvents("u1", 4*domain.SegmentSize)
	fast := replica(store, "fast").notifications()
	deliver(t, fast, events[1:2*domain.SegmentSize+1]...)
	slow := replica(store, "slow")
	var once sync.Once
	slow.Meanwhile = func(key string) {
		if strings.HasPrefix(key, "archived/") {
			// After the read of the slow one, hence from within its next read of the inbox.
			slow.Meanwhile = func(string) {
				once.Do(func() { deliver(t, fast, append(events[:1:1], events[2*domain.SegmentSize+1:]...)...) })
			}
		}
	}
	deliver(t, slow.notifications(), events[0])
	if err := exactlyOnce(t.Context(), fast, map[string][]event.Event{"u1": events}); err != nil {
		t.Error(err)
	}
}

// While one replica records the entries that it is about to seal, another seals them and takes as many again.
func TestAnInboxThatIsSealedMeanwhileIsNotSealedBlindly(t *testing.T) {
	store := documenttest.NewStore()
	events := orderEvents("u1", 3*domain.SegmentSize)
	fast := replica(store, "fast").notifications()
	deliver(t, fast, events[:2*domain.SegmentSize-1]...)
	slow := replica(store, "slow")
	var once sync.Once
	slow.Meanwhile = func(key string) {
		if strings.HasPrefix(key, "archived/") {
			once.Do(func() { deliver(t, fast, events[2*domain.SegmentSize:]...) })
		}
	}
	deliver(t, slow.notifications(), events[2*domain.SegmentSize-1])
	deliver(t, fast, events...)
	if err := exactlyOnce(t.Context(), fast, map[string][]event.Event{"u1": events}); err != nil {
		t.Error(err)
	}
}

// TestAnyScheduleEndsWithOneEntryEach lets replicas deliver events at once, repeatedly and out of order, over a store
// that refuses, loses answers and is away, with some replicas crashing on the way. In the end every event was delivered
// with success at least once, as broker and feed see to.
func TestAnyScheduleEndsWithOneEntryEach(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		users := rapid.IntRange(1, 3).Draw(rt, "users")
		perUser := rapid.IntRange(1, 70).Draw(rt, "events")
		trouble := rapid.IntRange(0, 15).Draw(rt, "trouble")
		store := documenttest.NewStore()
		misbehave(store, seed, trouble)

		var all []event.Event
		of := make(map[string][]event.Event)
		dice := rand.New(rand.NewPCG(seed, 2))
		for u := range users {
			user := fmt.Sprint("u", u)
			for i := range perUser {
				// Few distinct times, so that events of one time lie on both sides of the archive.
				e := orderEvent(user, i, noon.Add(time.Duration(dice.IntN(perUser))*time.Second))
				of[user], all = append(of[user], e), append(all, e)
			}
		}
		schedule := make([]event.Event, 0, 2*len(all))
		for range 2 * len(all) {
			schedule = append(schedule, all[dice.IntN(len(all))])
		}
		var work sync.WaitGroup
		for r := range 3 {
			p := replica(store, fmt.Sprint("r", r))
			if r > 0 {
				p.Left = dice.IntN(4 * len(all))
				p.Lands = dice.IntN(2) == 0
			}
			n := p.notifications()
			for lane := range 4 {
				work.Go(func() {
					for i, e := range schedule {
						if i%4 == lane {
							_ = n.Deliver(rt.Context(), e) // a failure means another delivery, below
						}
					}
				})
			}
		}
		work.Wait()
		last := replica(store, "last").notifications()
		dice.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for _, e := range all {
			for attempt := 0; ; attempt++ {
				err := last.Deliver(rt.Context(), e)
				if err == nil {
					break
				}
				if attempt == 200 {
					rt.Fatalf("delivering %s: %v", e.ID, err)
				}
			}
		}
		store.BeforeGet(nil)
		store.BeforePut(nil)
		store.AfterPut(nil)
		if err := exactlyOnce(rt.Context(), last, of); err != nil {
			rt.Fatal(err)
		}
	})
}

// misbehave makes a store fail reads and writes, and lose answers of writes, in so many of a hundred cases.
func misbehave(store *documenttest.FakeStore, seed uint64, percent int) {
	var mu sync.Mutex
	dice := rand.New(rand.NewPCG(seed, 1))
	fails := func() error {
		mu.Lock()
		defer mu.Unlock()
		if dice.IntN(100) < percent {
			return documenttest.ErrInjected
		}
		return nil
	}
	store.BeforeGet(func([]string) error { return fails() })
	store.BeforePut(func(string, []byte) error { return fails() })
	store.AfterPut(func(string, []byte) error { return fails() })
}

// The budget of single events: one write of the inbox each, and a fifth of one with everything that archiving adds.
func TestTheCostOfAnEvent(t *testing.T) {
	store := documenttest.NewStore()
	var mu sync.Mutex
	inboxWrites, writes := 0, 0
	store.BeforePut(func(key string, _ []byte) error {
		mu.Lock()
		defer mu.Unlock()
		writes++
		if key == "inbox/u1" {
			inboxWrites++
		}
		return nil
	})
	n := replica(store, "a").notifications()
	deliver(t, n, orderEvents("u1", domain.SegmentSize)...)
	if inboxWrites != domain.SegmentSize || writes != inboxWrites+1 { // and the one that registers the user
		t.Errorf("%d writes, %d of them to the inbox, for %d events", writes, inboxWrites, domain.SegmentSize)
	}
	const many = 400
	deliver(t, n, orderEvents("u1", many)[domain.SegmentSize:]...)
	if perEvent := float64(writes) / many; perEvent > 1.2 {
		t.Errorf("%.2f writes per event of a busy user", perEvent)
	}
	before := writes
	deliver(t, n, orderEvents("u1", many)...)
	if writes != before {
		t.Errorf("redeliveries cost %d writes", writes-before)
	}
}

func TestEventsOfOneUserShareAWrite(t *testing.T) {
	store := documenttest.NewStore()
	p := replica(store, "a")
	n := p.notifications()
	deliver(t, n, deposit("u1", 1))
	events := orderEvents("u1", 12)
	// The store answers the first of them when all are under way: each asks for the time on its way to the store.
	var underWay, all sync.WaitGroup
	underWay.Add(len(events))
	p.Time = func() time.Time { underWay.Done(); return noon }
	store.BeforeGet(func([]string) error { underWay.Wait(); return nil })
	writes := 0
	store.BeforePut(func(string, []byte) error { writes++; return nil })
	for _, e := range events {
		all.Go(func() {
			if err := n.Deliver(t.Context(), e); err != nil {
				t.Errorf("delivering: %v", err)
			}
		})
	}
	all.Wait()
	if writes >= len(events) {
		t.Errorf("%d writes for %d events at once", writes, len(events))
	}
	if err := exactlyOnce(t.Context(), n, map[string][]event.Event{"u1": append(events, deposit("u1", 1))}); err != nil {
		t.Error(err)
	}
}

func TestAHeadThatCannotBeSealedStopsGrowing(t *testing.T) {
	store := documenttest.NewStore()
	store.BeforePut(func(key string, _ []byte) error {
		if strings.HasPrefix(key, "archived/") {
			return documenttest.ErrInjected
		}
		return nil
	})
	p := replica(store, "a")
	n := over(app.Ports{Store: p, Clock: sleepless{p}, IDs: p, Log: slog.New(slog.DiscardHandler)})
	events := orderEvents("u1", 11*domain.SegmentSize)
	refused := 0
	for _, e := range events {
		if err := n.Deliver(t.Context(), e); err != nil {
			refused++
			if !event.Retriable(err) {
				t.Fatalf("refused for good: %v", err)
			}
		}
	}
	if refused != domain.SegmentSize {
		t.Errorf("%d events were refused", refused)
	}
	store.BeforePut(nil)
	deliver(t, n, events...)
	if err := exactlyOnce(t.Context(), n, map[string][]event.Event{"u1": events}); err != nil {
		t.Error(err)
	}
}

// sleepless is a clock on which no write is retried.
type sleepless struct{ process }

func (sleepless) Sleep(context.Context, time.Duration) error { return context.DeadlineExceeded }
