package harness

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"caravan/dapr/client"
	"caravan/internal/id"
)

// load is what clients do in a shop during the faults. Requests arrive at a rate, whether or not earlier ones were
// answered.
type load struct {
	shop   *shop
	seed   uint64
	orders int     // how many orders to place; the load ends with the last
	rate   float64 // orders a second
	mix    []share // what else clients do
	// giveUp is how long a client repeats a request. A repeatable request is continued when the faults are over.
	giveUp time.Duration
	done   <-chan struct{} // ends the load when closed; nil: never

	placed  atomic.Int64
	skipped atomic.Int64 // arrivals without a free client
}

// share is one kind of operation and its share of all.
type share struct {
	kind   string
	weight int
}

// shopping is a usual day: most customers look, some buy, a few change their mind.
var shopping = []share{
	{"order", 100}, {"browse", 60}, {"product", 60}, {"status", 25}, {"history", 12}, {"wallet", 12}, {"inbox", 6},
	{"cancel", 8}, {"refund", 8}, {"deposit", 8}, {"restock", 4},
}

// ordersOnly is a load with orders only.
var ordersOnly = []share{{"order", 1}}

// backlog is how many arrivals may wait for a free client.
const backlog = 256

// clientsPerCustomer is how many requests of one customer may run at once.
const clientsPerCustomer = 4

// run makes the load until its orders are placed or the context ends. It waits for requests in progress.
func (l *load) run(ctx context.Context) {
	arrivals := make(chan struct{}, backlog)
	var clients sync.WaitGroup
	for n := range l.shop.customers {
		for m := range clientsPerCustomer {
			random := rand.New(rand.NewPCG(l.seed, uint64(n*clientsPerCustomer+m+1)))
			clients.Go(func() {
				for range arrivals {
					l.act(ctx, l.shop.customers[n], random)
				}
			})
		}
	}
	l.arrive(ctx, arrivals)
	close(arrivals)
	clients.Wait()
}

// arrive makes arrivals at the rate until the orders are placed.
func (l *load) arrive(ctx context.Context, arrivals chan<- struct{}) {
	sum, ordering := 0, 0
	for _, s := range l.mix {
		sum += s.weight
		if s.kind == "order" || s.kind == "cancel" {
			ordering += s.weight
		}
	}
	every := time.Duration(float64(time.Second) / l.rate * float64(ordering) / float64(sum))
	next := time.Now()
	for l.placed.Load() < int64(l.orders) {
		next = next.Add(every)
		if !pause(ctx, time.Until(next)) {
			return
		}
		select {
		case <-l.done:
			return
		case arrivals <- struct{}{}:
		default:
			l.skipped.Add(1)
		}
	}
}

func (l *load) kind(random *rand.Rand) string {
	sum := 0
	for _, s := range l.mix {
		sum += s.weight
	}
	at := random.IntN(sum)
	for _, s := range l.mix {
		if at -= s.weight; at < 0 {
			return s.kind
		}
	}
	return l.mix[0].kind
}

// act does one thing as a customer.
func (l *load) act(ctx context.Context, c *customer, random *rand.Rand) {
	if ctx.Err() != nil {
		return
	}
	kind := l.kind(random)
	switch kind {
	case "order", "cancel":
		if l.placed.Add(1) > int64(l.orders) {
			return
		}
		l.order(ctx, c, random, kind == "cancel")
	case "deposit":
		_ = l.shop.deposit(ctx, c, 100+random.Int64N(10_000), l.giveUp)
	case "refund":
		l.refund(ctx, c, random)
	case "restock":
		l.restock(ctx, random)
	default:
		l.look(ctx, c, random, kind)
	}
}

func (l *load) basket(random *rand.Rand) orderRequest {
	shares := tastes(len(l.shop.products))
	basket := orderRequest{}
	for range 1 + random.IntN(3) {
		basket[l.shop.products[choose(random, shares)].sku] = 1 + random.Int64N(3)
	}
	return basket
}

// order places an order. Some clients send it twice at once and some repeat it later, all with the same key.
func (l *load) order(ctx context.Context, c *customer, random *rand.Rand, cancel bool) {
	op := l.shop.log.begin("order", c.number, id.Random{}.New(), l.basket(random))
	request := l.shop.requestOf(op)
	var twin sync.WaitGroup
	if random.IntN(10) == 0 {
		twin.Go(func() { _ = once(ctx, request) })
	}
	err := op.persist(ctx, l.giveUp, request)
	twin.Wait()
	if err == nil && random.IntN(20) == 0 {
		_ = once(ctx, request)
	}
	answers := op.answers()
	if cancel && len(answers) > 0 {
		l.cancel(ctx, c, answers[0])
	}
}

func (l *load) cancel(ctx context.Context, c *customer, order string) {
	op := l.shop.log.begin("cancel", c.number, "", order)
	_ = op.persist(ctx, l.giveUp, func(ctx context.Context) error {
		_, err := c.CancelOrder(ctx, order)
		return err
	})
}

// known is a random acknowledged order of a customer, or "".
func (l *load) known(c *customer, random *rand.Rand) string {
	for range 50 {
		op := l.shop.log.some(random)
		if op == nil {
			return ""
		}
		if answers := op.answers(); op.Kind == "order" && op.User == c.number && len(answers) > 0 {
			return answers[0]
		}
	}
	return ""
}

func (l *load) refund(ctx context.Context, c *customer, random *rand.Rand) {
	order := l.known(c, random)
	if order == "" {
		return
	}
	op := l.shop.log.begin("refund", c.number, id.Random{}.New(), refundRequest{order, 1 + random.Int64N(150)})
	_ = op.persist(ctx, l.giveUp, l.shop.requestOf(op))
}

func (l *load) restock(ctx context.Context, random *rand.Rand) {
	products := l.shop.products
	at := products[1+random.IntN(min(3, len(products)-1))] // the products that sell out
	op := l.shop.log.begin("restock", 0, id.Random{}.New(), restockRequest{at.sku, 1 + random.Int64N(5)})
	_ = op.persist(ctx, l.giveUp, l.shop.requestOf(op))
}

// look reads something. Clients do not repeat that for long.
func (l *load) look(ctx context.Context, c *customer, random *rand.Rand, kind string) {
	op := l.shop.log.begin(kind, c.number, "", nil)
	order := ""
	if kind == "status" {
		if order = l.known(c, random); order == "" {
			kind = "history"
		}
	}
	product := l.shop.products[random.IntN(len(l.shop.products))].sku
	const limit = 5 * time.Second
	_ = op.persist(ctx, limit, func(ctx context.Context) (err error) {
		switch kind {
		case "browse":
			_, err = c.ListProducts(ctx, client.ListProductsParams{Category: "chaos", Limit: 20})
		case "product":
			_, err = c.GetProduct(ctx, product)
		case "status":
			_, err = c.GetOrder(ctx, order, client.GetOrderParams{})
		case "history":
			_, err = c.ListOrders(ctx, client.ListOrdersParams{Limit: 20})
		case "wallet":
			_, err = c.GetWallet(ctx)
		case "inbox":
			_, err = c.ListNotifications(ctx, client.ListNotificationsParams{Limit: 20})
		}
		return err
	})
}
