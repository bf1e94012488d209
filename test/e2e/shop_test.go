package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"caravan/dapr/launcher"
	"caravan/internal/id"
	"caravan/internal/money"
)

// shop is the part of a stack that one test uses: its own products and customers, and the books with which the system
// must agree after the test.
type shop struct {
	t         *testing.T
	stack     *stack
	trail     *trail
	opened    time.Time
	admin     *client
	customers []*customer
	products  []*product
	// spoiled means that the test broke the books on purpose.
	spoiled bool
}

// product is a product of the test.
type product struct {
	productBody
	// stock is the quantity received minus the quantity written off.
	stock int64
}

// customer is a person, with their money and orders as the test expects them.
type customer struct {
	*client
	shop *shop
	id   string

	mu       sync.Mutex
	deposits []int64
	orders   []string
	deleted  []string       // facts whose notification was deleted
	told     map[string]int // other facts that the customer was notified of
}

// currency is the currency of the shop.
const currency = "EUR"

func euros(cents int64) money.Money { return money.New(cents, currency) }

// open opens a shop for a test. When the test ends, all its orders must end and its books must agree.
func open(t *testing.T, s *stack) *shop {
	t.Helper()
	sh := &shop{t: t, stack: s, trail: &trail{}, opened: time.Now()}
	t.Cleanup(sh.explain)
	t.Cleanup(sh.settle)
	sh.admin = newClient(t, s, sh.trail)
	sh.admin.email, sh.admin.password = s.Admin().Email, s.Admin().Password
	return sh
}

// product adds a new product to the catalogue.
func (sh *shop) product(cents, stock int64) *product {
	sh.t.Helper()
	sku := "E2E-" + strings.ToUpper(id.Random{}.New()[24:]) + fmt.Sprintf("-%d", len(sh.products))
	p := &product{stock: stock}
	sh.admin.must(http.StatusCreated, http.MethodPost, "/v1/products", map[string]any{
		"sku": sku, "name": "Lantern of " + sh.t.Name(), "description": "Shines on tests.", "category": "tests",
		"price": euros(cents), "stock": stock,
	}, &p.productBody)
	sh.products = append(sh.products, p)
	return p
}

// customer registers a person with that much money.
func (sh *shop) customer(cents int64) *customer {
	sh.t.Helper()
	return sh.named("Zoë Shopper", cents)
}

// named is customer for a person with a name.
func (sh *shop) named(name string, cents int64) *customer {
	sh.t.Helper()
	c := &customer{client: newClient(sh.t, sh.stack, sh.trail), shop: sh}
	email, password := "shopper-"+id.Random{}.New()+"@shop.example", "correct horse "+id.Random{}.New()
	var user userBody
	c.must(http.StatusCreated, http.MethodPost, "/v1/users", map[string]string{
		"email": email, "password": password, "name": name,
	}, &user)
	c.email, c.password, c.id = email, password, user.ID
	sh.customers = append(sh.customers, c)
	if cents > 0 {
		c.deposit(cents)
	}
	return c
}

// deposit adds money to the wallet.
func (c *customer) deposit(cents int64) {
	c.t.Helper()
	c.booked(id.Random{}.New(), map[string]any{"amount": cents, "currency": currency, "source": "tok_ok"})
	c.deposits = append(c.deposits, cents)
}

// booked makes a deposit, and repeats the request with its key while the deposit is pending, as with a slow bank.
func (c *customer) booked(key string, body map[string]any) {
	c.t.Helper()
	eventually(c.t, "the deposit to be booked", func() error {
		got, err := c.call(http.MethodPost, "/v1/wallet/deposits", body, idempotent(key))
		switch {
		case err != nil:
			return err
		case got.status == http.StatusAccepted:
			return errorf("it is pending: %s", got)
		case got.status != http.StatusCreated:
			c.t.Fatalf("%s; want 201", got)
		}
		return nil
	})
}

func (c *customer) wallet() walletBody {
	c.t.Helper()
	var w walletBody
	c.get("/v1/wallet", &w)
	return w
}

