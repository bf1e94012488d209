package sim

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"caravan/dapr/client"
	"caravan/internal/feed"
	notifications "caravan/services/notifications/contract"
	orders "caravan/services/orders/contract"
)

// inspect runs the system's own audit and compares the promises to customers with the facts. It runs in a calm world at
// rest, as one more person in the shop.
func (s *shop) inspect() (violations []string) {
	c := &customer{name: "auditor", shop: s, rng: s.world.rng}
	if !c.enter(adminEmail, true) {
		return s.failures
	}
	violations = append(violations, s.failures...)
	violations = append(violations, c.audit()...)
	sold := make(map[string]int64)
	for _, customer := range s.customers {
		if customer.client != nil {
			violations = append(violations, customer.inspect(sold)...)
		}
	}
	for n := range s.size.Products {
		product, err := read(c, "a product", func(ctx context.Context) (client.StaffProduct, error) { return c.client.GetProduct(ctx, sku(n)) })
		if err != nil {
			violations = append(violations, fmt.Sprintf("product %s can not be read: %v", sku(n), err))
			continue
		}
		if want := s.size.initialStock(n) + s.corrected[sku(n)] - sold[sku(n)]; product.OnHand != want || product.Reserved != 0 {
			violations = append(violations, fmt.Sprintf("stock of %s is %d with %d reserved; %d were there, %d came and %d were sold",
				sku(n), product.OnHand, product.Reserved, s.size.initialStock(n), s.corrected[sku(n)], sold[sku(n)]))
		}
	}
	return violations
}

// read repeats a call until there is an answer. After the last fault, a program that restarts its sidecar answers 503.
func read[T any](c *customer, what string, ask func(context.Context) (T, error)) (got T, err error) {
	err = c.insist("reading "+what, func(ctx context.Context) (bool, error) {
		got, err = ask(ctx)
		return refused(err), err
	})
	return got, err
}

func (c *customer) audit() (violations []string) {
	var report client.Audit
	err := c.insist("auditing", func(ctx context.Context) (final bool, err error) {
		report, err = c.client.OpsAudit(ctx)
		if err == nil && !report.Complete {
			err = fmt.Errorf("the audit is under way")
		}
		return false, err
	})
	if err != nil {
		return []string{"the audit failed: " + err.Error()}
	}
	c.shop.report = report
	for _, f := range report.Findings {
		violations = append(violations, fmt.Sprintf("audit: %s: %s: %s: %s", f.Service, f.Invariant, f.Key, f.Detail))
	}
	if len(report.Counts) == 0 {
		violations = append(violations, "the audit counted nothing")
	}
	return violations
}

// watch audits repeatedly until the customers have left. A service that does not answer is no finding, because faults
// may continue. Everything else is: the audit may run at any time and must report no false finding.
func (s *shop) watch() {
	c := &customer{name: "watcher", shop: s, rng: rand.New(rand.NewPCG(s.world.seed, 98))}
	if !c.enter(adminEmail, true) {
		return
	}
	for !s.empty() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		report, err := c.client.OpsAudit(ctx)
		cancel()
		for _, f := range report.Findings {
			if f.Invariant != orders.InvariantAnswers {
				s.fail("audit while customers buy: %s: %s: %s: %s", f.Service, f.Invariant, f.Key, f.Detail)
			}
		}
		if err == nil && report.Complete {
			s.mu.Lock()
			s.audits++
			s.mu.Unlock()
		}
		time.Sleep(time.Duration(c.rng.Float64() * float64(2*time.Second)))
	}
}

