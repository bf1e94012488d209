package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"caravan/dapr/client"
	"caravan/dapr/launcher"
	"caravan/internal/correlation"
	"caravan/internal/money"
)

// orders has every client place orders, one after another, and wait for the end of each. All orders that begin within
// the duration are awaited.
func (s *shop) orders(ctx context.Context, clients int, duration time.Duration) (Load, error) {
	deadline := time.Now().Add(duration)
	return s.ordersWhile(ctx, clients, func() bool { return time.Now().Before(deadline) })
}

// ordersWhile has every client place orders, as long as more returns true before each. Clients share users if there are more of them.
func (s *shop) ordersWhile(ctx context.Context, clients int, more func() bool) (Load, error) {
	t := &tally{outcomes: map[string]int{}}
	began := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for n := range clients {
		user := s.users[n%len(s.users)]
		group.Go(func() error {
			for more() && ctx.Err() == nil {
				started := time.Now()
				outcome, err := placeAndAwait(ctx, user, s.basket())
				if err != nil {
					return err
				}
				t.add(time.Since(started), outcome)
			}
			return ctx.Err()
		})
	}
	err := group.Wait()
	return t.load("orders to their end", clients, time.Since(began)), err
}

// placeAndAwait places an order and returns its end, or the kind of error that prevented the client from seeing it.
func placeAndAwait(ctx context.Context, user *client.Client, items []client.NewOrderItem) (string, error) {
	order, err := placeToEnd(ctx, user, items)
	if err != nil {
		return failedOutcome(err)
	}
	if order.Reason != "" {
		return string(order.Status) + " (" + order.Reason + ")", nil
	}
	return string(order.Status), nil
}

// placeToEnd places an order and returns it at its end, which takes one call unless it takes long. As the page of a shop does, it names
// the total that the customer has seen.
func placeToEnd(ctx context.Context, user *client.Client, items []client.NewOrderItem) (client.Order, error) {
	total := money.New(0, price.Currency)
	for _, item := range items {
		total.Amount += item.Quantity * price.Amount
	}
	order, err := user.PlaceOrder(ctx, rand.Text(), client.PlaceOrderParams{Wait: "10s"}, client.NewOrder{Items: items, ExpectedTotal: total})
	if err != nil || order.Status.Ended() {
		return order, err
	}
	return user.AwaitOrder(ctx, order.ID)
}

func failedOutcome(err error) (string, error) {
	switch status := client.Status(err); {
	case status == http.StatusTooManyRequests:
		return "", errLimited
	case errors.Is(err, context.Canceled):
		return "", err
	case status != 0:
		return fmt.Sprintf("error %d %s", status, client.Slug(err)), nil
	}
	return "no answer", nil
}

// unloadedOrders is the number of orders that are placed one at a time.
const unloadedOrders = 200

// oneByOne places orders one at a time. It finds the parts of their time in their timelines, and in the log lines with
// their correlation ids.
func (s *shop) oneByOne(ctx context.Context, stack Target) (Unloaded, error) {
	user := s.users[0]
	var took []time.Duration
	steps := map[string][]time.Duration{}
	causes := map[string]bool{}
	const warmUp = 20
	for n := range warmUp + unloadedOrders {
		started := time.Now()
		var header http.Header
		order, err := placeToEnd(client.WithHeader(ctx, &header), user, s.basket())
		if err != nil {
			return Unloaded{}, limited(err)
		}
		if n < warmUp {
			continue
		}
		took = append(took, time.Since(started))
		// The gateway's answer has the correlation id of the request.
		causes[header.Get(correlation.Header)] = true
		for _, moment := range order.Timeline {
			name := strings.TrimSuffix(strings.TrimPrefix(moment.Type, "orders."), ".v1")
			steps[name] = append(steps[name], moment.Time.Sub(order.PlacedAt))
		}
	}
	slices.Sort(took)
	unloaded := Unloaded{Orders: len(took), P50: quantile(took, 0.50), P99: quantile(took, 0.99), Timeline: spans(steps, len(took))}
	hops, err := hopsOf(ctx, stack, causes)
	unloaded.Hops = spans(hops, len(took))
	return unloaded, err
}

func spans(durations map[string][]time.Duration, orders int) []Span {
	var all []Span
	for _, name := range sortedKeys(durations) {
		slices.Sort(durations[name])
		all = append(all, Span{Name: name, Median: quantile(durations[name], 0.50), Calls: float64(len(durations[name])) / float64(orders)})
	}
	slices.SortStableFunc(all, func(a, b Span) int { return int(math.Copysign(1, a.Median-b.Median)) })
	return all
}

// hopsOf reads how long each request with one of the correlation ids took in the program that served it.
func hopsOf(ctx context.Context, stack Target, causes map[string]bool) (map[string][]time.Duration, error) {
	lines, err := stack.Logs(ctx, func(line launcher.LogLine) bool {
		return line.Fields["duration_ms"] != nil && causes[line.Field("correlation_id")]
	})
	if err != nil {
		return nil, err
	}
	hops := map[string][]time.Duration{}
	for _, line := range lines {
		ms, ok := line.Fields["duration_ms"].(float64)
		if !ok {
			continue
		}
		what := line.Field("route")
		if what == "" {
			what = line.Message + " " + line.Field("path")
		}
		name := line.Process + ": " + strings.TrimSpace(what)
		hops[name] = append(hops[name], time.Duration(ms*float64(time.Millisecond)))
	}
	return hops, nil
}
