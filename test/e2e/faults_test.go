package e2e

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"caravan/dapr/launcher"
	"caravan/internal/id"
)

// TestKilledAtEachStep stops an order at each step of the saga and kills the service that drives it there. The next
// life of that service must find the order and finish it.
func TestKilledAtEachStep(t *testing.T) {
	s := shared(t)
	for _, at := range []struct {
		step string
		// hold brings a new order to the step and returns it; release lets it continue.
		hold    func(t *testing.T, c *customer, p *product) string
		release string
		// also is killed together with the service.
		also []string
		end  string
	}{
		{step: "reserve", release: "products", end: "confirmed", hold: holdAt("products", "reserve")},
		{step: "authorize", release: "payments", end: "confirmed", hold: holdAt("payments", "authorize")},
		{step: "authorize, with who holds the stock", release: "payments", end: "confirmed", hold: holdAt("payments", "authorize"), also: []string{"products"}},
		{step: "commit", release: "products", end: "confirmed", hold: func(t *testing.T, c *customer, p *product) string { return atCommit(t, c, items(p, 2)) }},
		{step: "commit, with who holds the money", release: "products", end: "confirmed", also: []string{"payments"}, hold: func(t *testing.T, c *customer, p *product) string { return atCommit(t, c, items(p, 2)) }},
		{step: "undo authorize", release: "payments", end: "cancelled", hold: func(t *testing.T, c *customer, p *product) string {
			order := holdAt("payments", "authorize")(t, c, p)
			c.must(http.StatusAccepted, http.MethodPost, "/v1/orders/"+order+"/cancel", nil, nil)
			c.waits(order, "undo authorize")
			return order
		}},
		{step: "undo reserve", release: "products", end: "cancelled", hold: func(t *testing.T, c *customer, p *product) string {
			order := holdAt("products", "reserve")(t, c, p)
			c.must(http.StatusAccepted, http.MethodPost, "/v1/orders/"+order+"/cancel", nil, nil)
			c.waits(order, "undo reserve")
			return order
		}},
		{step: "refund", release: "payments", end: "refunded", hold: func(t *testing.T, c *customer, p *product) string {
			o := c.buys(p, 2)
			o.expect(t, "confirmed", "")
			c.shop.stack.crash(t, "payments")
			c.shop.admin.must(http.StatusAccepted, http.MethodPost, "/v1/orders/"+o.ID+"/refund", map[string]any{"reason": "broken"}, nil)
			c.waits(o.ID, "refund").expect(t, "refunding", "")
			return o.ID
		}},
	} {
		t.Run(at.step, func(t *testing.T) {
			sh := open(t, s)
			p := sh.product(250, 10)
			c := sh.customer(5000)
			order := at.hold(t, c, p)
			for _, name := range append(at.also, "orders") {
				s.kill(t, name)
			}
			s.raise(t, at.release)
			c.await(order).expect(t, at.end, "")
		})
	}
}

// holdAt places an order while a service is down, and waits until the order waits at the step that needs the service.
func holdAt(down, step string) func(*testing.T, *customer, *product) string {
	return func(t *testing.T, c *customer, p *product) string {
		t.Helper()
		c.shop.stack.crash(t, down)
		accepted, _ := c.place(items(p, 2))
		c.waits(accepted.ID, step)
		return accepted.ID
	}
}

// TestALongPollOutlastsARestart restarts orders or its sidecar while a request waits. The caller still gets the answer.
func TestALongPollOutlastsARestart(t *testing.T) {
	s := shared(t)
	for _, name := range []string{"orders", "orders-daprd"} {
		t.Run(name, func(t *testing.T) {
			sh := open(t, s)
			p := sh.product(250, 10)
			c := sh.customer(5000)
			order := holdAt("payments", "authorize")(t, c, p)
			type outcome struct {
				answer
				err error
			}
			held := make(chan outcome, 1)
			began := time.Now()
			go func() {
				got, err := c.call(http.MethodGet, "/v1/orders/"+order+"?wait=10s", nil)
				held <- outcome{got, err}
			}()
			s.restart(t, name)
			t.Logf("%s was back after %s", name, time.Since(began))
			s.raise(t, "payments")
			got := <-held
			if got.err != nil || got.status != http.StatusOK {
				t.Errorf("after %s: %s, %v", time.Since(began), got, got.err)
			}
			c.await(order).expect(t, "confirmed", "")
		})
	}
}

