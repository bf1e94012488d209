package harness

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"caravan/dapr/client"
	"caravan/internal/id"
	"caravan/internal/money"
)

// currency is the currency of the shop.
const currency = "EUR"

// shop is what one run uses of a stack: its own products, customers and staff, and the log of all operations.
type shop struct {
	staff     *client.Client
	customers []*customer
	products  []*product
	log       opLog
	name      string // a part of every SKU and address, so that runs do not collide
	balancer  *balancer
	base      string // of the API; the balancer replaces its host by a gateway
}

// customer is a person with a wallet.
type customer struct {
	*client.Client
	number int
	id     string
}

// product is a product of the run.
type product struct {
	sku   string
	price int64
	stock int64 // to begin with
}

// balancer sends requests to the gateways in turn, as a load balancer does. If it cannot connect to a gateway, it uses
// another one.
type balancer struct {
	transport *http.Transport
	gateways  []*url.URL
	next      atomic.Uint64
	passed    atomic.Int64 // requests that went to another gateway
}

// maxClients limits the connections of a load.
const maxClients = 1024

func newBalancer(gateways []*url.URL) *balancer {
	b := &balancer{transport: http.DefaultTransport.(*http.Transport).Clone(), gateways: gateways}
	b.transport.MaxIdleConns, b.transport.MaxIdleConnsPerHost = maxClients, maxClients
	return b
}

// RoundTrip implements http.RoundTripper.
func (b *balancer) RoundTrip(r *http.Request) (*http.Response, error) {
	first := b.next.Add(1)
	for i := range b.gateways {
		out := r.Clone(r.Context())
		gateway := b.gateways[(first+uint64(i))%uint64(len(b.gateways))]
		out.URL.Scheme, out.URL.Host = gateway.Scheme, gateway.Host
		out.Host = out.URL.Host
		if i > 0 && r.Body != nil && r.Body != http.NoBody {
			body, err := r.GetBody()
			if err != nil {
				return nil, fmt.Errorf("sending the request again: %w", err)
			}
			out.Body = body
		}
		response, err := b.transport.RoundTrip(out)
		var dial *net.OpError
		if err != nil && errors.As(err, &dial) && dial.Op == "dial" && i+1 < len(b.gateways) {
			b.passed.Add(1)
			continue // nothing was sent
		}
		return response, err
	}
	return nil, errors.New("there is no gateway")
}

// shopSize is the size of a shop.
type shopSize struct {
	customers, products int
	scarce              int // how many products have little stock; some customers have little money then
	cents               int64
}

// The stock of products that must not sell out, and of those that must.
const (
	plenty = 1_000_000
	few    = 30
)

// One in this many customers has little money, so that payments are refused.
const (
	poorEvery = 8
	poor      = 50_00
)

