package domain

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"caravan/internal/document"
	"caravan/internal/event"
	orders "caravan/services/orders/contract"
	payments "caravan/services/payments/contract"
)

var deliveryRules = DeliveryRules{Attempts: 4, Skew: 15 * time.Second, Fold: 30 * time.Second, MaxAge: 48 * time.Hour}

var morning = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)

// status is the n-th event of an order.
func status(typ string, n int64) Notice {
	return Notice{
		UserID: "u1", EventID: event.ID("orders", "o1", n), Type: typ, OccurredAt: morning.Add(time.Duration(n) * time.Second),
		Data: Data{OrderID: "o1"},
	}
}

func claimed(by string, now time.Time) Claim { return Claim{By: by, Until: now.Add(time.Minute)} }

// statesOf are the states of the deliveries of a thread.
func statesOf(t *Thread) string {
	var states []string
	for _, d := range t.Deliveries {
		states = append(states, string(d.State))
	}
	return strings.Join(states, " ")
}

func added(t *testing.T, thread *Thread, by string, now time.Time, notices ...Notice) {
	t.Helper()
	claim := Claim{}
	if by != "" {
		claim = claimed(by, now)
	}
	if err := thread.Add(Email, notices, claim, deliveryRules, now); err != nil {
		t.Fatal(err)
	}
}

func concluded(t *testing.T, thread *Thread, place int, by string, r Result, now time.Time) {
	t.Helper()
	if err := thread.Conclude(place, by, r, deliveryRules, now); err != nil {
		t.Fatal(err)
	}
}

func TestTheFirstWriteClaimsADelivery(t *testing.T) {
	thread := &Thread{}
	added(t, thread, "a", morning, status(orders.EventConfirmed, 5))
	d := thread.Deliveries[0]
	if !d.Holds("a") || d.Attempts != 1 || thread.UserID != "u1" || thread.Channel != Email || thread.Ended() {
		t.Errorf("the thread is %+v", thread)
	}
	if len(thread.Timeline) != 1 || strings.Contains(string(thread.Timeline[0].Data), "u1") {
		t.Errorf("its events are %+v", thread.Timeline)
	}
	if err := thread.Add(Email, []Notice{status(orders.EventConfirmed, 5)}, claimed("b", morning), deliveryRules, morning); !errors.Is(err, document.ErrUnchanged) {
		t.Errorf("a repeat: %v", err)
	}
	concluded(t, thread, 0, "a", Result{Sent: true}, morning)
	if d := thread.Deliveries[0]; d.State != DeliverySent || d.Sends != 1 || !thread.Ended() {
		t.Errorf("after sending: %+v", d)
	}
}

func TestOnlyTheHolderOfAClaimSends(t *testing.T) {
	thread := &Thread{}
	added(t, thread, "a", morning, status(orders.EventConfirmed, 5))
	for _, at := range []time.Duration{0, time.Minute, time.Minute + deliveryRules.Skew - 1} {
		if err := thread.Take(0, "", claimed("b", morning.Add(at)), deliveryRules, morning.Add(at)); !errors.Is(err, ErrNotDue) {
			t.Errorf("after %s another attempt gets %v", at, err)
		}
	}
	late := morning.Add(time.Minute + deliveryRules.Skew)
	if err := thread.Take(0, "", claimed("b", late), deliveryRules, late); err != nil || !thread.Deliveries[0].Holds("b") {
		t.Fatalf("after the end of the claim: %v", err)
	}
	// The first one comes back: its failure says nothing about the attempt of the other.
	if err := thread.Conclude(0, "a", Result{Failed: true}, deliveryRules, late); !errors.Is(err, document.ErrUnchanged) || !thread.Deliveries[0].Holds("b") {
		t.Errorf("a late failure: %v, %+v", err, thread.Deliveries[0])
	}
	// ... but what it sent is sent.
	concluded(t, thread, 0, "a", Result{Sent: true}, late)
	concluded(t, thread, 0, "b", Result{Sent: true}, late)
	if err := thread.Conclude(0, "b", Result{Sent: true}, deliveryRules, late); !errors.Is(err, document.ErrUnchanged) {
		t.Errorf("a repeated result: %v", err)
	}
	if d := thread.Deliveries[0]; d.State != DeliverySent || d.Sends != 2 {
		t.Errorf("two attempts sent, the document says %+v", d)
	}
}

