package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"caravan/internal/document"
	"caravan/internal/event"
	"caravan/internal/feed"
	"caravan/internal/id"
	"caravan/services/orders/contract"
	"caravan/services/orders/domain"
)

// office is a shop with a feed, and what staff do there.
type office struct {
	*shop
	listAll ListAllOrders
	retry   RetryOrder
	cancel  CancelOrderByStaff
	sweep   *Sweep
	log     *bytes.Buffer
}

func newOffice() *office {
	o := &office{shop: newShop(), log: &bytes.Buffer{}}
	log := slog.New(slog.NewJSONHandler(o.log, nil))
	timing := feed.Timing{Bucket: 10 * time.Second, Settle: 30 * time.Second}
	index, reader := feed.NewIndex(o.store, o.clock, timing, "one"), feed.NewReader(o.store, o.clock, timing)
	options := document.Options{Prefix: Prefix, Source: contract.App, Index: index, Clock: o.clock, IDs: id.Random{}}
	o.orders = document.NewRepository[domain.Order](o.store, options)
	o.driver = NewDriver(o.orders, o.driver.saga, o.clock, slog.New(slog.DiscardHandler), NewWatch(), o.driver.pace,
		NewAlarm(5*time.Minute, o.clock, log), o.driver.meter)
	o.place.Orders, o.place.Driver = o.orders, o.driver
	o.sweep = NewSweep(o.orders, o.place.Lists, o.driver, &feed.Sweep{
		Reader: reader, Index: index, Store: o.store, Clock: o.clock, IDs: id.Random{},
		Log: slog.New(slog.DiscardHandler), Settle: timing.Settle,
	})
	o.listAll = ListAllOrders{Orders: o.orders, Reader: reader, Saga: o.driver.saga, Sweep: o.sweep, Clock: o.clock}
	interventions := Interventions{Orders: o.orders, Driver: o.driver, Clock: o.clock, IDs: id.Random{}, Log: log}
	o.retry, o.cancel = RetryOrder{interventions}, CancelOrderByStaff{interventions}
	return o
}

// order places an order and drives it as far as it gets.
func (o *office) order(t testing.TB, key string) *domain.Order {
	t.Helper()
	order, err := o.place.Do(t.Context(), Placement{UserID: "u1", Key: key, Fingerprint: key, Lines: []domain.Line{{SKU: "TEA", Quantity: 2}}})
	if err != nil {
		t.Fatal(err)
	}
	return o.driven(t, order.ID)
}

func (o *office) driven(t testing.TB, id string) *domain.Order {
	t.Helper()
	o.driver.drive(t.Context(), start{id: id})
	order, err := o.orders.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return order
}

func (o *office) pass(d time.Duration) { o.clock.Advance(d) }

// list reads all pages.
func (o *office) list(t testing.TB, f OrderFilter, limit int) []Listed {
	t.Helper()
	var all []Listed
	for cursor := ""; ; {
		page, next, err := o.listAll.Do(t.Context(), f, cursor, limit)
		if err != nil || len(page) > limit {
			t.Fatalf("a page of %d, %v", len(page), err)
		}
		all = append(all, page...)
		if cursor = next; cursor == "" {
			return all
		}
	}
}

func TestWaitingOrdersAreListed(t *testing.T) {
	o := newOffice()
	o.order(t, "confirmed")
	o.services.answer["authorize"] = errAway
	o.pass(time.Minute)
	old := o.order(t, "old")
	o.pass(3 * time.Minute)
	delete(o.services.answer, "authorize")
	o.services.answer["capture"] = errAway
	young := o.order(t, "young")
	placed, err := o.place.Do(t.Context(), Placement{UserID: "u1", Key: "placed", Fingerprint: "placed", Lines: []domain.Line{{SKU: "TEA", Quantity: 1}}})
	if err != nil { // no driver starts it
		t.Fatal(err)
	}
	o.pass(90 * time.Second)
	for _, c := range []struct {
		filter OrderFilter
		want   string
	}{
		{OrderFilter{Stalled: true, Waiting: time.Minute}, "old young placed"},
		{OrderFilter{Stalled: true, Waiting: 2 * time.Minute}, "old"},
		{OrderFilter{Stalled: true, Waiting: time.Hour}, ""},
		{OrderFilter{Stalled: true, Step: "capture"}, "young"},
		{OrderFilter{Stalled: true, Status: contract.Placed}, "placed"},
		{OrderFilter{Status: contract.Confirmed}, "confirmed"},
		{OrderFilter{}, "confirmed old young placed"},
	} {
		for _, limit := range []int{1, 2, 100} {
			var got []string
			for _, l := range o.list(t, c.filter, limit) {
				got = append(got, l.Fingerprint)
			}
			if !slices.Equal(got, strings.Fields(c.want)) {
				t.Errorf("%+v in pages of %d: %q; want %q", c.filter, limit, got, c.want)
			}
		}
	}
	all := o.list(t, OrderFilter{Stalled: true}, 100)
	if s := all[0].Stall; all[0].ID != old.ID || s.Step != "authorize" || s.Attempts != 1 || !strings.Contains(s.Reason, "not available") || s.Age != 270*time.Second ||
		!s.NextAttemptAt.Equal(s.Since.Add(875*time.Millisecond)) {
		t.Errorf("the old one waits %+v", s)
	}
	if s := all[1].Stall; all[1].ID != young.ID || s.Step != "capture" || s.Age != 90*time.Second {
		t.Errorf("the young one waits %+v", s)
	}
	if s := all[2].Stall; all[2].ID != placed.ID || s.Step != "reserve" || s.Attempts != 0 || s.Reason != unrecorded {
		t.Errorf("the placed one waits %+v", s)
	}
}

