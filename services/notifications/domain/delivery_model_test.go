package domain

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"caravan/internal/audit"
	orders "caravan/services/orders/contract"
	payments "caravan/services/payments/contract"
)

// model is a thread with replicas that claim, send, stop and come back.
type model struct {
	thread  *Thread
	now     time.Time
	at      []attempt // under way
	claims  int
	sends   map[string]int // by event, as the other side counts
	crashes map[string]int // after the other side has taken it and before that is stored, by event
	order   []Delivery     // in which statuses were sent
}

type attempt struct {
	place int
	by    string
	until time.Time
}

func (m *model) claim() Claim {
	m.claims++
	return claimed(fmt.Sprint("claim-", m.claims), m.now)
}

// held notes the deliveries that a write has claimed.
func (m *model) held(c Claim) {
	for i, d := range m.thread.Deliveries {
		if d.Holds(c.By) {
			m.at = append(m.at, attempt{i, c.By, c.Until})
		}
	}
}

// TestDeliveriesAreSentOnceAndInOrder: whatever the order and the number of the events, and wherever replicas stop, each message
// is sent once. The exception is a crash after the other side has taken it and before that is stored.
func TestDeliveriesAreSentOnceAndInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		types := []string{orders.EventConfirmed, orders.EventRefunded, orders.EventRefunded, payments.EventRefunded}
		m := &model{thread: &Thread{}, now: morning, sends: make(map[string]int), crashes: make(map[string]int)}
		t.Repeat(map[string]func(*rapid.T){
			"an event": func(t *rapid.T) {
				i := rapid.IntRange(0, len(types)-1).Draw(t, "event")
				claim := Claim{}
				if rapid.Bool().Draw(t, "claimed") {
					claim = m.claim()
				}
				_ = m.thread.Add(Email, []Notice{status(types[i], int64(i+5))}, claim, deliveryRules, m.now)
				m.held(claim)
			},
			"another replica claims": func(t *rapid.T) {
				if len(m.thread.Deliveries) == 0 {
					t.Skip()
				}
				place := rapid.IntRange(0, len(m.thread.Deliveries)-1).Draw(t, "place")
				c := m.claim()
				if m.thread.Take(place, "", c, deliveryRules, m.now) == nil {
					m.held(c)
				}
			},
			"an attempt ends": func(t *rapid.T) { m.finish(t) },
			"time passes": func(t *rapid.T) {
				m.now = m.now.Add(time.Duration(rapid.IntRange(1, 100).Draw(t, "seconds")) * time.Second)
			},
			"": func(t *rapid.T) { m.check(t) },
		})
		m.settle(t)
	})
}

// finish ends one attempt under way: it sends in the time of its claim, or not; then its replica may stop.
func (m *model) finish(t *rapid.T) {
	if len(m.at) == 0 {
		t.Skip()
	}
	i := rapid.IntRange(0, len(m.at)-1).Draw(t, "attempt")
	a := m.at[i]
	m.at = slices.Delete(slices.Clone(m.at), i, i+1)
	outcome := rapid.SampledFrom([]string{"sent", "sent", "failed", "postponed", "switched off", "stops before", "stops after", "answer lost"}).Draw(t, "outcome")
	d := m.thread.Deliveries[a.place]
	if m.now.After(a.until) || outcome == "stops before" {
		return // the driver does not send without a claim
	}
	switch outcome {
	case "sent", "stops after", "answer lost":
		m.sends[d.EventID]++
		if d.Rank > 0 {
			m.order = append(m.order, d)
		}
		if outcome != "sent" {
			m.crashes[d.EventID]++
		}
		if outcome == "answer lost" {
			_ = m.thread.Conclude(a.place, a.by, Result{Failed: true, Next: m.now.Add(time.Second)}, deliveryRules, m.now)
		}
		if outcome != "sent" {
			return
		}
		_ = m.thread.Conclude(a.place, a.by, Result{Sent: true}, deliveryRules, m.now)
	case "switched off": // no earlier status may follow it
		if d.Rank > 0 {
			m.order = append(m.order, d)
		}
		_ = m.thread.Conclude(a.place, a.by, Result{Suppressed: true, Reason: ReasonSwitchedOff}, deliveryRules, m.now)
	case "failed":
		_ = m.thread.Conclude(a.place, a.by, Result{Failed: true, Next: m.now.Add(time.Second)}, deliveryRules, m.now)
	case "postponed":
		_ = m.thread.Conclude(a.place, a.by, Result{Postponed: true, Next: m.now.Add(time.Second)}, deliveryRules, m.now)
	}
}

func (m *model) check(t *rapid.T) {
	for id, sends := range m.sends {
		if sends > 1+m.crashes[id] {
			t.Fatalf("%s was sent %d times with %d crashes", id, sends, m.crashes[id])
		}
	}
	for i := 1; i < len(m.order); i++ {
		if laterStatus(m.order[i-1], m.order[i]) {
			t.Fatalf("%s was sent after %s", m.order[i].EventID, m.order[i-1].EventID)
		}
	}
	if len(m.thread.Deliveries) > 0 { // the audit agrees
		threadID := ThreadID(Email, Notice{UserID: m.thread.UserID, Data: m.thread.Deliveries[0].Data})
		var found audit.Results
		AuditThread(&found, "thread", threadID, m.thread, deliveryRules.Skew)
		if len(found.Findings) > 0 {
			t.Fatalf("the audit finds %+v", found.Findings)
		}
	}
	seen := make(map[string]bool)
	for _, d := range m.thread.Deliveries {
		if seen[d.EventID] {
			t.Fatalf("%s has two deliveries", d.EventID)
		}
		seen[d.EventID] = true
	}
}

// settle lets everything succeed: then every delivery ends, and the latest status was sent unless it failed.
func (m *model) settle(t *rapid.T) {
	for range 20 {
		m.now = m.now.Add(5 * time.Minute)
		for i := range m.thread.Deliveries {
			c := m.claim()
			if m.thread.Take(i, "", c, deliveryRules, m.now) == nil && m.thread.Deliveries[i].Holds(c.By) {
				d := m.thread.Deliveries[i]
				m.sends[d.EventID]++
				if d.Rank > 0 {
					m.order = append(m.order, d)
				}
				_ = m.thread.Conclude(i, c.By, Result{Sent: true}, deliveryRules, m.now)
			}
		}
	}
	m.check(t)
	if !m.thread.Ended() {
		t.Fatalf("it does not end: %s", statesOf(m.thread))
	}
	for _, d := range m.thread.Deliveries {
		switch d.State {
		case DeliverySent, DeliveryFailed, DeliverySuppressed:
		case DeliverySuperseded: // by a later status, whatever became of that one
			i := slices.IndexFunc(m.thread.Deliveries, func(other Delivery) bool { return other.EventID == d.By })
			if i < 0 || !laterStatus(m.thread.Deliveries[i], d) {
				t.Fatalf("%s is superseded by %q", d.EventID, d.By)
			}
		default:
			t.Fatalf("%s is %s", d.EventID, d.State)
		}
	}
}
