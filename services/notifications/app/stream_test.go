package app_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"caravan/internal/clock"
	"caravan/internal/document/documenttest"
	"caravan/internal/event"
	"caravan/services/notifications/app"
	"caravan/services/notifications/domain"
	orders "caravan/services/orders/contract"
)

// reader is an app.Sink that keeps what it gets. It fails after a number of notifications, like a client that goes away; a negative
// number means never.
type reader struct {
	left          int
	position      int
	notifications []app.Notification
	orders        []domain.OrderStatus
	skipped       [2]int
	alive         int
	end           string
	stall         chan struct{} // if not nil, Order waits for it
}

var errGone = errors.New("the client is gone")

func (r *reader) Open(position, _ int) error { r.position = position; return nil }
func (r *reader) Skipped(from, to int) error { r.skipped = [2]int{from, to}; return nil }
func (r *reader) Alive() error               { r.alive++; return nil }
func (r *reader) End(reason string) error    { r.end = reason; return nil }

func (r *reader) Order(s domain.OrderStatus) error {
	if r.stall != nil {
		<-r.stall
	}
	r.orders = append(r.orders, s)
	return nil
}

func (r *reader) Notification(n app.Notification) error {
	if r.left == 0 {
		return errGone
	}
	r.left--
	r.notifications, r.position = append(r.notifications, n), n.Position
	return nil
}

// streamsOf are the streams of a replica whose clock is that of the test.
func streamsOf(store *documenttest.FakeStore) (*notifications, app.OpenStream) {
	return meteredStreams(store, &missed{})
}

func meteredStreams(store *documenttest.FakeStore, meter app.StreamMeter) (*notifications, app.OpenStream) {
	p := replica(store, "a")
	p.Time = time.Now
	n := p.notifications()
	n.Inboxes.Clock = clock.System{} // that of a replica does not wait
	streams := app.NewStreams(n.Inboxes, app.NewPreferences(n.Ports), meter, app.StreamOptions{
		PerUser: 2, PerReplica: 3, Refresh: 15 * time.Second, Poll: 5 * time.Second, Heartbeat: 15 * time.Second, Hold: 50 * time.Millisecond,
	})
	return n, app.OpenStream{Streams: streams}
}

// missed is an app.StreamMeter.
type missed struct{ dropped, leftOut atomic.Int64 }

func (m *missed) Dropped() { m.dropped.Add(1) }
func (m *missed) LeftOut() { m.leftOut.Add(1) }

// TestAClientThatConnectsAgainSeesEachEntryOnceAndInOrder breaks the connection at any points while the inbox grows. Some of the
// events are not heard of; a refresh finds them.
func TestAClientThatConnectsAgainSeesEachEntryOnceAndInOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		total := rapid.IntRange(1, 70).Draw(rt, "entries")
		heard := rapid.SliceOfN(rapid.Bool(), total, total).Draw(rt, "heard")
		cuts := rapid.SliceOf(rapid.IntRange(0, 20)).Draw(rt, "cuts")
		var got []int
		synctest.Test(t, func(t *testing.T) {
			n, open := streamsOf(documenttest.NewStore())
			ctx, stop := context.WithCancel(t.Context())
			go func() { _ = open.Run(ctx) }()
			go func() {
				for i := range total {
					e := orderEvent("u1", i, time.Now())
					if heard[i] {
						open.Take(e)
					}
					if err := n.Deliver(ctx, e); err != nil {
						t.Error(err)
					}
					time.Sleep(300 * time.Millisecond)
				}
			}()
			after := 0
			for connection := 0; len(got) < total && connection < 1000; connection++ {
				r := &reader{left: -1, position: after}
				if connection < len(cuts) {
					r.left = cuts[connection]
				}
				s, err := open.Do(ctx, app.Start{UserID: "u1", After: after})
				if err != nil {
					t.Fatal(err)
				}
				connected, cut := context.WithTimeout(ctx, time.Minute)
				_ = s.Run(connected, r)
				cut()
				for _, item := range r.notifications {
					got = append(got, item.Position)
				}
				after = max(after, r.position)
			}
			stop()
			synctest.Wait()
		})
		for i, position := range got {
			if position != i+1 {
				rt.Fatalf("the client saw %v", got)
			}
		}
		if len(got) != total {
			rt.Fatalf("the client saw %d of %d", len(got), total)
		}
	})
}

// status is the event of an order's status.
func status(userID, order string, sequence int64) domain.OrderStatus {
	return domain.OrderStatus{UserID: userID, OrderID: order, Status: "placed", Sequence: sequence}
}

// tell lets the streams hear of a status.
func tell(open app.OpenStream, s domain.OrderStatus) {
	e := orderEvent(s.UserID, 0, time.Now())
	e.Type, e.Subject, e.Sequence = orders.EventPlaced, s.OrderID, s.Sequence
	e.Data = fmt.Appendf(nil, `{"orderId":%q,"userId":%q,"status":%q}`, s.OrderID, s.UserID, s.Status)
	open.Take(e)
}

func TestStatusesOfAnOrderNeverGoBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		meter := &missed{}
		_, open := meteredStreams(documenttest.NewStore(), meter)
		ctx, stop := context.WithCancel(t.Context())
		go func() { _ = open.Run(ctx) }()
		s, err := open.Do(ctx, app.Start{UserID: "u1", After: -1})
		if err != nil {
			t.Fatal(err)
		}
		r := &reader{left: -1}
		go func() { _ = s.Run(ctx, r) }()
		go func() { _ = app.FollowEvents{Streams: open.Streams, Live: &live{}}.Do(ctx) }()
		for _, sequence := range []int64{1, 3, 2, 3, 4, 7} {
			tell(open, status("u1", "o1", sequence))
		}
		tell(open, status("u1", "o2", 1))
		tell(open, status("u2", "o3", 1))
		time.Sleep(40 * time.Millisecond)
		tell(open, status("u1", "o1", 5))
		time.Sleep(20 * time.Millisecond) // 7 has waited
		tell(open, status("u1", "o1", 6)) // and 6 comes too late
		tell(open, status("u1", "o1", 8))
		time.Sleep(40 * time.Second)
		stop()
		synctest.Wait()
		var got []string
		for _, o := range r.orders {
			got = append(got, fmt.Sprint(o.OrderID, " ", o.Sequence))
		}
		if want := []string{"o1 1", "o1 2", "o1 3", "o1 4", "o2 1", "o1 5", "o1 7", "o1 8"}; !slices.Equal(got, want) {
			t.Errorf("the client saw %v, want %v", got, want)
		}
		if n := meter.leftOut.Load(); n != 1 {
			t.Errorf("%d statuses were left out", n)
		}
		if r.alive != 2 || r.end != app.EndStopping || open.Count() != 0 {
			t.Errorf("alive %d times, ended with %q, %d streams are open", r.alive, r.end, open.Count())
		}
	})
}

func TestASlowClientIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		meter := &missed{}
		_, open := meteredStreams(documenttest.NewStore(), meter)
		s, err := open.Do(t.Context(), app.Start{UserID: "u1", After: -1})
		if err != nil {
			t.Fatal(err)
		}
		r := &reader{left: -1, stall: make(chan struct{})}
		ended := make(chan error, 1)
		go func() { ended <- s.Run(t.Context(), r) }()
		for i := range int64(200) {
			tell(open, status("u1", "o1", i+1))
			synctest.Wait()
		}
		close(r.stall)
		if err := <-ended; !errors.Is(err, app.ErrTooSlow) || len(r.orders) > 100 || open.Count() != 0 || meter.dropped.Load() != 1 {
			t.Errorf("it ended with %v after %d statuses, %d streams are open", err, len(r.orders), open.Count())
		}
	})
}

func TestStreamsAreBounded(t *testing.T) {
	_, open := streamsOf(documenttest.NewStore())
	for i, test := range []struct {
		user string
		want error
	}{{"u1", nil}, {"u1", nil}, {"u1", app.ErrTooManyStreams}, {"u2", nil}, {"u3", app.ErrNoRoom}} {
		if _, err := open.Do(t.Context(), app.Start{UserID: test.user, After: -1}); !errors.Is(err, test.want) {
			t.Errorf("stream %d of %s: %v", i, test.user, err)
		}
	}
}

func TestAnOldPositionIsSkipped(t *testing.T) {
	n, open := streamsOf(documenttest.NewStore())
	total := app.MaxReplay + 30
	deliver(t, n, orderEvents("u1", total)...)
	s, err := open.Do(t.Context(), app.Start{UserID: "u1", After: 10})
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{left: -1}
	r.left = app.MaxReplay - 1
	if err := s.Run(t.Context(), r); !errors.Is(err, errGone) {
		t.Fatal(err)
	}
	if r.skipped != [2]int{11, 30} || len(r.notifications) != app.MaxReplay-1 || r.position != total-1 {
		t.Errorf("skipped %v, sent %d up to %d", r.skipped, len(r.notifications), r.position)
	}
}

// A stream shows what the list shows. A kind that the user switches off or on while it is open, and the language, count from then on.
func TestAStreamFollowsThePreferences(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, open := streamsOf(documenttest.NewStore())
		set := app.SetPreferences{Preferences: app.NewPreferences(n.Ports)}
		ctx, stop := context.WithCancel(t.Context())
		go func() { _ = open.Run(ctx) }()
		off := []domain.Rule{{Kind: "deposit-received", Channel: domain.InApp}}
		wish := func(s domain.Settings) {
			t.Helper()
			if _, err := set.Do(ctx, "u1", s); err != nil {
				t.Fatal(err)
			}
		}
		wish(domain.Settings{Locale: domain.English, Rules: off})
		s, err := open.Do(ctx, app.Start{UserID: "u1", After: -1})
		if err != nil {
			t.Fatal(err)
		}
		r := &reader{left: -1}
		go func() { _ = s.Run(ctx, r) }()
		sequence := int64(0)
		arrive := func() {
			t.Helper()
			sequence++
			for _, e := range []event.Event{deposit("u1", sequence), orderEvent("u1", int(sequence), time.Now())} {
				open.Take(e)
				deliver(t, n, e)
				time.Sleep(time.Second)
			}
		}
		arrive()
		wish(domain.Settings{Locale: domain.German})
		arrive()
		wish(domain.Settings{Locale: domain.English, Rules: off})
		arrive()
		stop()
		synctest.Wait()
		listed, _, err := n.List(t.Context(), app.Query{UserID: "u1", Limit: 10})
		if err != nil || len(listed) != 3 {
			t.Errorf("the list has %d entries, %v", len(listed), err)
		}
		var got []string
		for _, shown := range r.notifications {
			got = append(got, shown.Title)
		}
		want := []string{"Your order is confirmed", "Einzahlung auf Ihr Guthaben", "Ihre Bestellung ist bestätigt", "Your order is confirmed"}
		if !slices.Equal(got, want) {
			t.Errorf("the client saw %q, want %q", got, want)
		}
	})
}
