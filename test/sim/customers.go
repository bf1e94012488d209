package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"caravan/dapr/client"
	"caravan/internal/correlation"
	"caravan/internal/money"
	notifications "caravan/services/notifications/domain"
)

const (
	adminEmail = "admin@caravan.example"
	// unsubscribeKey signs the links in e-mails.
	unsubscribeKey = "a key that is only for the simulation"
	password       = "correct horse battery staple"
	currency       = "EUR"
)

// maxDevices is how many devices a customer has at most.
const maxDevices = 2

// Size says how much happens in a run.
type Size struct {
	Products, Customers int
	Orders              int  // of each customer
	Changes             int  // of prices and stock, by staff
	Wishes              bool // customers switch e-mails off and on
	Totals              int  // each order of this number names its total: 2 for every second one, 0 for none
	// Pause is how long a customer waits between two orders on average. At 0 they wait only for answers. The first half
	// of the orders comes within seconds in any case.
	Pause time.Duration
	// Stock is how many units of each product there are at first. At 0 some products have few.
	Stock int64
}

// Usual is the size of a run for a seed.
func Usual(rng *rand.Rand) Size {
	return Size{Products: 1 + rng.IntN(3), Customers: 1 + rng.IntN(4), Orders: 1 + rng.IntN(3), Changes: rng.IntN(4), Totals: 2, Wishes: true}
}

// shop has the people of a run and what the system promised them.
type shop struct {
	world *World
	size  Size
	http  *http.Client

	mu        sync.Mutex
	done      int
	customers []*customer
	corrected map[string]int64 // by SKU: units added by staff
	failures  []string
	report    client.Audit
	threads   map[string]*notifications.Thread // at the end
	audits    int                              // audits that ended while customers were in the shop
}

// customer is one of the people, with the answers they got.
type customer struct {
	name     string
	shop     *shop
	rng      *rand.Rand
	client   *client.Client
	calls    int
	deposits map[string]int64 // accepted, by key
	orders   map[string]*promise
	devices  []*device // those that get push messages
	off      []string  // kinds of which they get no e-mails
}

// promise is an order that was accepted.
type promise struct {
	key, id string
	items   []client.NewOrderItem
}

func newShop(w *World, size Size) *shop {
	return &shop{world: w, size: size, http: &http.Client{Transport: edge{w}}, corrected: make(map[string]int64)}
}

// open starts all customers and staff.
func (s *shop) open() {
	go s.staff()
	for n := range s.size.Customers {
		name := fmt.Sprintf("c%d", n)
		c := &customer{
			name: name, shop: s, rng: rand.New(rand.NewPCG(s.world.seed, uint64(n)+100)),
			deposits: make(map[string]int64), orders: make(map[string]*promise),
		}
		for d := range maxDevices {
			if s.world.faults.Push && d <= n%maxDevices {
				c.devices = append(c.devices, s.world.device(fmt.Sprintf("%s-d%d", name, d)))
			}
		}
		s.customers = append(s.customers, c)
		go c.visit()
	}
}

func (s *shop) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done++
}

// empty reports whether all of them have finished.
func (s *shop) empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done == s.size.Customers+1
}

func (s *shop) fail(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = append(s.failures, fmt.Sprintf(format, args...))
}

// persistence is how long a person tries before the run reports a failure.
const persistence = 30 * time.Minute

// insist repeats an attempt until it succeeds or its refusal is final.
func (c *customer) insist(what string, attempt func(ctx context.Context) (final bool, err error)) error {
	deadline := time.Now().Add(persistence)
	for pause := 200 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		c.calls++
		ctx, cancel := context.WithTimeout(correlation.With(context.Background(), fmt.Sprintf("%s.%d", c.name, c.calls)), 12*time.Second)
		final, err := attempt(ctx)
		cancel()
		if err == nil || final {
			return err
		}
		if time.Now().After(deadline) {
			c.shop.fail("%s never succeeded in %s: %v", c.name, what, err)
			return err
		}
		time.Sleep(pause/2 + time.Duration(c.rng.Float64()*float64(pause/2)))
	}
}

// refused reports whether the answer is a decision and not a failure of the call.
func refused(err error) bool {
	status := client.Status(err)
	return status >= 400 && status < 500 && status != http.StatusUnauthorized && status != http.StatusTooManyRequests && status != http.StatusRequestTimeout
}