// items returns the body of an order for one product.
func items(p *product, quantity int64) map[string]any {
	return map[string]any{"items": []map[string]any{{"sku": p.SKU, "quantity": quantity}}}
}

// place places an order and records it.
func (c *customer) place(body map[string]any) (acceptedBody, answer) {
	c.t.Helper()
	var accepted acceptedBody
	got := c.must(http.StatusAccepted, http.MethodPost, "/v1/orders", body, &accepted, idempotent(id.Random{}.New()))
	if accepted.Status != "placed" || got.header.Get("Location") != "/v1/orders/"+accepted.ID {
		c.t.Fatalf("%s with location %q", got, got.header.Get("Location"))
	}
	c.remember(accepted.ID)
	return accepted, got
}

func (c *customer) remember(order string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Contains(c.orders, order) {
		c.orders = append(c.orders, order)
	}
}

// await waits until an order has ended, even if the system is unavailable at times.
func (c *client) await(order string) orderBody {
	c.t.Helper()
	return c.until(order, "an end", func(o orderBody) bool { return o.terminal() })
}

// until waits until an order is as wanted.
func (c *client) until(order, what string, wanted func(orderBody) bool) orderBody {
	c.t.Helper()
	var o orderBody
	eventually(c.t, fmt.Sprintf("order %s to come to %s", order, what), func() error {
		got, err := c.call(http.MethodGet, "/v1/orders/"+order+"?wait=1s", nil)
		if err != nil {
			return err
		}
		if got.status != http.StatusOK {
			return errors.New(got.String())
		}
		o = orderBody{}
		got.into(c.t, &o)
		if !wanted(o) {
			return errors.New(got.String())
		}
		return nil
	})
	return o
}

// waits waits until an order waits at a step of the saga.
func (c *client) waits(order, step string) orderBody {
	c.t.Helper()
	return c.until(order, "a wait at "+step, func(o orderBody) bool { return o.Waiting != nil && o.Waiting.Step == step })
}

// buys places an order and waits for its end.
func (c *customer) buys(p *product, quantity int64) orderBody {
	c.t.Helper()
	accepted, _ := c.place(items(p, quantity))
	return c.await(accepted.ID)
}

// expect fails unless the order has this status and reason.
func (o orderBody) expect(t *testing.T, status, reason string) {
	t.Helper()
	if o.Status != status || reason != "" && o.Reason != reason {
		t.Fatalf("order %s is %s (%s) after %v; want %s (%s)", o.ID, o.Status, o.Reason, o.steps(), status, reason)
	}
}

// settle checks the books: it waits for the end of everything that the test began and compares the system with the books. On a
// stack of the test's own it also runs the system's audit; for the common one see auditFaults.
func (sh *shop) settle() {
	if sh.t.Failed() || sh.spoiled {
		return // look at the first failure only
	}
	began := time.Now()
	var ended []orderBody
	for _, c := range sh.customers {
		ended = append(ended, c.settle()...)
	}
	for _, p := range sh.products {
		sh.settleStock(p, ended)
	}
	sh.t.Logf("the books took %s", time.Since(began).Round(time.Millisecond))
	if common.stack == nil || sh.stack.target != common.stack.target {
		sh.audit()
	}
}

// settle checks the orders, the wallet and the inbox of one customer.
func (c *customer) settle() []orderBody {
	c.t.Helper()
	var ended []orderBody
	for _, order := range c.orders {
		ended = append(ended, c.await(order))
	}
	eventually(c.t, "the history to list what was ordered", func() error {
		history, err := tryAll[orderBody](c.client, "/v1/orders")
		if err != nil {
			return err
		}
		var listed []string
		for _, o := range history {
			listed = append(listed, o.ID)
		}
		slices.Sort(listed)
		if placed := slices.Sorted(slices.Values(c.orders)); !slices.Equal(listed, placed) {
			c.t.Fatalf("the history lists %v; placed were %v", listed, placed)
		}
		return nil
	})
	var balance int64
	for _, cents := range c.deposits {
		balance += cents
	}
	for _, o := range ended {
		if o.fulfilled() {
			balance += o.Refunded.Amount - o.Total.Amount
		}
	}
	eventually(c.t, "the wallet to add up", func() error {
		var w walletBody
		if err := c.try("/v1/wallet", &w); err != nil {
			return err
		}
		if w.Balance.Amount != balance || w.Held.Amount != 0 || w.Available.Amount != balance {
			return fmt.Errorf("it is %+v; deposits and orders make %d", w, balance)
		}
		return nil
	})
	c.settleInbox(ended)
	return ended
}

