package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"caravan/dapr/launcher"
	"caravan/internal/event"
	"caravan/internal/id"
	"caravan/services/notifications/domain"
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

// otherKinds are the kinds whose messages other tests of this package follow.
var otherKinds = []string{
	"password-reset", "password-changed", "new-sign-in", // TestAccounts
	"payment-declined", "price-drop", "low-stock", // those of watches and stock
	"deposit-declined", // TestADepositThatIsDeclinedLater
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
func (s *stack) events(t *testing.T, orderID string) (events []event.Event) {
	t.Helper()
	s.documents(t, "orders").change("order/"+orderID, func(doc map[string]any) {
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

// TestEachKindInEachLanguage has one thing of each kind happen to a customer, and finds it in the inbox and among the mails. The same
// inbox is then read in German, and each mail sent again.
func TestEachKindInEachLanguage(t *testing.T) {
	s := shared(t)
	s.mailServer(t)
	sh := open(t, s)
	p, c := sh.product(500, 20), sh.customer(10_000)
	var wishes preferencesBody
	c.get("/v1/notifications/preferences", &wishes)
	wishes.Rules = []preferenceRule{{Kind: "payment-refunded", Channel: "email", Enabled: true}}
	c.must(http.StatusOK, http.MethodPut, "/v1/notifications/preferences", wishes, nil)

	c.buys(p, 15)                                    // welcome, verify-email, deposit-received; order-confirmed
	c.buys(p, 15).expect(t, "rejected", "")          // order-rejected
	refunded := c.buys(p, 1)                         // order-refunded and payment-refunded
	held := holdAt("payments", "authorize")(t, c, p) // order-placed. Its event comes with the feed a minute later, or now.
	s.publish(t, "orders", "orders", s.events(t, held)[0])
	c.message(t, "order-placed", held, "sent")
	c.must(http.StatusAccepted, http.MethodPost, "/v1/orders/"+held+"/cancel", nil, nil)
	s.raise(t, "payments")
	c.await(held).expect(t, "cancelled", "") // order-cancelled
	sh.admin.must(http.StatusAccepted, http.MethodPost, "/v1/orders/"+refunded.ID+"/refund", map[string]any{"reason": "broken"}, nil)
	c.until(refunded.ID, "a refund", func(o orderBody) bool { return o.Status == "refunded" })

	for _, locale := range domain.Locales() {
		t.Run(string(locale), func(t *testing.T) {
			before := len(c.allOf(t))
			if wishes.Locale = string(locale); locale != domain.English {
				c.must(http.StatusOK, http.MethodPut, "/v1/notifications/preferences", wishes, nil)
				for _, d := range c.messages() {
					if d.Status == "sent" {
						sh.resend(d)
					}
				}
			} else {
				before = 0
			}
			c.eachKind(t, locale, before)
		})
	}
	sh.settleMails()
}

// allOf are all e-mails to a customer.
func (c *customer) allOf(t *testing.T) []mailBody {
	all, _ := c.allMails(t)
	return all
}

// eachKind waits until the inbox and the mails after the first ones have each kind that is offered, in a language.
func (c *customer) eachKind(t *testing.T, locale domain.Locale, first int) {
	t.Helper()
	eventually(t, "each kind in "+string(locale), func() error {
		titles := make(map[string]bool)
		for _, n := range all[noticeBody](c.client, "/v1/notifications") {
			titles[n.Title] = true
		}
		subjects := make(map[string]bool)
		mails := c.allOf(t)
		for _, m := range mails[:len(mails)-first] {
			subjects[m.Subject] = true
		}
		var missing []string
		for _, kind := range domain.Kinds() {
			if slices.Contains(otherKinds, kind.Name) {
				continue
			}
			m, err := domain.Render(kind, locale, domain.Data{})
			if err != nil {
				t.Fatal(err)
			}
			if kind.Offers(domain.InApp) && !titles[m.Title] {
				missing = append(missing, kind.Name+" in the inbox")
			}
			if kind.Offers(domain.Email) && !subjects[m.Title] {
				missing = append(missing, kind.Name+" by e-mail")
			}
		}
		if len(missing) > 0 {
			return errorf("missing are %s; subjects %v", strings.Join(missing, ", "), subjects)
		}
		return nil
	})
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

// TestHostileNamesInMails registers people whose names are HTML, commands of mail servers or headers. What no name may contain is
// refused. A mail has a name only when its address is verified: its owner may know nothing of the account.
func TestHostileNamesInMails(t *testing.T) {
	s := shared(t)
	s.mailServer(t)
	sh := open(t, s)
	visitor := newClient(t, s, sh.trail)
	for i, name := range []string{"Ann\r\nBcc: victim@shop.example", "Ann\x00", "Ann \u202egnp.exe", "Ann \u2066x"} {
		email := fmt.Sprintf("hostile-%d-%s@shop.example", i, id.Random{}.New())
		visitor.must(http.StatusBadRequest, http.MethodPost, "/v1/users", map[string]string{"email": email, "password": "correct horse battery", "name": name}, nil)
	}
	for _, name := range []string{
		`<img src=x onerror=alert(1)>`, `"><script>alert(1)</script>`, `Ann" <victim@shop.example>, "x`, `Ann; Bcc: victim@shop.example`,
		`=?utf-8?q?=0D=0ABcc:_victim@shop.example?=`, `{{.Name}} %s ${x}`, `Ann <b>Smith</b> &amp; {{template "x"}}`,
	} {
		c := sh.named(name, 0)
		for _, subject := range []string{"Welcome", "confirm your e-mail address"} {
			parts := s.mailParts(t, c.mailed(t, subject, 1)[0])
			if to := parts.header("To"); len(to) != 1 || to[0] != "<"+c.email+">" || !strings.HasPrefix(parts.Text, "Hello,") {
				t.Errorf("a mail to %q, which is not verified, begins with %.30q", to, parts.Text)
			}
		}
		visitor.must(http.StatusNoContent, http.MethodPost, verifications, map[string]string{"token": c.mailedToken(t, "confirm your e-mail address", 1)}, nil)
		c.deposit(100)
		m := c.mailed(t, "Money added", 1)[0]
		parts := s.mailParts(t, m)
		raw, err := fetch(t.Context(), s.mailServer(t)+"/mails/"+m.ID+"/source")
		if err != nil {
			t.Fatal(err)
		}
		head, _, _ := strings.Cut(string(raw), "\r\n\r\n")
		for line := range strings.SplitSeq(head, "\r\n") {
			field, _, _ := strings.Cut(strings.ToLower(line), ":")
			if slices.Contains([]string{"bcc", "cc"}, field) {
				t.Errorf("%q has led to the header %q", name, line)
			}
		}
		if to := parts.header("To"); len(to) != 1 || !strings.Contains(to[0], "<"+c.email+">") {
			t.Errorf("%q has led to recipients %q", name, to)
		}
		for _, tag := range []string{"<img src=x", "<script", "<b>Smith"} {
			if strings.Contains(strings.ToLower(parts.HTML), strings.ToLower(tag)) {
				t.Errorf("%q is HTML in %s", name, parts.HTML)
			}
		}
		if !strings.Contains(parts.Text, strings.Fields(name)[0]) {
			t.Errorf("%q is not in the text:\n%s", name, parts.Text)
		}
	}
}