// enter registers, unless this name is registered already, and logs in.
func (c *customer) enter(email string, known bool) bool {
	public := client.New("http://shop", c.shop.http)
	if !known {
		err := c.insist("registering", func(ctx context.Context) (bool, error) {
			_, err := public.RegisterUser(ctx, client.Registration{Email: email, Password: password, Name: "Customer " + c.name})
			return refused(err), err
		})
		if err != nil && client.Status(err) != http.StatusConflict { // an earlier attempt registered it, and its answer was lost
			c.shop.fail("%s could not register: %v", c.name, err)
			return false
		}
	}
	err := c.insist("logging in", func(ctx context.Context) (bool, error) {
		var err error
		c.client, err = public.Login(ctx, email, password)
		return false, err // the account may appear later
	})
	return err == nil
}

func (c *customer) visit() {
	defer c.shop.leave()
	if !c.enter(c.name+"@caravan.example", false) {
		return
	}
	c.subscribe()
	c.decline()
	for n := range 1 + c.rng.IntN(2) {
		c.deposit(fmt.Sprintf("deposit-%d", n), int64(1000+c.rng.IntN(4000)))
	}
	for n := range c.shop.size.Orders {
		c.order(fmt.Sprintf("order-%d", n))
		c.wish(n%2 == 0)
		c.pause(n)
	}
}

// decline lets every customer but the first switch e-mails off, before the first event about which there would be one.
func (c *customer) decline() {
	if size := c.shop.size; size.Wishes && c.shop.world.faults.Email && c.name != "c0" {
		c.off = []string{"deposit-received", "order-refunded"}
		c.wish(true)
	}
}

// wish stores what a customer wants who has switched e-mails off. They have those about accepted orders sometimes, which the last mail
// of an order does not depend on.
func (c *customer) wish(placed bool) {
	if c.off == nil {
		return
	}
	wishes := client.NotificationPreferences{Locale: client.En, TimeZone: "UTC"}
	for _, kind := range c.off {
		wishes.Rules = append(wishes.Rules, client.NotificationRule{Kind: kind, Channel: client.NotificationRuleChannelEmail})
	}
	wishes.Rules = append(wishes.Rules, client.NotificationRule{Kind: "order-placed", Channel: client.NotificationRuleChannelEmail, Enabled: placed})
	err := c.insist("setting preferences", func(ctx context.Context) (bool, error) {
		_, err := c.client.SetNotificationPreferences(ctx, wishes)
		return refused(err), err
	})
	if err != nil {
		c.shop.fail("%s could not set preferences: %v", c.name, err)
	}
}

// pause waits between order n (from 0) and the next.
func (c *customer) pause(n int) {
	mean := c.shop.size.Pause
	if mean == 0 {
		return
	}
	if n < c.shop.size.Orders/2 {
		mean = min(mean, time.Second/4)
	}
	time.Sleep(time.Duration(2 * c.rng.Float64() * float64(mean)))
}

// deposit repeats the same key until there is an answer.
func (c *customer) deposit(key string, amount int64) {
	source := [...]string{"tok_ok", "tok_ok", "tok_ok", "tok_timeout"}[c.rng.IntN(4)]
	err := c.insist("depositing", func(ctx context.Context) (bool, error) {
		_, err := c.client.Deposit(ctx, key, client.NewDeposit{Amount: amount, Currency: currency, Source: source})
		return refused(err), err
	})
	if err != nil {
		c.shop.fail("%s's deposit %s was refused: %v", c.name, key, err)
		return
	}
	c.deposits[key] = amount
}

// order places an order. Sometimes it cancels the order at once, or has it refunded.
func (c *customer) order(key string) {
	params, placement := client.PlaceOrderParams{}, client.NewOrder{}
	if len(c.orders)%4 == 3 {
		params.Wait = "5s"
	}
	total := money.New(0, currency)
	for n := range c.shop.size.Products {
		if n == 0 || c.rng.IntN(2) == 0 {
			quantity := 1 + c.rng.Int64N(3)
			placement.Items = append(placement.Items, client.NewOrderItem{SKU: sku(n), Quantity: quantity})
			total.Amount += quantity * initialPrice(n)
		}
	}
	if every := c.shop.size.Totals; every > 0 && len(c.orders)%every == every-1 {
		placement.ExpectedTotal = total
	}
	p := &promise{key: key, items: placement.Items}
	err := c.insist("ordering", func(ctx context.Context) (bool, error) {
		accepted, err := c.client.PlaceOrder(ctx, key, params, placement)
		p.id = accepted.ID
		return refused(err), err
	})
	if err != nil {
		c.shop.fail("%s's order %s was refused: %v", c.name, key, err)
		return
	}
	c.orders[key] = p
	if c.rng.IntN(5) == 0 {
		_ = c.insist("cancelling", func(ctx context.Context) (bool, error) { // a conflict is an answer: it may be too late
			_, err := c.client.CancelOrder(ctx, p.id)
			return refused(err), err
		})
	}
	if c.rng.IntN(3) > 0 {
		c.await(p)
	}
}