func TestAttemptsAreBounded(t *testing.T) {
	thread, now := &Thread{}, morning
	added(t, thread, "0", now, status(orders.EventConfirmed, 5))
	for i := range 10 { // a missing service is not a failure
		concluded(t, thread, 0, fmt.Sprint(i), Result{Postponed: true, Reason: "users: not available", Next: now}, now)
		if err := thread.Take(0, "", claimed(fmt.Sprint(i+1), now), deliveryRules, now); err != nil {
			t.Fatal(err)
		}
	}
	by := "10"
	for i := 1; thread.Deliveries[0].State == DeliveryClaimed; i++ {
		concluded(t, thread, 0, by, Result{Failed: true, Reason: "timeout", Next: now.Add(time.Minute)}, now)
		d := thread.Deliveries[0]
		if d.Attempts != i || len(d.History) != min(i, deliveryHistory) {
			t.Fatalf("after failure %d: %+v", i, d)
		}
		if d.State == DeliveryFailed {
			break
		}
		by = fmt.Sprint("again ", i)
		if err := thread.Take(0, "", claimed(by, now), deliveryRules, now); !errors.Is(err, ErrNotDue) {
			t.Errorf("before its time: %v", err)
		}
		now = now.Add(time.Minute)
		if err := thread.Take(0, "", claimed(by, now), deliveryRules, now); err != nil {
			t.Fatal(err)
		}
	}
	if d := thread.Deliveries[0]; d.State != DeliveryFailed || d.Attempts != deliveryRules.Attempts || d.Reason != "timeout" {
		t.Errorf("in the end: %+v", d)
	}
}

func TestAStatusIsNotSentAfterALaterOne(t *testing.T) {
	confirmed, refunded, again := status(orders.EventConfirmed, 5), status(orders.EventRefunded, 7), status(orders.EventRefunded, 9)
	t.Run("that was sent", func(t *testing.T) {
		thread := &Thread{}
		added(t, thread, "a", morning, refunded)
		concluded(t, thread, 0, "a", Result{Sent: true}, morning)
		if err := thread.Add(Email, []Notice{confirmed}, Claim{}, deliveryRules, morning); !errors.Is(err, document.ErrUnchanged) {
			t.Errorf("%v, %s", err, statesOf(thread))
		}
	})
	t.Run("that waits", func(t *testing.T) {
		thread := &Thread{}
		added(t, thread, "", morning, confirmed)
		added(t, thread, "a", morning, refunded)
		if got := statesOf(thread); got != "superseded claimed" || thread.Deliveries[0].By != refunded.EventID {
			t.Errorf("the states are %s", got)
		}
	})
	t.Run("in one batch", func(t *testing.T) {
		thread := &Thread{}
		added(t, thread, "a", morning, confirmed, again, refunded)
		if got := statesOf(thread); got != "superseded claimed" { // the last one comes after a later one
			t.Errorf("the states are %s", got)
		}
	})
	t.Run("that failed", func(t *testing.T) {
		thread := &Thread{}
		added(t, thread, "a", morning, refunded)
		concluded(t, thread, 0, "a", Result{Refused: true, Reason: "550"}, morning)
		added(t, thread, "b", morning, confirmed)
		if got := statesOf(thread); got != "failed claimed" {
			t.Errorf("the states are %s", got)
		}
	})
	t.Run("while it is being sent", func(t *testing.T) {
		thread := &Thread{}
		added(t, thread, "a", morning, confirmed)
		added(t, thread, "b", morning, refunded)
		if got := statesOf(thread); got != "claimed waiting" { // both at once could arrive in the wrong order
			t.Fatalf("the states are %s", got)
		}
		concluded(t, thread, 0, "a", Result{Failed: true, Next: morning}, morning)
		if got := statesOf(thread); got != "superseded waiting" {
			t.Errorf("the states are %s", got)
		}
	})
}

func TestBurstsAreFolded(t *testing.T) {
	thread, now := &Thread{}, morning
	added(t, thread, "a", now, status(orders.EventRefunded, 7))
	concluded(t, thread, 0, "a", Result{Sent: true}, now)
	for n := int64(8); n < 20; n++ {
		now = now.Add(time.Second)
		added(t, thread, "b", now, status(orders.EventRefunded, n))
	}
	if got := statesOf(thread); got != "sent"+strings.Repeat(" superseded", 11)+" waiting" {
		t.Fatalf("the states are %s", got)
	}
	last := len(thread.Deliveries) - 1
	if at := thread.DueAt(last, deliveryRules.Skew); !at.Equal(morning.Add(deliveryRules.Fold)) {
		t.Errorf("the last one is due at %s", at)
	}
	// Movements of money are no statuses: each says something of its own.
	paid := func(n int64) Notice {
		return Notice{UserID: "u1", EventID: event.ID("payments", "u1", n), Type: payments.EventRefunded, OccurredAt: morning, Data: Data{OrderID: "o1"}}
	}
	added(t, thread, "c", now, paid(1), paid(2))
	if got := statesOf(thread); !strings.HasSuffix(got, "waiting claimed claimed") {
		t.Errorf("the states are %s", got)
	}
}

