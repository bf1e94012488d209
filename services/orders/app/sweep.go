package app

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"caravan/internal/clock"
	"caravan/internal/document"
	"caravan/internal/feed"
	"caravan/internal/id"
	"caravan/services/orders/contract"
	"caravan/services/orders/domain"
)

// Sweep finds orders that have stopped on their way, after a crash, a lost start or with a full queue, by reading the
// service's own feed. Nothing else is needed to bring every order to its end.
//
// It reads the feed in two kinds of passes. Fast passes read young buckets and keep their place in memory only. Slow passes
// read each bucket when it has settled, and only they move the stored cursor. They enter orders that have not ended in the
// present bucket, so that the stored cursor never passes an unfinished order. For some minutes they do the same with an entry
// whose order does not exist: a sidecar that was frozen may write the order long after its client has given up.
type Sweep struct {
	Orders *Orders
	Lists  UserOrders
	Reader *feed.Reader
	Index  document.Index
	Driver *Driver
	Store  document.Store
	Clock  clock.Clock
	IDs    id.Source
	Log    *slog.Logger
	Every  time.Duration
	// Settle is the age at which a bucket is final. Young is the least age of the buckets that a fast pass reads: most orders
	// have ended by then.
	Settle, Young time.Duration

	once    sync.Once
	cursors *document.Repository[sweepCursor, *sweepCursor]
	// unwritten says when slow passes first found each entry without an order.
	unwritten map[string]time.Time
}

type sweepCursor struct {
	document.Root
	Settled string `json:"settled"`
}

const (
	// sweepLimit is about how many orders are read at once.
	sweepLimit = 256
	// unwrittenFor is how long after its entry an order is expected.
	unwrittenFor = 10 * time.Minute
	// unwrittenMost bounds the entries without an order that are remembered.
	unwrittenMost = 4096
)

// Run sweeps until ctx ends. The first pass reads everything since the stored cursor, including the present bucket: after a
// restart nothing else does.
func (s *Sweep) Run(ctx context.Context) error {
	fast, err := s.Behind(ctx)
	if err != nil {
		return err
	}
	age := -time.Minute
	for {
		next, err := s.fast(ctx, fast, age)
		if err == nil {
			if age >= 0 {
				fast = next
			}
			age = s.Young
			err = s.slow(ctx)
		}
		if err != nil && ctx.Err() == nil {
			s.Log.WarnContext(ctx, "sweeping orders failed and goes on from the same place", "error", err)
		}
		if s.Clock.Sleep(ctx, s.Every) != nil {
			return nil
		}
	}
}

// fast starts unfinished orders of buckets of at least the given age.
func (s *Sweep) fast(ctx context.Context, from feed.Cursor, age time.Duration) (feed.Cursor, error) {
	for {
		keys, err := s.Reader.Keys(ctx, from, sweepLimit, age)
		if err != nil {
			return from, fmt.Errorf("reading own feed: %w", err)
		}
		for _, b := range keys.Buckets {
			if _, _, err := s.start(ctx, b.Keys); err != nil {
				return from, err
			}
		}
		if from = keys.Next; keys.End {
			return from, nil
		}
	}
}

// slow moves the stored cursor over settled buckets.
func (s *Sweep) slow(ctx context.Context) error {
	from, err := s.Behind(ctx)
	if err != nil {
		return err
	}
	for {
		keys, err := s.Reader.Keys(ctx, from, sweepLimit, s.Settle)
		if err != nil {
			return fmt.Errorf("reading own feed: %w", err)
		}
		for _, b := range keys.Buckets {
			unfinished, unwritten, err := s.start(ctx, b.Keys)
			if err != nil {
				return err
			}
			if err := s.enter(ctx, append(unfinished, s.expected(unwritten)...)); err != nil {
				return err
			}
		}
		if keys.Next == from {
			return nil
		}
		if err := s.store(ctx, keys.Next); err != nil {
			return err
		}
		if from = keys.Next; keys.End {
			return nil
		}
	}
}