// settleInbox checks that every notice has reached the inbox, once.
func (c *customer) settleInbox(ended []orderBody) {
	c.t.Helper()
	declined := "payments.declined.v1 " + c.id
	want := map[string]int{"users.registered.v1 " + c.id: 1}
	if n := len(c.deposits); n > 0 {
		want["payments.deposited.v1 "+c.id] = n
	}
	for _, o := range ended {
		for _, step := range o.steps() {
			switch step {
			case "confirmed", "rejected", "cancelled", "refunded":
				want["orders."+step+".v1 "+o.ID]++
			}
			if step == "refunded" {
				want["payments.refunded.v1 "+c.id]++
			}
		}
		if o.Reason == "insufficient_funds" {
			want[declined]++
		}
	}
	for fact, n := range c.told {
		want[fact] += n
	}
	eventually(c.t, "every fact to reach the inbox of "+c.id, func() error {
		notices, err := tryAll[noticeBody](c.client, "/v1/notifications")
		if err != nil {
			return err
		}
		got := make(map[string]int)
		for _, n := range notices {
			got[n.Type+" "+n.Subject]++
		}
		for _, fact := range c.deleted {
			got[fact]++
		}
		for _, o := range ended { // one may have been cancelled in the moment in which its payment was declined
			if o.Status == "cancelled" && got[declined] > want[declined] {
				got[declined]--
			}
		}
		var wrong []string
		for fact, n := range want {
			if got[fact] > n {
				c.t.Fatalf("the inbox tells %d times of %s, which happened %d times", got[fact], fact, n)
			}
			if got[fact] < n {
				wrong = append(wrong, fmt.Sprintf("%s: %d of %d", fact, got[fact], n))
			}
		}
		for fact, n := range got {
			if want[fact] == 0 && !strings.HasPrefix(fact, "products.stock_low.v1 ") { // which goes to all staff
				c.t.Fatalf("the inbox tells %d times of %s, which nobody expected", n, fact)
			}
		}
		if len(wrong) > 0 {
			return errors.New("missing are " + strings.Join(wrong, ", "))
		}
		return nil
	})
}

// settleStock checks that the stock on hand is what was received minus what was sold.
func (sh *shop) settleStock(p *product, ended []orderBody) {
	sh.t.Helper()
	left := p.stock
	for _, o := range ended {
		for _, line := range o.Lines {
			if o.fulfilled() && line.SKU == p.SKU {
				left -= line.Quantity
			}
		}
	}
	if left < 0 {
		sh.t.Errorf("%d more of %s were sold than there were", -left, p.SKU)
	}
	eventually(sh.t, "the stock of "+p.SKU+" to add up", func() error {
		var now productBody
		if err := sh.admin.try("/v1/products/"+p.SKU, &now); err != nil {
			return err
		}
		if now.OnHand != left || now.Reserved != 0 || now.Available != left {
			return fmt.Errorf("on hand %d, reserved %d, available %d; receipts and orders make %d", now.OnHand, now.Reserved, now.Available, left)
		}
		return nil
	})
}

// explain prints, for a failed test, the programs' log lines about the most likely requests.
func (sh *shop) explain() {
	suspects := sh.trail.suspects()
	if !sh.t.Failed() || len(suspects) == 0 {
		return
	}
	const most = 120
	lines := sh.stack.mention(sh.t, suspects...)
	if len(lines) > most {
		lines = lines[len(lines)-most:]
	}
	var text strings.Builder
	for _, line := range lines {
		text.WriteString(launcher.Format(line, "", false) + "\n")
	}
	fmt.Fprintf(os.Stderr, "--- logs of the last requests of %s\n%s", sh.t.Name(), text.String())
}
