package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"golang.org/x/sync/errgroup"

	"caravan/dapr/bench/follow"
	"caravan/dapr/client"
	"caravan/internal/id"
)

const (
	// MaxStreams is the maximum number of streams: what one replica of notifications and the gateway have room for by default.
	MaxStreams = 10_000
	// MaxRate is the maximum number of orders a second.
	MaxRate = 10_000
	// unstreamedClients is how many clients order at once when the rate without streams is measured.
	unstreamedClients = 64
	// placing is how many orders are being placed at once.
	placing = 256
	// probes is how many streams have to hear of an order before the measurement begins. They are spread over all replicas.
	probes = 8
	// heardLimit is how long that may take, and eventLimit how long events are awaited after the last order.
	heardLimit = 30 * time.Second
	eventLimit = 20 * time.Second
	// tokenSpare is how much longer tokens last than orders are placed.
	tokenSpare = 30 * time.Minute
)

// StreamsOptions describe what is measured of event streams.
type StreamsOptions struct {
	// Root is the folder of the repository. The result contains its revision.
	Root string
	// Streams is the number of streams, at most MaxStreams. Each is that of another user.
	Streams int
	// Rate is how many orders a second are placed. 0 means half of what is measured without streams.
	Rate float64
	// Duration is for how long orders are placed.
	Duration time.Duration
	// Out gets the progress.
	Out io.Writer
}

// crowd is a shop whose users have event streams.
type crowd struct {
	*shop
	StreamsOptions
	stack   Target
	streams *follow.Crowd
	orders  []placed
	ordered map[int]int // how many orders each stream's user has placed
}

// placed is an order that was placed for the measurement.
type placed struct {
	stream int
	id     string
}

// Streams opens event streams, places orders of their users, and compares what comes on the streams with what the API says. When ctx
// ends, it returns the result so far and no error, if any stream was opened.
func Streams(ctx context.Context, stack Target, options StreamsOptions) (StreamsResult, error) {
	if err := checkFiles(options.Streams); err != nil {
		return StreamsResult{}, err
	}
	result := StreamsResult{Setting: settingOf(ctx, options.Root, stack), Asked: options.Streams, Rate: options.Rate}
	c := &crowd{StreamsOptions: options, stack: stack, ordered: make(map[int]int)}
	if err := c.prepare(ctx, &result); err != nil {
		return StreamsResult{}, fmt.Errorf("preparing the streams: %w", err)
	}
	// An interrupt ends the orders. The streams stay open until what came on them was checked.
	c.streams = follow.Start(context.WithoutCancel(ctx), stack.Gateway, c.tokens())
	defer c.streams.Stop()
	err := c.measure(ctx, &result)
	if result.Interrupted = ctx.Err() != nil; err != nil && !result.Interrupted {
		return StreamsResult{}, err
	}
	if result.Interrupted {
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), eventLimit)
		defer cancel()
		ctx = late
	}
	return result, c.check(ctx, &result)
}

// prepare makes the users and fills the wallets of those who order.
func (c *crowd) prepare(ctx context.Context, result *StreamsResult) (err error) {
	if c.shop, err = openShopWithoutUsers(ctx, c.stack); err != nil {
		return err
	}
	if c.stack.Sign == nil {
		fmt.Fprintf(c.Out, "Logging %d users in; each that is new takes two password hashes …\n", c.Streams)
		err = c.enrol(ctx, c.stack.Dir, c.Streams)
	} else {
		err = c.signUsers()
	}
	if err != nil {
		return err
	}
	if result.Rate == 0 {
		if result.Rate, err = c.halfRate(ctx); err != nil {
			return err
		}
	}
	if c.stack.Sign != nil {
		err = c.fillWallets(ctx, buyers(c.Streams, result.Rate, c.Duration))
	}
	return err
}

// signUsers makes users without accounts.
func (c *crowd) signUsers() error {
	lifetime := c.Duration + tokenSpare
	expiry := time.Now().Add(lifetime)
	for range c.Streams {
		token, err := c.stack.Sign(id.Random{}.New(), expiry)
		if err != nil {
			return fmt.Errorf("signing the token of a user: %w", err)
		}
		// Tokens are not renewed before 3/4 of the lifetime that the client is told.
		c.users = append(c.users, c.anonymous.Resume(client.Session{AccessToken: token, ExpiresIn: int(2 * lifetime / time.Second)}))
	}
	return nil
}

// buyers is how many of the users order: each once before another one orders twice.
func buyers(streams int, rate float64, duration time.Duration) int {
	return min(streams, max(probes, int(math.Ceil(rate*duration.Seconds()))))
}