// TestKilledUnderLoad kills a program or its sidecar while orders are in every step: between steps, and before the
// confirmation is written.
func TestKilledUnderLoad(t *testing.T) {
	s := shared(t)
	for _, name := range []string{"products", "payments", "orders", "notifications", "gateway", "orders-daprd", "payments-daprd"} {
		t.Run(name, func(t *testing.T) { killUnderLoad(t, s, name) })
	}
}

// killUnderLoad has customers order, kills a process twice meanwhile, and checks that every order is confirmed.
func killUnderLoad(t *testing.T, s *stack, name string) {
	sh := open(t, s)
	const shoppers, each, kills = 4, 12, 2
	p := sh.product(100, shoppers*each)
	var people []*customer
	for range shoppers {
		people = append(people, sh.customer(100*each))
	}
	var placed atomic.Int64
	var load sync.WaitGroup
	for _, c := range people {
		for range 3 {
			load.Go(func() {
				for range each / 3 {
					order(c, items(p, 1), id.Random{}.New())
					placed.Add(1)
				}
			})
		}
	}
	for n := range int64(kills) {
		eventually(t, "the load to be under way", func() error {
			if got := placed.Load(); got < (n*2+1)*each/2 {
				return errorf("%d orders are placed", got)
			}
			return nil
		})
		s.kill(t, name)
	}
	load.Wait()
	for _, c := range people {
		for _, o := range c.orders {
			c.await(o).expect(t, "confirmed", "")
		}
	}
}

// TestKilledAtCapture kills payments repeatedly during many orders, until the kill was just after the pivot: the
// decision was made, but the money was not captured. Such an order can only go forward, and does.
func TestKilledAtCapture(t *testing.T) {
	s := shared(t)
	sh := open(t, s)
	p := sh.product(100, 10000)
	c := sh.customer(1000000)
	eventually(t, "an order to wait at capture", func() error {
		before := len(c.orders)
		stream(c, p, func() { s.crash(t, "payments") })
		stopped := slices.Clone(c.orders[before:])
		caught := false
		for _, o := range stopped {
			got := c.until(o, "an end or a wait", func(o orderBody) bool { return o.terminal() || o.Waiting != nil })
			caught = caught || got.Waiting != nil && got.Waiting.Step == "capture"
		}
		s.raise(t, "payments")
		for _, o := range stopped {
			c.await(o).expect(t, "confirmed", "")
		}
		if !caught {
			return errorf("none of %d orders did", len(stopped))
		}
		return nil
	})
}

// stream has a customer order several times in parallel, so that some order is in each step. It calls happen in the
// middle, and stops.
func stream(c *customer, p *product, happen func()) {
	const places, enough = 8, 24
	var placed atomic.Int64
	flowing, stop := make(chan struct{}), make(chan struct{})
	var load sync.WaitGroup
	for range places {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				order(c, items(p, 1), id.Random{}.New())
				if placed.Add(1) == enough {
					close(flowing)
				}
			}
		})
	}
	<-flowing
	happen()
	close(stop)
	load.Wait()
}

