package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"caravan/dapr/client"
)

// progressEvery is the time between two lines of progress.
const progressEvery = 5 * time.Second

// progress prints now and then.
type progress struct {
	out  io.Writer
	next time.Time
}

func newProgress(out io.Writer) *progress { return &progress{out, time.Now().Add(progressEvery)} }

func (p *progress) printf(format string, args ...any) {
	if now := time.Now(); !now.Before(p.next) {
		p.next = now.Add(progressEvery)
		fmt.Fprintf(p.out, format, args...)
	}
}

// sleep returns an error when ctx ends before d is over.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// place places orders at a steady rate, whether or not earlier ones have ended.
func (c *crowd) place(ctx context.Context, result *StreamsResult) error {
	fmt.Fprintf(c.Out, "Placing %.1f orders a second for %s …\n", result.Rate, c.Duration)
	users := buyers(c.Streams, result.Rate, c.Duration)
	result.Outcomes = map[string]int{}
	var mu sync.Mutex
	group, placingCtx := errgroup.WithContext(ctx)
	group.SetLimit(placing)
	show, began := newProgress(c.Out), time.Now()
	for n := 0; ; n++ {
		at := time.Duration(float64(n) / result.Rate * float64(time.Second))
		if at >= c.Duration || sleep(placingCtx, time.Until(began.Add(at))) != nil {
			break
		}
		group.Go(func() error {
			stream := n % users
			accepted, err := c.users[stream].PlaceOrder(placingCtx, rand.Text(), client.PlaceOrderParams{}, client.NewOrder{Items: c.basket()})
			outcome := "accepted"
			if err != nil {
				if outcome, err = failedOutcome(err); err != nil {
					return err
				}
			}
			mu.Lock()
			defer mu.Unlock()
			result.Outcomes[outcome]++
			if outcome == "accepted" {
				c.orders = append(c.orders, placed{stream, accepted.ID})
				c.ordered[stream]++
			}
			return nil
		})
		now, _ := c.streams.Open()
		show.printf("%d orders are placed, %d streams are open.\n", n, now)
	}
	err := group.Wait()
	result.Orders, result.PlacedPerSecond = len(c.orders), float64(len(c.orders))/max(time.Since(began), time.Millisecond).Seconds()
	return errors.Join(err, ctx.Err())
}

// settle waits until what the orders lead to has come on the streams.
func (c *crowd) settle(ctx context.Context) error {
	fmt.Fprintln(c.Out, "Waiting for the last events …")
	limit := time.Now().Add(eventLimit)
	if _, err := c.await(ctx, c.orders, eventLimit); err != nil {
		return err
	}
	for n := range c.ordered {
		for c.streams.Streams[n].Seen().Notifications < c.ordered[n] && time.Now().Before(limit) {
			if err := sleep(ctx, 20*time.Millisecond); err != nil {
				return err
			}
		}
	}
	return nil
}
