package e2e

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"caravan/dapr/launcher"
	"caravan/internal/event"
	"caravan/internal/id"
	"caravan/test/stacktest"
)

// long reports whether the long forms of these tests are asked for, by CARAVAN_E2E_LONG.
var long = stacktest.Take("CARAVAN_E2E_LONG") != ""

// either is short, or the time of the long form.
func either(short, inLong time.Duration) time.Duration {
	if long {
		return inLong
	}
	return short
}

// resend has a message sent again.
func (sh *shop) resend(d deliveryBody) {
	sh.t.Helper()
	sh.admin.must(http.StatusAccepted, http.MethodPost, deliveries+"/"+d.ID+"/resend", nil, nil, idempotent(id.Random{}.New()))
}

// messages are the messages to a customer by e-mail, as staff see them, by kind and order.
func (c *customer) messages() map[string]deliveryBody {
	c.t.Helper()
	found := make(map[string]deliveryBody)
	for _, d := range search[deliveryBody](c.shop.admin, deliveries, url.Values{"user": {c.id}, "channel": {"email"}}) {
		found[d.Kind+" "+d.OrderID] = d
	}
	return found
}

// events are the events of an order, as orders stores them.
func (s *stack) events(t *testing.T, orderID string) []event.Event {
	t.Helper()
	return s.timeline(t, "orders", "order/"+orderID)
}