// await polls until the order has ended.
func (c *customer) await(p *promise) {
	_ = c.insist("waiting for order "+p.key, func(ctx context.Context) (bool, error) {
		order, err := c.client.WaitForOrder(ctx, p.id, 5*time.Second)
		if err == nil && !order.Status.Ended() {
			err = fmt.Errorf("order %s is %s", p.id, order.Status)
		}
		return refused(err), err
	})
}

func sku(n int) string { return fmt.Sprintf("SIM-%d", n) }

// initialPrice is the price of each product until staff change it.
func initialPrice(n int) int64 { return int64(100 * (n + 1)) }

// initialStock is the stock of each product at the beginning.
func (s Size) initialStock(n int) int64 {
	if s.Stock > 0 {
		return s.Stock
	}
	return [...]int64{4, 20, 100}[n%3]
}

// staff create the products, and then change prices and stock and refund money.
func (s *shop) staff() {
	defer s.leave()
	c := &customer{name: "staff", shop: s, rng: rand.New(rand.NewPCG(s.world.seed, 99))}
	if !c.enter(adminEmail, true) {
		return
	}
	for n := range s.size.Products {
		stock := s.size.initialStock(n)
		err := c.insist("creating a product", func(ctx context.Context) (bool, error) {
			_, err := c.client.CreateProduct(ctx, client.NewProduct{SKU: sku(n), Name: "Product " + sku(n), Category: "sim", Price: money.New(initialPrice(n), currency), Stock: stock})
			return refused(err), err
		})
		if err != nil && client.Status(err) != http.StatusConflict { // an earlier attempt created it, and its answer was lost
			s.fail("product %s was refused: %v", sku(n), err)
		}
	}
	for range s.size.Changes {
		time.Sleep(time.Duration(c.rng.Float64() * float64(3*time.Second)))
		switch c.rng.IntN(3) {
		case 0:
			c.reprice(sku(c.rng.IntN(s.size.Products)))
		case 1:
			c.restock(sku(c.rng.IntN(s.size.Products)))
		case 2:
			c.refundSomething()
		}
	}
}

func (c *customer) reprice(sku string) {
	price := money.Money{Amount: 50 + c.rng.Int64N(400), Currency: currency}
	_ = c.insist("changing a price", func(ctx context.Context) (bool, error) {
		_, err := c.client.UpdateProduct(ctx, sku, client.ProductChange{Price: &price})
		return refused(err), err
	})
}

// restock adds units once, although it may ask several times.
func (c *customer) restock(sku string) {
	change, key := 1+c.rng.Int64N(5), fmt.Sprintf("delivery-%d", c.calls)
	err := c.insist("restocking", func(ctx context.Context) (bool, error) {
		_, err := c.client.AdjustStock(ctx, sku, key, client.StockChange{Change: change, Reason: "delivery"})
		return refused(err), err
	})
	if err != nil {
		c.shop.fail("a delivery was refused: %v", err)
		return
	}
	c.shop.mu.Lock()
	defer c.shop.mu.Unlock()
	c.shop.corrected[sku] += change
}

// refundSomething refunds a part or all of a confirmed order.
func (c *customer) refundSomething() {
	var orders []client.OrderSummary
	_ = c.insist("listing orders", func(ctx context.Context) (bool, error) {
		list, err := c.client.OpsListOrders(ctx, client.OpsListOrdersParams{Status: client.OrderStatusConfirmed})
		orders = list.Items
		return refused(err), err
	})
	if len(orders) == 0 {
		return
	}
	slices.SortFunc(orders, func(a, b client.OrderSummary) int { return strings.Compare(a.ID, b.ID) })
	order := orders[c.rng.IntN(len(orders))]
	var amount money.Money // no amount means all that is left
	if order.Total.Amount > 0 && c.rng.IntN(2) == 0 {
		amount = money.Money{Amount: 1 + order.Total.Amount/3, Currency: currency}
	}
	key := strings.ReplaceAll(order.ID, "-", "")
	_ = c.insist("refunding", func(ctx context.Context) (bool, error) { // refused: nothing is left to refund
		_, err := c.client.RefundOrder(ctx, order.ID, key, client.Refund{Amount: amount, Reason: "simulated complaint"})
		return refused(err), err
	})
}