// expected returns those entries without an order whose order may still come.
func (s *Sweep) expected(keys []string) (expected []string) {
	if s.unwritten == nil {
		s.unwritten = make(map[string]time.Time)
	}
	now := s.Clock.Now()
	for _, key := range keys {
		if _, known := s.unwritten[key]; !known && len(s.unwritten) >= unwrittenMost {
			// An entry that was given up is remembered for as long again, as another replica may enter it once more.
			maps.DeleteFunc(s.unwritten, func(_ string, first time.Time) bool { return now.Sub(first) > 2*unwrittenFor })
			if len(s.unwritten) >= unwrittenMost {
				continue // the store is overloaded: most of these never come, and each entry is a write
			}
		}
		first, known := s.unwritten[key]
		if !known {
			first, s.unwritten[key] = now, now
		}
		if now.Sub(first) < unwrittenFor {
			expected = append(expected, key)
		}
	}
	return expected
}

// enter enters orders in the present bucket.
func (s *Sweep) enter(ctx context.Context, keys []string) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, key := range keys { // at most about sweepLimit
		group.Go(func() error { return s.Index.Append(ctx, key) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("entering unfinished orders again: %w", err)
	}
	return nil
}

// start hands the unfinished orders among keys to the driver. It returns their keys and those without an order.
func (s *Sweep) start(ctx context.Context, keys []string) (unfinished, unwritten []string, err error) {
	ids := OrderIDs(keys)
	orders, err := s.Orders.GetMany(ctx, ids...)
	if err != nil {
		return nil, nil, fmt.Errorf("reading swept orders: %w", err)
	}
	for _, orderID := range ids {
		o, ok := orders[orderID]
		if !ok {
			unwritten = append(unwritten, s.Orders.Key(orderID))
			continue
		}
		delete(s.unwritten, s.Orders.Key(orderID))
		if !o.Status.Terminal() {
			if err := s.enlist(ctx, o); err != nil {
				return nil, nil, err
			}
			s.Driver.Start(cause(ctx, o), o.ID)
			unfinished = append(unfinished, s.Orders.Key(o.ID))
		}
	}
	return unfinished, unwritten, nil
}

// enlist adds an order that was never driven to its user's list if it is missing: the program that placed it may have stopped
// before it wrote the entry, and its user may never repeat the request.
func (s *Sweep) enlist(ctx context.Context, o *domain.Order) error {
	if o.Status != contract.Placed || o.Waiting != nil {
		return nil
	}
	return s.Lists.ensure(ctx, o)
}

// Behind returns the stored cursor. The feed has an entry behind it of every order that has not ended.
func (s *Sweep) Behind(ctx context.Context) (feed.Cursor, error) {
	docs, err := s.repository().GetMany(ctx, "orders")
	if err != nil {
		return feed.Cursor{}, fmt.Errorf("reading the sweep's cursor: %w", err)
	}
	if doc, ok := docs["orders"]; ok {
		return feed.ParseCursor(doc.Settled)
	}
	return feed.Cursor{}, nil
}

func (s *Sweep) repository() *document.Repository[sweepCursor, *sweepCursor] {
	s.once.Do(func() {
		s.cursors = document.NewRepository[sweepCursor](s.Store, document.Options{Prefix: "sweep/", Clock: s.Clock, IDs: s.IDs})
	})
	return s.cursors
}

// store keeps the furthest cursor of all replicas.
func (s *Sweep) store(ctx context.Context, to feed.Cursor) error {
	_, err := s.repository().Update(ctx, "orders", func(c *sweepCursor) error {
		if at, err := feed.ParseCursor(c.Settled); err == nil && !at.Before(to) {
			return document.ErrUnchanged
		}
		c.Settled = to.String()
		return nil
	})
	if err != nil {
		return fmt.Errorf("storing the sweep's cursor: %w", err)
	}
	return nil
}