// inspect compares the promises to one customer with the present state, and adds up what they bought.
func (c *customer) inspect(sold map[string]int64) (violations []string) {
	found := func(format string, args ...any) {
		violations = append(violations, c.name+": "+fmt.Sprintf(format, args...))
	}
	var spent, paid int64
	for _, amount := range c.deposits {
		paid += amount
	}
	orders, err := all(func(cursor string) ([]client.OrderSummary, string, error) {
		list, err := read(c, "orders", func(ctx context.Context) (client.OrderList, error) {
			return c.client.ListOrders(ctx, client.ListOrdersParams{Limit: 100, Cursor: cursor})
		})
		return list.Items, list.Next, err
	})
	if err != nil {
		found("orders can not be listed: %v", err)
	}
	if len(orders) != len(c.orders) {
		found("%d orders are listed, %d were accepted", len(orders), len(c.orders))
	}
	wanted := make(map[string]int) // the number of notices
	wanted["users.registered.v1"]++
	wanted["payments.deposited.v1"] += len(c.deposits)
	mayBeDeclined := 0                  // orders that may have been cancelled in the moment in which their payment was declined
	statuses := make(map[string]string) // the type of the last one, by order
	for _, key := range slices.Sorted(maps.Keys(c.orders)) {
		p := c.orders[key]
		order, err := read(c, "an order", func(ctx context.Context) (client.Order, error) {
			return c.client.GetOrder(ctx, p.id, client.GetOrderParams{})
		})
		switch {
		case err != nil:
			found("order %s (%s) was accepted and can not be read: %v", p.id, key, err)
			continue
		case !order.Status.Ended():
			found("order %s is still %s", p.id, order.Status)
		case len(order.Lines) != len(p.items):
			found("order %s has %d lines, %d were ordered", p.id, len(order.Lines), len(p.items))
		case order.Reason == "deadline": // no fault lasts that long
			found("order %s was %s by its deadline", p.id, order.Status)
		}
		switch order.Status {
		case "confirmed", "refunded":
			spent += order.Total.Amount - order.Refunded.Amount
			for _, item := range p.items {
				sold[item.SKU] += item.Quantity
			}
		}
		switch {
		case order.Reason == "insufficient_funds":
			wanted[declined]++
		case order.Status == "cancelled":
			mayBeDeclined++
		}
		for _, m := range order.Timeline {
			switch m.Type {
			case "confirmed", "cancelled", "rejected":
				wanted["orders."+m.Type+".v1"]++
				statuses[p.id] = cmp.Or(statuses[p.id], "orders."+m.Type+".v1")
			case "refunded":
				wanted["orders.refunded.v1"]++
				wanted["payments.refunded.v1"]++
				statuses[p.id] = "orders.refunded.v1"
			}
		}
	}
	violations = append(violations, c.money(paid-spent)...)
	if c.shop.world.faults.Email {
		violations = append(violations, c.mails(wanted, statuses)...)
	}
	if c.shop.world.faults.Push {
		violations = append(violations, c.pushes(statuses)...)
	}
	return append(violations, c.inbox(wanted, mayBeDeclined)...)
}

func (c *customer) money(want int64) []string {
	wallet, err := read(c, "the wallet", c.client.GetWallet)
	switch {
	case err != nil:
		return []string{fmt.Sprintf("%s: the wallet can not be read: %v", c.name, err)}
	case wallet.Balance.Amount != want || wallet.Held.Amount != 0:
		return []string{fmt.Sprintf("%s: the wallet holds %d with %d held; it should hold %d", c.name, wallet.Balance.Amount, wallet.Held.Amount, want)}
	}
	return nil
}

// declined is the type of the fact that a payment was declined.
const declined = "payments.declined.v1"

// inbox checks that each fact was reported exactly once. A few more payments than wanted may have been declined.
func (c *customer) inbox(want map[string]int, mayBeDeclined int) (violations []string) {
	notices, err := all(func(cursor string) ([]client.Notification, string, error) {
		list, err := read(c, "the inbox", func(ctx context.Context) (client.NotificationList, error) {
			return c.client.ListNotifications(ctx, client.ListNotificationsParams{Limit: 100, Cursor: cursor})
		})
		return list.Items, list.Next, err
	})
	if err != nil {
		return []string{fmt.Sprintf("%s: the inbox can not be read: %v", c.name, err)}
	}
	got := make(map[string]int)
	for _, n := range notices {
		got[n.Type]++
	}
	got[declined] -= min(max(got[declined]-want[declined], 0), mayBeDeclined)
	if got[declined] == 0 {
		delete(got, declined)
	}
	for typ := range want {
		if got[typ] != want[typ] {
			violations = append(violations, fmt.Sprintf("%s: the inbox has %d of %s; it should have %d", c.name, got[typ], typ, want[typ]))
		}
		delete(got, typ)
	}
	for typ, n := range got {
		violations = append(violations, fmt.Sprintf("%s: the inbox has %d of %s that nobody expects", c.name, n, typ))
	}
	slices.Sort(violations)
	return violations
}