// A list of waiting orders costs no look at those that ended long ago, and the sweep never hides one from it.
func TestWaitingOrdersAreFoundBehindTheSweep(t *testing.T) {
	o := newOffice()
	for i := range 30 {
		o.order(t, fmt.Sprint("done ", i))
		o.pass(20 * time.Second)
	}
	o.services.answer["capture"] = errAway
	waiting := o.order(t, "waits")
	for range 20 {
		o.pass(20 * time.Second)
		if err := o.sweep.Pass(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	read := 0
	o.store.BeforeGet(func(keys []string) error {
		for _, k := range keys {
			if strings.HasPrefix(k, Prefix) {
				read++
			}
		}
		return nil
	})
	got := o.list(t, OrderFilter{Stalled: true, Waiting: time.Minute}, 100)
	if len(got) != 1 || got[0].ID != waiting.ID || read > 5 {
		t.Errorf("found %d orders with %d reads", len(got), read)
	}
}

func TestStaffRetryAWaitingOrder(t *testing.T) {
	o := newOffice()
	o.services.answer["capture"] = errAway
	order := o.order(t, "k")
	in := Intervention{OrderID: order.ID, By: "ada", Reason: "payments is back", Key: "r1"}
	for range 2 { // a repeat changes nothing
		retried, err := o.retry.Do(t.Context(), in)
		if err != nil || retried.Waiting.NextAttemptAt.After(o.clock.Now()) || retried.Waiting.Attempts != 1 {
			t.Fatalf("retried %+v, %v", retried, err)
		}
	}
	if failed := o.driven(t, order.ID); failed.Waiting.Attempts != 2 {
		t.Fatalf("it waits %+v", failed.Waiting)
	}
	if _, err := o.retry.Do(t.Context(), in); err != nil { // of the same request, late
		t.Fatal(err)
	}
	in.Key, in.By = "", "bob"
	if _, err := o.retry.Do(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	delete(o.services.answer, "capture")
	done := o.driven(t, order.ID)
	if got := types(done); got != "placed reserved authorized capturing retried retried confirmed" {
		t.Errorf("timeline is %s", got)
	}
	var fact contract.Fact
	if err := json.Unmarshal(done.Timeline[4].Data, &fact); err != nil || fact.By != "ada" || fact.Note != "payments is back" || fact.Status != contract.Capturing {
		t.Errorf("the retry is %+v, %v", fact, err)
	}
	at := contract.Status("")
	for _, e := range done.Timeline {
		at = domain.Following(at, e)
	}
	if at != contract.Confirmed {
		t.Errorf("its history leads to %q", at)
	}
	if n := strings.Count(o.log.String(), `"action":"order.retried"`); n != 2 || !strings.Contains(o.log.String(), `"actor":"ada","reason":"payments is back"`) {
		t.Errorf("%d lines in the audit: %s", n, o.log)
	}
	in.Key = "late"
	if _, err := o.retry.Do(t.Context(), in); !errors.Is(err, domain.ErrEnded) {
		t.Errorf("retrying what ended: %v", err)
	}
	if _, err := o.retry.Do(t.Context(), Intervention{OrderID: "none"}); !errors.Is(err, document.ErrNotFound) {
		t.Errorf("retrying nothing: %v", err)
	}
}

func TestStaffCancelAnOrderBeforeThePivot(t *testing.T) {
	o := newOffice()
	o.services.answer["authorize"] = errAway
	order := o.order(t, "k")
	in := Intervention{OrderID: order.ID, By: "ada", Reason: "the customer called"}
	for range 2 {
		if cancelled, err := o.cancel.Do(t.Context(), in); err != nil || cancelled.Status != contract.Cancelling || cancelled.Reason != domain.ReasonStaff {
			t.Fatalf("cancelled %+v, %v", cancelled, err)
		}
	}
	done := o.driven(t, order.ID)
	if got := types(done); got != "placed reserved cancelling cancelled" || o.services.stock != "released" || o.services.money != "voided" {
		t.Errorf("timeline is %s; stock %s, money %s", got, o.services.stock, o.services.money)
	}
	var fact contract.Fact
	if err := json.Unmarshal(done.Timeline[2].Data, &fact); err != nil || fact.By != "ada" || fact.Note != "the customer called" {
		t.Errorf("the cancellation is %+v, %v", fact, err)
	}
	if n := strings.Count(o.log.String(), `"action":"order.cancelled"`); n != 1 {
		t.Errorf("%d lines in the audit: %s", n, o.log)
	}
	if _, err := o.cancel.Do(t.Context(), in); err != nil {
		t.Errorf("cancelling what is cancelled: %v", err)
	}
}

func TestPastThePivotStaffCannotCancel(t *testing.T) {
	o := newOffice()
	o.services.answer["capture"] = errAway
	order := o.order(t, "k")
	for range 2 {
		_, err := o.cancel.Do(t.Context(), Intervention{OrderID: order.ID, By: "ada", Reason: "x"})
		var past *domain.PastPivotError
		if !errors.As(err, &past) || past.OrderID != order.ID {
			t.Errorf("cancelling: %v", err)
		}
		delete(o.services.answer, "capture")
		o.pass(time.Minute)
		o.driven(t, order.ID)
	}
}

// Whatever staff do to an order, in any order and repeated, while its participants come and go: it comes to an end, its
// history leads there, and each intervention that changed something is in it once.
func TestAnyInterventionsLeaveAnOrderSound(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		o := newOffice()
		for _, call := range rapid.SliceOfDistinct(rapid.SampledFrom([]string{"reserve", "authorize", "capture", "commit", "void", "release"}), rapid.ID).Draw(rt, "away") {
			o.services.answer[call] = errAway
		}
		order := o.order(t, "k")
		asked := make(map[string]bool)
		for range rapid.IntRange(0, 30).Draw(rt, "interventions") {
			in := Intervention{OrderID: order.ID, By: "ada", Key: fmt.Sprint(rapid.IntRange(0, 5).Draw(rt, "key"))}
			switch rapid.SampledFrom([]string{"retry", "retry", "drive", "cancel", "pass"}).Draw(rt, "what") {
			case "retry":
				in.Reason = "retry " + in.Key
				if _, err := o.retry.Do(rt.Context(), in); err == nil {
					asked[in.Reason] = true
				} else if !errors.Is(err, domain.ErrEnded) {
					rt.Fatal(err)
				}
			case "cancel":
				var past *domain.PastPivotError
				if _, err := o.cancel.Do(rt.Context(), in); err != nil && !errors.Is(err, domain.ErrEnded) && !errors.As(err, &past) {
					rt.Fatal(err)
				}
			case "drive":
				o.driven(t, order.ID)
			case "pass":
				o.pass(time.Duration(rapid.IntRange(0, 30).Draw(rt, "seconds")) * time.Second)
			}
		}
		clear(o.services.answer)
		o.pass(time.Minute)
		done := o.driven(t, order.ID)
		if !done.Status.Terminal() {
			rt.Fatalf("it is %s and waits %+v", done.Status, done.Waiting)
		}
		at, notes := contract.Status(""), make(map[string]int)
		for i, e := range timelineOf(t, o, done) {
			if e.Sequence != int64(i+1) {
				rt.Fatalf("entry %d has sequence %d", i, e.Sequence)
			}
			if at = domain.Following(at, e); at == "" {
				rt.Fatalf("%s can not follow there", e.Type)
			}
			var fact contract.Fact
			if err := json.Unmarshal(e.Data, &fact); err != nil {
				rt.Fatal(err)
			}
			if e.Type == contract.EventRetried {
				notes[fact.Note]++
			}
		}
		for note, n := range notes {
			if n > 1 || !asked[note] {
				rt.Fatalf("%q is in the history %d times", note, n)
			}
		}
		if at != done.Status || len(done.Retries) > 8 {
			rt.Fatalf("it is %s, its history leads to %s; retries %v", done.Status, at, done.Retries)
		}
	})
}

// timelineOf is the whole history of an order.
func timelineOf(t testing.TB, o *office, order *domain.Order) []event.Event {
	t.Helper()
	var all []event.Event
	for n := range order.TimelineSegments {
		var older []event.Event
		found, err := document.ReadArchive(t.Context(), o.store, &order.Root, document.TimelineSegmentKey(o.orders.Key(order.ID), n), &older)
		if err != nil || !found {
			t.Fatalf("segment %d: %v", n, err)
		}
		all = append(all, older...)
	}
	return append(all, order.Timeline...)
}