// TestPaymentsStopped shows what a customer and staff see while a service is down, and that all orders end once it is
// back.
func TestPaymentsStopped(t *testing.T) {
	s := shared(t)
	sh := open(t, s)
	p := sh.product(100, 50)
	c := sh.customer(5000)
	s.crash(t, "payments")
	for range 8 {
		c.place(items(p, 1))
	}
	for _, o := range c.orders {
		if got := c.waits(o, "authorize"); !strings.Contains(got.Waiting.Reason, "payments") || got.Waiting.Attempts < 1 {
			t.Errorf("order %s waits with %+v", o, got.Waiting)
		}
	}
	eventually(t, "the breaker to open", func() error {
		state := breakerOf(sh, "payments")
		if state != "open" {
			return errorf("it is %q", state)
		}
		return nil
	})
	c.until(c.orders[0], "a wait for the breaker", func(o orderBody) bool {
		return o.Waiting != nil && strings.Contains(o.Waiting.Reason, "breaker")
	})
	waiting := all[orderBody](sh.admin, "/v1/ops/orders")
	for _, o := range c.orders {
		if i := slices.IndexFunc(waiting, func(w orderBody) bool { return w.ID == o }); i < 0 || waiting[i].Waiting == nil {
			t.Errorf("staff does not see that order %s waits", o)
		}
	}
	unready, err := sh.admin.send(http.MethodGet, "/healthz", nil)
	if err != nil || unready.status != http.StatusServiceUnavailable || !strings.Contains(string(unready.body), "payments") {
		t.Errorf("the system's health is told as %s, %v", unready, err)
	}
	// Requests that do not need payments work.
	newClient(t, s, sh.trail).get("/v1/products/"+p.SKU, nil)

	s.raise(t, "payments")
	// The driver's own next attempt may have been earlier.
	retried, err := sh.admin.call(http.MethodPost, "/v1/ops/orders/"+c.orders[0]+"/retry", nil)
	if err != nil || retried.status != http.StatusAccepted && !(retried.status == http.StatusConflict && strings.Contains(string(retried.body), "order-ended")) {
		t.Errorf("a retry by staff is answered with %d %s, %v", retried.status, retried.body, err)
	}
	for _, o := range c.orders {
		c.await(o).expect(t, "confirmed", "")
	}
	eventually(t, "the breaker to close", func() error {
		if state := breakerOf(sh, "payments"); state == "open" {
			return errorf("it is %q", state)
		}
		return nil
	})
}

// TestSidecarStopped does the same with a sidecar: its service runs, but cannot be reached.
func TestSidecarStopped(t *testing.T) {
	s := shared(t)
	sh := open(t, s)
	p := sh.product(100, 50)
	c := sh.customer(5000)
	s.crash(t, "payments-daprd")
	for range 3 {
		c.place(items(p, 1))
	}
	c.until(c.orders[0], "its sixth attempt", func(o orderBody) bool { return o.Waiting != nil && o.Waiting.Attempts >= 6 })
	back := time.Now()
	s.raise(t, "payments-daprd")
	for _, o := range c.orders {
		c.await(o).expect(t, "confirmed", "")
	}
	t.Logf("all orders had ended %s after the sidecar was started", time.Since(back).Round(time.Millisecond))
}

// breakerOf returns the worst state of the breakers between orders and an app.
func breakerOf(sh *shop, app string) string {
	sh.t.Helper()
	var breakers listBody[struct{ Caller, App, State string }]
	sh.admin.get("/v1/ops/breakers", &breakers)
	state := ""
	for _, b := range breakers.Items {
		if b.Caller == "orders" && b.App == app && state != "open" {
			state = b.State
		}
	}
	return state
}