func (c *crowd) fillWallets(ctx context.Context, count int) error {
	fmt.Fprintf(c.Out, "Filling %d wallets …\n", count)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for _, user := range c.users[:count] {
		group.Go(func() error { return fillWallet(ctx, user) })
	}
	return group.Wait()
}

// halfRate is half of the rate at which orders end without streams.
func (c *crowd) halfRate(ctx context.Context) (float64, error) {
	clients := min(unstreamedClients, c.Streams)
	if c.stack.Sign != nil {
		if err := c.fillWallets(ctx, clients); err != nil {
			return 0, err
		}
	}
	duration := min(c.Duration, 10*time.Second)
	fmt.Fprintf(c.Out, "Orders of %s for %s, without streams …\n", clientCount(clients), duration)
	load, err := c.shop.orders(ctx, clients, duration)
	if err != nil {
		return 0, err
	}
	rate := float64(load.Outcomes["confirmed"]) / load.Seconds / 2
	if rate == 0 {
		return 0, fmt.Errorf("no order was confirmed without streams (%s), so that half of that rate is 0; give --rate", outcomes(load))
	}
	fmt.Fprintf(c.Out, "%.1f orders a second end without streams; half of that is used.\n", 2*rate)
	return rate, nil
}

func (c *crowd) tokens() []func(context.Context) (string, error) {
	var tokens []func(context.Context) (string, error)
	for _, user := range c.users {
		tokens = append(tokens, user.Token)
	}
	return tokens
}

// measure opens the streams and places the orders.
func (c *crowd) measure(ctx context.Context, result *StreamsResult) (err error) {
	if result.Before, err = sizes(ctx, c.stack); err != nil {
		return err
	}
	began := time.Now()
	if err := c.open(ctx); err != nil {
		return err
	}
	result.OpenedIn = time.Since(began).Seconds()
	if err := c.hear(ctx); err != nil {
		return err
	}
	if result.With, err = sizes(ctx, c.stack); err != nil {
		return err
	}
	if err := c.place(ctx, result); err != nil {
		return err
	}
	return c.settle(ctx)
}

// open waits until all streams are open.
func (c *crowd) open(ctx context.Context) error {
	fmt.Fprintf(c.Out, "Opening %d streams …\n", c.Streams)
	limit, show := time.Now().Add(openLimit(c.Streams)), newProgress(c.Out)
	for {
		now, _ := c.streams.Open()
		switch {
		case now == c.Streams:
			return nil
		case time.Now().After(limit):
			return fmt.Errorf("%d of %d streams are open after %s; the others: %w", now, c.Streams, openLimit(c.Streams), problemOf(c.streams))
		}
		show.printf("%d streams are open.\n", now)
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// openLimit is how long it may take to open streams.
func openLimit(streams int) time.Duration {
	return time.Minute + time.Duration(streams)*50*time.Millisecond
}

func problemOf(streams *follow.Crowd) error {
	if err := streams.Problem(); err != nil {
		return err
	}
	return errors.New("the gateway does not answer")
}

// hear waits until replicas hear of events: each of some streams has the status of an order.
func (c *crowd) hear(ctx context.Context) error {
	fmt.Fprintln(c.Out, "Waiting until the streams hear of orders …")
	for limit := time.Now().Add(heardLimit); time.Now().Before(limit); {
		var orders []placed
		for n := range min(probes, c.Streams) {
			accepted, err := c.users[n].PlaceOrder(ctx, rand.Text(), client.PlaceOrderParams{}, client.NewOrder{Items: c.basket()})
			if err != nil {
				return limited(err)
			}
			orders = append(orders, placed{n, accepted.ID})
			c.ordered[n]++
		}
		missing, err := c.await(ctx, orders, 3*time.Second)
		if err != nil || missing == 0 {
			return err
		}
	}
	return fmt.Errorf("no order statuses came to the streams for %s; does the stack have the component live (docs/parts/stream.md)?", heardLimit)
}

// await waits until the streams have a status of each order, at most for limit. It returns how many orders lack one.
func (c *crowd) await(ctx context.Context, orders []placed, limit time.Duration) (missing int, err error) {
	for end := time.Now().Add(limit); ; {
		var rest []placed
		for _, o := range orders {
			if !c.streams.Streams[o.stream].Has(o.id) {
				rest = append(rest, o)
			}
		}
		if orders = rest; len(orders) == 0 || time.Now().After(end) {
			return len(orders), nil
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return len(orders), err
		}
	}
}
