package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sync/errgroup"

	"caravan/dapr/bench/follow"
	"caravan/dapr/client"
	orders "caravan/services/orders/contract"
)

// check compares what came on the streams with the API, and adds it up.
func (c *crowd) check(ctx context.Context, result *StreamsResult) error {
	fmt.Fprintln(c.Out, "Comparing the streams with the orders …")
	_, result.OpenAtOnce = c.streams.Open()
	seen := make([]follow.Seen, len(c.streams.Streams))
	for n, s := range c.streams.Streams {
		seen[n] = s.Seen()
		result.addStream(seen[n])
	}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for _, o := range c.orders {
		group.Go(func() error {
			order, err := c.users[o.stream].GetOrder(ctx, o.id, client.GetOrderParams{})
			if err != nil {
				return fmt.Errorf("reading an order to compare with: %w", limited(err))
			}
			mu.Lock()
			defer mu.Unlock()
			result.addOrder(publishedOf(order), seen[o.stream].Statuses[o.id], seen[o.stream].Opened > 1)
			return nil
		})
	}
	for n := range c.ordered {
		group.Go(func() error {
			list, err := c.users[n].ListNotifications(ctx, client.ListNotificationsParams{Limit: 1})
			if err != nil {
				return fmt.Errorf("reading an inbox to compare with: %w", limited(err))
			}
			mu.Lock()
			defer mu.Unlock()
			if len(list.Items) > 0 {
				result.MissingNotifications += max(int(list.Items[0].Position)-seen[n].Position, 0)
			}
			return nil
		})
	}
	err := group.Wait()
	result.addDelays()
	return err
}

// publishedOf returns the sequence numbers of the statuses of an order that are published, and so come on streams.
func publishedOf(order client.Order) []int64 {
	var published []int64
	for _, moment := range order.Timeline {
		name := strings.TrimSuffix(strings.TrimPrefix(moment.Type, orders.App+"."), ".v1")
		if orders.Published(orders.App + "." + name + ".v1") {
			published = append(published, moment.Sequence)
		}
	}
	return published
}

// addStream adds what came on one stream.
func (r *StreamsResult) addStream(seen follow.Seen) {
	r.Resumed += max(seen.Opened-1, 0)
	r.Notifications += seen.Notifications
	r.OutOfOrder += seen.OutOfOrder
	r.MissingNotifications += seen.Skipped
	for _, statuses := range seen.Statuses {
		r.Statuses += len(statuses)
	}
}

// addOrder compares the statuses of one order with those that its user's stream has.
func (r *StreamsResult) addOrder(want []int64, got []follow.Status, resumed bool) {
	for _, sequence := range want {
		if !slices.ContainsFunc(got, func(s follow.Status) bool { return s.Sequence == sequence }) {
			if r.MissingStatuses++; resumed {
				r.MissingResumed++
			}
		}
	}
	for _, s := range got {
		if !slices.Contains(want, s.Sequence) {
			r.Unknown++
		}
		if s.Status == string(orders.Confirmed) {
			r.delays = append(r.delays, s.At.Sub(s.OccurredAt))
		}
	}
}

func (r *StreamsResult) addDelays() {
	slices.Sort(r.delays)
	r.Confirmed = len(r.delays)
	r.P50, r.P95, r.P99, r.Worst = quantile(r.delays, 0.50), quantile(r.delays, 0.95), quantile(r.delays, 0.99), quantile(r.delays, 1)
}

// Complete returns an error if an event is missing or out of order. Statuses that are missing on a stream that was interrupted are not
// counted: they are not sent again.
func (r StreamsResult) Complete() error {
	if r.Interrupted {
		return nil // the last events were not awaited
	}
	if missing := r.MissingStatuses - r.MissingResumed + r.MissingNotifications; missing+r.OutOfOrder+r.Unknown > 0 {
		return fmt.Errorf("%d events are missing, %d out of order, and %d are of no status of their orders", missing, r.OutOfOrder, r.Unknown)
	}
	if r.OpenAtOnce < r.Asked {
		return fmt.Errorf("at most %d of %d streams were open at once", r.OpenAtOnce, r.Asked)
	}
	return nil
}

// checkFiles checks that so many streams can be open. A Go program raises the soft limit of open files to the hard one by itself.
// The gateway has two connections for each stream.
func checkFiles(streams int) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("reading the limit of open files: %w", err)
	}
	return enoughFiles(streams, uint64(limit.Max))
}

func enoughFiles(streams int, most uint64) error {
	if need := uint64(2*streams + 1000); most < need {
		return fmt.Errorf("%d streams need a limit of %d open files, and it is %d; raise the hard limit (ulimit -Hn %d) for this program and the stack", streams, need, most, need)
	}
	return nil
}