// TestBrokerKilled kills the broker while orders are under way and keeps it down, in the long form for a minute. Orders end without it,
// and its events and messages arrive once, when it is back.
func TestBrokerKilled(t *testing.T) {
	s := shared(t)
	sh := open(t, s)
	p := sh.product(100, 200)
	c := sh.customer(20000)
	var load sync.WaitGroup
	for range 10 {
		load.Go(func() { order(c, items(p, 1), id.Random{}.New()) })
	}
	s.crash(t, "broker")
	down := time.Now()
	load.Wait()
	for range 5 {
		c.place(items(p, 1))
	}
	for _, o := range c.orders {
		c.await(o).expect(t, "confirmed", "")
	}
	c.deposit(300)
	eventually(t, "the time to be over", func() error {
		if away := time.Since(down); away < either(0, time.Minute) {
			return errorf("it is %s", away)
		}
		return nil
	})
	s.raise(t, "broker")
	late := c.buys(p, 1)
	late.expect(t, "confirmed", "")
	// The books, checked after every test, wait for every notice, which the feed brings in any case. The broker has to
	// deliver fast again too, and without a person (test/repair; docs/adr/0008-subscription-repair.md).
	if err := within(2*waitLimit, func() error {
		next := c.buys(p, 1)
		return within(2*time.Second, func() error { return s.pushed(t, next.ID) })
	}); err != nil {
		t.Errorf("waiting for events to be pushed again: %v", err)
	}
	c.mailed(t, "order is confirmed", len(c.orders))
}

// pushed checks that the broker delivered an event of an order to notifications.
func (s *stack) pushed(t *testing.T, order string) error {
	t.Helper()
	lines := s.mention(t, order)
	if slices.ContainsFunc(lines, func(line launcher.LogLine) bool {
		return line.Process == "notifications" && line.Message == "event" && line.Field("topic") == "orders"
	}) {
		return nil
	}
	return errorf("no delivery among %d log lines about order %s", len(lines), order)
}

// TestCorrelation follows one order through the logs of all services it touches.
func TestCorrelation(t *testing.T) {
	s := shared(t)
	sh := open(t, s)
	p := sh.product(100, 5)
	c := sh.customer(1000)
	accepted, got := c.place(items(p, 1))
	correlation := got.header.Get("X-Correlation-Id")
	if correlation == "" {
		t.Fatalf("%s has no correlation id", got)
	}
	c.await(accepted.ID).expect(t, "confirmed", "")
	eventually(t, "the correlation id in every log", func() error {
		seen := make(map[string]bool)
		for _, line := range s.mention(t, correlation) {
			if line.Field("correlation_id") == correlation {
				seen[line.Process] = true
			}
		}
		for _, name := range []string{"gateway", "orders", "products", "payments", "notifications"} {
			if !seen[name] {
				return errorf("%s has not logged it; %v have", name, slices.Sorted(maps.Keys(seen)))
			}
		}
		return nil
	})

	// A client's own id is kept, and an invalid one is not logged.
	mine := "checkout-" + id.Random{}.New()
	kept := c.must(http.StatusOK, http.MethodGet, "/v1/wallet", nil, nil, header{"X-Correlation-Id", mine})
	if id := kept.header.Get("X-Correlation-Id"); id != mine {
		t.Errorf("the correlation id %q became %q", mine, id)
	}
	replaced := c.must(http.StatusOK, http.MethodGet, "/v1/wallet", nil, nil, header{"X-Correlation-Id", "{bad} id"})
	if id := replaced.header.Get("X-Correlation-Id"); id == "" || strings.ContainsAny(id, "{} ") {
		t.Errorf("a malformed correlation id became %q", id)
	}
}

// TestSecretsStayOut searches every log for a password, a token and an address.
func TestSecretsStayOut(t *testing.T) {
	s := shared(t)
	sh := open(t, s)
	p := sh.product(100, 5)
	c := sh.customer(1000)
	c.buys(p, 1).expect(t, "confirmed", "")
	secrets := s.Secrets()
	maps.Copy(secrets, map[string]string{
		"a password": c.password, "an e-mail address": c.email, "an access token": c.session.AccessToken, "a refresh token": c.session.RefreshToken,
	})
	lines := s.mention(t, slices.Collect(maps.Values(secrets))...)
	for what, secret := range secrets {
		if secret == "" {
			t.Errorf("%s is empty", what)
			continue
		}
		if i := slices.IndexFunc(lines, func(line launcher.LogLine) bool { return strings.Contains(line.Raw, secret) }); i >= 0 {
			t.Errorf("%s is in the log of %s: %s", what, lines[i].Process, launcher.Format(lines[i], "", false))
		}
	}
}