func TestAnOldEventIsNotSent(t *testing.T) {
	thread := &Thread{}
	added(t, thread, "a", morning.Add(49*time.Hour), status(orders.EventConfirmed, 5))
	if d := thread.Deliveries[0]; d.State != DeliverySuppressed || d.Reason == "" {
		t.Errorf("the delivery is %+v", d)
	}
}

func TestStaffSendAgain(t *testing.T) {
	thread := &Thread{}
	added(t, thread, "", morning, status(orders.EventConfirmed, 5))
	added(t, thread, "a", morning, status(orders.EventRefunded, 7))
	if err := thread.Resend(1, "op", morning); !errors.Is(err, ErrUnderWay) {
		t.Errorf("while it is being sent: %v", err)
	}
	concluded(t, thread, 1, "a", Result{Sent: true}, morning)
	if err := thread.Resend(2, "op", morning); !errors.Is(err, ErrNoDelivery) {
		t.Errorf("one that does not exist: %v", err)
	}
	if err := thread.Resend(0, "op", morning); err != nil {
		t.Fatal(err)
	}
	if err := thread.Resend(0, "op", morning); !errors.Is(err, document.ErrUnchanged) {
		t.Errorf("a repeat: %v", err)
	}
	if err := thread.Take(0, "", claimed("b", morning), deliveryRules, morning); err != nil {
		t.Fatal(err)
	}
	concluded(t, thread, 0, "b", Result{Sent: true}, morning)
	if got := statesOf(thread); got != "sent sent" {
		t.Errorf("the states are %s", got)
	}
}

// A mail server may have taken a mail although sending failed.
func TestAStatusIsNotSentAfterALaterOneThatFailed(t *testing.T) {
	thread, now := &Thread{}, morning
	added(t, thread, "0", now, status(orders.EventRefunded, 7))
	for i := 1; thread.Deliveries[0].State == DeliveryClaimed; i++ {
		concluded(t, thread, 0, fmt.Sprint(i-1), Result{Failed: true, Reason: "timeout", Next: now}, now)
		if err := thread.Take(0, "", claimed(fmt.Sprint(i), now), deliveryRules, now); err != nil && !errors.Is(err, ErrNotDue) {
			t.Fatal(err)
		}
	}
	err := thread.Add(Email, []Notice{status(orders.EventConfirmed, 5)}, claimed("c", now), deliveryRules, now)
	if !errors.Is(err, document.ErrUnchanged) || statesOf(thread) != "failed" {
		t.Errorf("the states are %s, %v", statesOf(thread), err)
	}
}

// An attempt that ended without a result may have sent its status. If that delivery fails later, an earlier status is late all the same.
func TestAStatusIsNotSentAfterALaterOneThatMayHaveBeenSent(t *testing.T) {
	thread := &Thread{}
	added(t, thread, "lost", morning, status(orders.EventRefunded, 7))
	now := morning.Add(time.Hour)
	if err := thread.Take(0, "", claimed("b", now), deliveryRules, now); err != nil {
		t.Fatal(err)
	}
	concluded(t, thread, 0, "b", Result{Refused: true}, now)
	err := thread.Add(Email, []Notice{status(orders.EventConfirmed, 5)}, claimed("c", now), deliveryRules, now)
	if !errors.Is(err, document.ErrUnchanged) || statesOf(thread) != "failed" {
		t.Errorf("the states are %s, %v", statesOf(thread), err)
	}
}

func TestIDsOfDeliveries(t *testing.T) {
	id := ThreadID(Email, status(orders.EventConfirmed, 5))
	if id == ThreadID(Push, status(orders.EventConfirmed, 5)) || id != ThreadID(Email, status(orders.EventRefunded, 9)) {
		t.Error("a thread is for one channel and one order")
	}
	if thread, place, ok := ParseDeliveryID(DeliveryID(id, 3)); !ok || thread != id || place != 3 {
		t.Errorf("parsed %s, %d, %v", thread, place, ok)
	}
	for _, bad := range []string{"", id, id + ".", id + ".-1", id + ".01", id + ".x", "x.1", id + ".1.1"} {
		if _, _, ok := ParseDeliveryID(bad); ok {
			t.Errorf("%q was accepted", bad)
		}
	}
}