// timeline are the last events of a document, as its service stores them.
func (s *stack) timeline(t *testing.T, service, key string) (events []event.Event) {
	t.Helper()
	s.documents(t, service).Change(key, func(doc map[string]any) {
		raw, err := json.Marshal(doc["timeline"])
		if err == nil {
			err = json.Unmarshal(raw, &events)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	return events
}

// TestEventsTwiceAndOutOfOrder publishes the events of an order through the broker again, twice and backwards.
func TestEventsTwiceAndOutOfOrder(t *testing.T) {
	s := shared(t)
	s.mailServer(t)
	sh := open(t, s)
	p, c := sh.product(500, 5), sh.customer(5000)
	o := c.buys(p, 1)
	sh.admin.must(http.StatusAccepted, http.MethodPost, "/v1/orders/"+o.ID+"/refund", map[string]any{"reason": "broken"}, nil)
	c.until(o.ID, "a refund", func(o orderBody) bool { return o.Status == "refunded" })
	c.mailed(t, "order was refunded", 1)
	events := s.events(t, o.ID)
	for range 2 {
		for _, e := range slices.Backward(events) {
			s.publish(t, "orders", "orders", e)
		}
	}
	last := c.buys(p, 1) // its event comes after these
	c.message(t, "order-confirmed", last.ID, "sent")
	for subject, want := range map[string]int{"order was refunded": 1, "order is confirmed": 2, "received your order": 0, "Welcome": 1} {
		if got := c.mails(t, subject); len(got) > want {
			t.Errorf("%d mails %q; want %d", len(got), subject, want)
		}
	}
	t.Logf("%d events were published twice, backwards", len(events))
	sh.settleMails()
}

// hasty makes notifications try again soon, and its claims end soon.
func hasty(t *testing.T) *stack {
	t.Helper()
	s := own(t, launcher.Options{Broker: "kafka", Store: settings.store, Env: map[string]map[string]string{"notifications": {
		"CARAVAN_DELIVERY_ATTEMPT": "2s", "CARAVAN_DELIVERY_FIRST_BACKOFF": "200ms", "CARAVAN_DELIVERY_MAX_BACKOFF": "1s", "CARAVAN_DELIVERY_SWEEP_EVERY": "500ms",
		"CARAVAN_DELIVERY_ATTEMPTS": "100",
	}}})
	s.mailServer(t)
	return s
}

// TestTheMailServerIsAway has orders confirmed while the mail server defers, stalls or is down. All mails arrive once when it is back. What it
// refuses arrives when staff have it sent again.
func TestTheMailServerIsAway(t *testing.T) {
	s := hasty(t)
	sh := open(t, s)
	p := sh.product(100, 1000)
	away := either(3*time.Second, time.Minute)
	const each = 5
	for _, fault := range []struct {
		name       string
		begin, end func()
	}{
		{"defers", func() { s.mailFault(t, "defer") }, func() { s.mailFault(t, "") }},
		{"stalls", func() { s.mailFault(t, "stall") }, func() { s.mailFault(t, "") }},
		{"is down", func() { s.crash(t, "mail") }, func() { s.raise(t, "mail") }},
	} {
		t.Run(fault.name, func(t *testing.T) {
			c := sh.customer(1000)
			c.mailed(t, "Money added", 1)
			fault.begin()
			began := time.Now()
			for range each {
				c.buys(p, 1).expect(t, "confirmed", "")
			}
			eventually(t, "the time to be over, and an attempt on each", func() error {
				for key, d := range c.messages() {
					if d.Kind == "order-confirmed" && (d.Status == "sent" || d.Attempts == 0) {
						return errorf("%s is %s after %d attempts", key, d.Status, d.Attempts)
					}
				}
				if time.Since(began) < away {
					return errorf("it is %s", time.Since(began))
				}
				return nil
			})
			fault.end()
			back := time.Now()
			mails := c.mailed(t, "order is confirmed", each)
			once := make(map[string]bool)
			for _, m := range mails {
				once[m.MessageID] = true
			}
			if len(once) != each {
				t.Errorf("%d mails have %d ids", each, len(once))
			}
			t.Logf("after %s away, %d mails had arrived within %s, each once", back.Sub(began).Round(time.Second), each, time.Since(back).Round(100*time.Millisecond))
		})
	}
	t.Run("refuses", func(t *testing.T) {
		c := sh.customer(1000)
		c.mailed(t, "Money added", 1)
		s.mailFault(t, "refuse")
		o := c.buys(p, 1)
		failed := c.message(t, "order-confirmed", o.ID, "failed")
		s.mailFault(t, "")
		sh.resend(failed)
		c.mailed(t, "order is confirmed", 1)
	})
	killedWhileSending(t, s, sh, p)
}

// killedWhileSending kills a process while the mail server holds a message: after its claim, and before or after the mail was taken.
// Another attempt sends it when the claim has ended. It comes twice only if the mail server had taken it.
func killedWhileSending(t *testing.T, s *stack, sh *shop, p *product) {
	points := []struct {
		name, fault, victim string
		mails               int
	}{
		{"the program, before it is taken", "stall", "notifications", 1},
		{"the sidecar, before it is taken", "stall", "notifications-daprd", 1},
		{"the mail server, before it is taken", "stall", "mail", 1},
		{"the program, after it was taken", "lose", "notifications", 2},
	}
	if !long {
		points = []struct {
			name, fault, victim string
			mails               int
		}{points[0], points[3]}
	}
	for _, at := range points {
		t.Run("killed: "+at.name, func(t *testing.T) {
			c := sh.customer(1000)
			c.mailed(t, "Money added", 1)
			s.mailFault(t, at.fault)
			o := c.buys(p, 1)
			if at.fault == "lose" {
				c.mailed(t, "order is confirmed", 1)
			} else {
				c.message(t, "order-confirmed", o.ID, "claimed")
			}
			s.crash(t, at.victim)
			if at.victim != "mail" {
				s.mailFault(t, "")
			}
			s.raise(t, at.victim)
			began := time.Now()
			d := c.message(t, "order-confirmed", o.ID, "sent")
			mails := c.mails(t, "order is confirmed")
			if len(mails) == 0 || len(mails) > at.mails || mails[0].MessageID != mails[len(mails)-1].MessageID {
				t.Errorf("the mails are %+v; want at most %d with one Message-ID", mails, at.mails)
			}
			t.Logf("sent after %d attempts, %s after the process was back: %d mails", d.Attempts, time.Since(began).Round(100*time.Millisecond), len(mails))
		})
	}
}