// all reads all pages of a list.
func all[T any](page func(cursor string) (some []T, next string, err error)) (items []T, err error) {
	for cursor := ""; ; {
		some, next, err := page(cursor)
		if err != nil {
			return nil, err
		}
		items = append(items, some...)
		if cursor = next; cursor == "" {
			return items, nil
		}
	}
}

// resting reports whether nothing is left to do: every store answers, every order and deposit has ended, no
// subscription is dead and no unit is held. A hold can last longer than its order, until it expires, if a clock was
// wrong and a call came twice while the product was created.
func (w *World) resting() bool {
	for _, r := range w.replicas {
		if r.sidecar.deaf && w.broker.consumer(r.app) { // a program has to notice it
			return false
		}
	}
	for _, store := range w.stores {
		if store.down || store.hung { // work that waits for it would look like work that has ended
			return false
		}
	}
	return len(w.unfinished()) == 0 &&
		w.every("payments", "deposit/", func(_ string, d stored) bool { return d.Status != "pending" }) &&
		(w.hasty || w.every("products", "stock/", func(_ string, d stored) bool { return d.Reserved == 0 }))
}

// endedStatuses are the statuses of orders that have ended.
var endedStatuses = []string{"confirmed", "rejected", "cancelled", "refunded"}

// stored has the parts of documents that resting reads.
type stored struct {
	Status   string `json:"status"`
	Reserved int64  `json:"reserved"`
	Settled  string `json:"settled"` // of a cursor
}

// every reports whether holds is true for each document of an app whose key has a prefix.
func (w *World) every(app, prefix string, holds func(key string, d stored) bool) bool {
	store := w.stores[app]
	for _, key := range store.keys() {
		var d stored
		if strings.HasPrefix(key, prefix) && json.Unmarshal(store.records[key].value, &d) == nil && !holds(key, d) {
			return false
		}
	}
	return true
}

const (
	// digestion is how long after the last change a pulled event is in its inbox at the latest: a bucket, its settling,
	// two pulls and the gathering of an inbox.
	digestion = 2 * time.Minute
	// lateComers is how late a message may come, or come again. gathering is how long an inbox gathers.
	lateComers = time.Minute
	gathering  = 2 * time.Second
)

// digested reports when every event until now has been delivered: when the feeds have been pulled beyond it, but at the
// latest after the time that this may take.
func (w *World) digested() func() bool {
	rested := w.now()
	quiet, latest := rested.Add(lateComers), rested.Add(digestion)
	beyond := rested.Add(feed.DefaultTiming().Bucket + w.faults.Skew)
	pulled := w.eachSecond(func() bool {
		for _, producer := range notifications.Producers() {
			var cursor stored
			record, ok := w.stores["notifications"].records["cursor/"+producer]
			if !ok || json.Unmarshal(record.value, &cursor) != nil {
				return false
			}
			if at, err := feed.ParseCursor(cursor.Settled); err != nil || time.Unix(int64(at.Bucket), 0).Before(beyond) {
				return false
			}
		}
		return true
	})
	return func() bool {
		if w.now().After(quiet) && w.now().Add(gathering).Before(latest) && pulled() {
			latest = w.now().Add(gathering)
		}
		return !w.now().Before(latest)
	}
}

// memory is the age at which the audit no longer treats an event as one that may still arrive.
const memory = 3 * time.Minute
