package shop

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"caravan/dapr/client"
	"caravan/internal/correlation"
	"caravan/internal/money"
)

// buyers is how many customers of the traffic check out at the same time.
const buyers = 4

// traffic is what clients do while a test breaks something: customers place orders one after another and wait for
// their end, and each service is read all the time. No call is repeated that would hide a failure.
type traffic struct {
	staff     *client.Client
	customers []*client.Client
	sku       string
	stop      context.CancelFunc
	clients   sync.WaitGroup

	mu     sync.Mutex
	calls  []call
	orders map[string]placed // by id
}

// placed is an order that was accepted.
type placed struct {
	customer *client.Client
	cause    string // the correlation id of the request
	at       time.Time
}

// call is one call of a client.
type call struct {
	what   string // "checkout" or the service that was read
	from   time.Time
	took   time.Duration
	failed string // why; "" for a success
}

// open makes a product, customers and staff of the traffic's own.
func open(t *testing.T, base, password string) *traffic {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	// One connection for each client, as theirs would be.
	anonymous := client.New(base, &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}})
	r := &traffic{sku: "K8S-" + strings.ToUpper(rand.Text()[:8]), orders: map[string]placed{}}
	eventually(t, "the administrator to log in", func() (err error) {
		r.staff, err = anonymous.Login(ctx, admin, password)
		return err
	})
	eventually(t, "a product", func() error {
		_, err := r.staff.CreateProduct(ctx, client.NewProduct{SKU: r.sku, Name: "Sail", Category: "ships", Price: money.New(100, "EUR"), Stock: 1_000_000})
		if client.Status(err) == http.StatusConflict {
			return nil // made by an attempt before
		}
		return err
	})
	for range buyers {
		email, secret := strings.ToLower(rand.Text())+"@caravan.example", rand.Text()
		var customer *client.Client
		eventually(t, "a customer", func() (err error) {
			if _, err = anonymous.RegisterUser(ctx, client.Registration{Email: email, Password: secret, Name: "Buyer"}); err != nil && client.Status(err) != http.StatusConflict {
				return err
			}
			customer, err = anonymous.Login(ctx, email, secret)
			return err
		})
		key := rand.Text()
		eventually(t, "a deposit", func() error {
			_, err := customer.TopUp(ctx, key, money.New(1_000_000, "EUR"))
			return err
		})
		r.customers = append(r.customers, customer)
	}
	return r
}

// start lets the clients come.
func (r *traffic) start(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = func() { cancel(); r.clients.Wait() }
	t.Cleanup(r.stop)
	for _, customer := range r.customers {
		r.clients.Go(func() {
			for ctx.Err() == nil {
				began := time.Now()
				r.note(ctx, "checkout", began, r.checkOut(ctx, customer))
				pause(ctx, 250*time.Millisecond)
			}
		})
	}
	reader := r.customers[0]
	for what, read := range map[string]func() error{
		"users":    func() error { _, err := reader.GetOwnUser(ctx); return err },
		"products": func() error { _, err := reader.GetProduct(ctx, r.sku); return err },
		"orders":   func() error { _, err := reader.ListOrders(ctx, client.ListOrdersParams{Limit: 1}); return err },
		"payments": func() error { _, err := reader.GetWallet(ctx); return err },
		"notifications": func() error {
			_, err := reader.ListNotifications(ctx, client.ListNotificationsParams{Limit: 1})
			return err
		},
	} {
		r.clients.Go(func() {
			ticker := time.NewTicker(100 * time.Millisecond)
			defer ticker.Stop()
			for ctx.Err() == nil {
				began := time.Now()
				r.note(ctx, what, began, read())
				select {
				case <-ticker.C:
				case <-ctx.Done():
				}
			}
		})
	}
}