// openShop creates a run's products and customers. It waits for services that are not ready yet.
func openShop(ctx context.Context, site Site, size shopSize) (*shop, error) {
	s := &shop{name: strings.ToUpper(strings.ReplaceAll(id.Random{}.New(), "-", "")[20:]), balancer: newBalancer(site.Gateways)}
	s.base = "http://caravan" + site.Gateways[0].Path
	anonymous := client.New(s.base, &http.Client{Transport: s.balancer, Timeout: attemptTimeout + time.Second})
	err := withRetries(ctx, func(ctx context.Context) (err error) {
		s.staff, err = anonymous.Login(ctx, site.Staff.Email, site.Staff.Password)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("logging in as staff: %w", err)
	}
	if err := s.stockUp(ctx, size); err != nil {
		return nil, err
	}
	return s, s.enrol(ctx, anonymous, size)
}

// withRetries repeats a repeatable call for a minute, until it succeeds.
func withRetries(ctx context.Context, do func(ctx context.Context) error) error {
	return (&Op{}).persist(ctx, time.Minute, do)
}

func (s *shop) stockUp(ctx context.Context, size shopSize) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for n := range size.products {
		p := &product{sku: fmt.Sprintf("C-%s-%03d", s.name, n), price: int64(100 + 37*n), stock: plenty}
		if n > 0 && n <= size.scarce {
			p.stock = few // many want it, like the first products
		}
		s.products = append(s.products, p)
		group.Go(func() error { return s.create(ctx, p) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("making the products: %w", err)
	}
	return nil
}

func (s *shop) create(ctx context.Context, p *product) error {
	return withRetries(ctx, func(ctx context.Context) error {
		_, err := s.staff.CreateProduct(ctx, client.NewProduct{
			SKU: p.sku, Name: "Chaos " + p.sku, Description: "Ordered while things break.", Category: "chaos",
			Price: money.New(p.price, currency), Stock: p.stock,
		})
		if client.Status(err) == http.StatusConflict {
			return nil // an attempt whose answer was lost created it
		}
		return err
	})
}

func (s *shop) enrol(ctx context.Context, anonymous *client.Client, size shopSize) error {
	s.customers = make([]*customer, size.customers)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4) // a password hash is slow on purpose
	for n := range s.customers {
		s.customers[n] = &customer{number: n}
		cents := size.cents
		if size.scarce > 0 && n%poorEvery == poorEvery-1 {
			cents = min(cents, poor)
		}
		group.Go(func() error { return s.enrolOne(ctx, anonymous, s.customers[n], cents) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("enrolling customers: %w", err)
	}
	return nil
}

func (s *shop) enrolOne(ctx context.Context, anonymous *client.Client, c *customer, cents int64) error {
	email := fmt.Sprintf("chaos-%d-%s@shop.example", c.number, strings.ToLower(s.name))
	password := "correct horse " + id.Random{}.New()
	err := withRetries(ctx, func(ctx context.Context) error {
		_, err := anonymous.RegisterUser(ctx, client.Registration{Email: email, Password: password, Name: "Chaos Customer"})
		if client.Status(err) == http.StatusConflict {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	err = withRetries(ctx, func(ctx context.Context) (err error) {
		if c.Client, err = anonymous.Login(ctx, email, password); err != nil {
			return err
		}
		me, err := c.GetOwnUser(ctx)
		c.id = me.ID
		return err
	})
	if err != nil || cents == 0 {
		return err
	}
	if err := s.deposit(ctx, c, cents, time.Minute); err != nil {
		return err
	}
	return withRetries(ctx, func(ctx context.Context) error { // it is pending while the bank is slow
		wallet, err := c.GetWallet(ctx)
		if err == nil && wallet.Balance.Amount < cents {
			err = fmt.Errorf("the first deposit of customer %d is not booked yet", c.number)
		}
		return err
	})
}

// depositRequest is the body of a deposit.
type depositRequest struct {
	Cents int64 `json:"cents"`
}

func (s *shop) deposit(ctx context.Context, c *customer, cents int64, limit time.Duration) error {
	op := s.log.begin("deposit", c.number, id.Random{}.New(), depositRequest{cents})
	return op.persist(ctx, limit, s.requestOf(op))
}

// orderRequest is the content of an order, by SKU.
type orderRequest map[string]int64

func (r orderRequest) items() []client.NewOrderItem {
	var items []client.NewOrderItem
	for sku, quantity := range r {
		items = append(items, client.NewOrderItem{SKU: sku, Quantity: quantity})
	}
	slices.SortFunc(items, func(a, b client.NewOrderItem) int { return strings.Compare(a.SKU, b.SKU) })
	return items
}

// refundRequest is the body of a refund.
type refundRequest struct {
	Order string `json:"order"`
	Cents int64  `json:"cents"`
}

// restockRequest is the body of a restock.
type restockRequest struct {
	SKU   string `json:"sku"`
	Units int64  `json:"units"`
}

// requestOf is the request of an operation that may be repeated with its key.
func (s *shop) requestOf(op *Op) func(ctx context.Context) error {
	switch in := op.Request.(type) {
	case depositRequest:
		return func(ctx context.Context) error {
			_, err := s.customers[op.User].TopUp(ctx, op.Key, money.New(in.Cents, currency))
			return err
		}
	case orderRequest:
		return func(ctx context.Context) error {
			accepted, err := s.customers[op.User].PlaceOrder(ctx, op.Key, client.PlaceOrderParams{}, client.NewOrder{Items: in.items()})
			if err == nil {
				op.answered(accepted.ID)
			}
			return err
		}
	case refundRequest:
		return func(ctx context.Context) error {
			_, err := s.staff.RefundOrder(ctx, in.Order, op.Key, client.Refund{Amount: money.New(in.Cents, currency), Reason: "chaos"})
			return err
		}
	case restockRequest:
		return func(ctx context.Context) error {
			_, err := s.staff.AdjustStock(ctx, in.SKU, op.Key, client.StockChange{Change: in.Units, Reason: "chaos"})
			return err
		}
	}
	return nil
}

// tastes are the cumulative shares of products. A product with a lower rank has a smaller share.
func tastes(n int) []float64 {
	const exponent = 1.1
	shares := make([]float64, n)
	sum := 0.0
	for i := range shares {
		sum += 1 / math.Pow(float64(i+1), exponent)
		shares[i] = sum
	}
	for i := range shares {
		shares[i] /= sum
	}
	return shares
}

func choose(random *rand.Rand, shares []float64) int {
	at, _ := slices.BinarySearch(shares, random.Float64())
	return min(at, len(shares)-1)
}