// checkOut places an order, once, and waits for its end. Reading it again is no failure of the checkout.
func (r *traffic) checkOut(ctx context.Context, customer *client.Client) error {
	var header http.Header
	accepted, err := customer.PlaceOrder(client.WithHeader(ctx, &header), rand.Text(), client.PlaceOrderParams{}, client.NewOrder{Items: []client.NewOrderItem{{SKU: r.sku, Quantity: 1}}})
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.orders[accepted.ID] = placed{customer, header.Get(correlation.Header), time.Now()}
	r.mu.Unlock()
	for end := time.Now().Add(time.Minute); ; {
		order, err := customer.WaitForOrder(ctx, accepted.ID, 5*time.Second)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil && order.Status == "confirmed":
			return nil
		case err == nil && order.Status.Ended():
			return fmt.Errorf("order %s is %s: %s", order.ID, order.Status, order.Reason)
		case time.Now().After(end):
			return errors.Join(fmt.Errorf("order %s has no end after a minute", accepted.ID), err)
		case err != nil:
			pause(ctx, 200*time.Millisecond)
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// note records a call, unless the traffic was stopped meanwhile.
func (r *traffic) note(ctx context.Context, what string, from time.Time, err error) {
	if ctx.Err() != nil {
		return
	}
	c := call{what: what, from: from, took: time.Since(from)}
	if err != nil {
		c.failed = strings.TrimSpace(fmt.Sprintf("%d %s", client.Status(err), cmp.Or(client.Slug(err), err.Error())))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, c)
}

// during lets something happen under the traffic, and the traffic go on for a while after it, and returns what clients
// noticed.
func (r *traffic) during(t *testing.T, what string, happen func()) outcome {
	t.Helper()
	began := time.Now()
	happen()
	took := time.Since(began)
	time.Sleep(2 * time.Second) // part of the measurement: a fault may show only after it
	o := r.between(began, time.Now())
	t.Logf("%-40s %6s  %s", what, seconds(took), o)
	return o
}

// outcome is what clients noticed of something, by what they called.
type outcome map[string]*noticed

// noticed counts calls of one kind.
type noticed struct {
	calls, failed int
	closed        []time.Duration // how long calls failed one after another
	slowest       time.Duration
	reasons       map[string]int
}

// between are the calls that began in a time.
func (r *traffic) between(from, to time.Time) outcome {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := outcome{}
	byTime := slices.SortedFunc(slices.Values(r.calls), func(a, b call) int { return a.from.Compare(b.from) })
	first, last := map[string]time.Time{}, map[string]time.Time{}
	for _, c := range byTime {
		if c.from.Before(from) || c.from.After(to) {
			continue
		}
		if o[c.what] == nil {
			o[c.what] = &noticed{reasons: map[string]int{}}
		}
		w := o[c.what]
		w.calls, w.slowest = w.calls+1, max(w.slowest, c.took)
		if c.failed == "" {
			continue
		}
		w.failed++
		w.reasons[c.failed]++
		// A failure within a second of another belongs to the same time.
		if w.failed == 1 || c.from.Sub(last[c.what]) > time.Second {
			first[c.what], w.closed = c.from, append(w.closed, 0)
		}
		last[c.what] = c.from.Add(c.took)
		w.closed[len(w.closed)-1] = last[c.what].Sub(first[c.what])
	}
	return o
}

// failures counts the failed calls of a kind.
func (o outcome) failures(what string) int {
	if o[what] == nil {
		return 0
	}
	return o[what].failed
}

// String is one line of a report.
func (o outcome) String() string {
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(o)) {
		w := o[what]
		if what != "checkout" && w.failed == 0 {
			continue
		}
		part := fmt.Sprintf("%s %d/%d failed", what, w.failed, w.calls)
		for _, d := range w.closed {
			part += ", for " + seconds(d)
		}
		if what == "checkout" {
			part += ", slowest " + seconds(w.slowest)
		}
		for _, reason := range slices.Sorted(maps.Keys(w.reasons)) {
			part += fmt.Sprintf(" [%d x %s]", w.reasons[reason], reason)
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "; ")
}

// settle ends the traffic and waits until every order has an end, and the audit finds nothing.
func (r *traffic) settle(t *testing.T) {
	t.Helper()
	r.stop()
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	ends := map[string]int{}
	for id, of := range r.orders {
		eventually(t, "the end of order "+id, func() error {
			order, err := of.customer.WaitForOrder(ctx, id, 5*time.Second)
			if err == nil && !order.Status.Ended() {
				err = fmt.Errorf("it is %s", order.Status)
			}
			if err == nil {
				ends[string(order.Status)]++
			}
			return err
		})
	}
	eventually(t, "a clean audit", func() error {
		report, err := r.staff.OpsAudit(ctx)
		if err != nil {
			return err
		}
		if !report.Complete || len(report.Findings) > 0 {
			return fmt.Errorf("complete %v, findings %v", report.Complete, report.Findings)
		}
		return nil
	})
	t.Logf("%d orders were accepted; their ends: %v; the audit finds nothing", len(r.orders), ends)
	if ends["confirmed"] != len(r.orders) {
		t.Errorf("%d of %d orders are confirmed: %v", ends["confirmed"], len(r.orders), ends)
	}
}
