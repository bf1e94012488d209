package app

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"caravan/internal/clock"
	"caravan/internal/correlation"
	"caravan/internal/document"
	"caravan/internal/feed"
	"caravan/internal/id"
	"caravan/services/orders/contract"
	"caravan/services/orders/domain"
)

// Prefix starts the key of every order document.
const Prefix = "order/"

// Sweep finds orders that stopped on their way, by reading the service's own
// feed: after a crash, a lost start or a full queue. Nothing else is needed to
// bring every order to an end.
//
// It reads twice. Fast passes look at young buckets, in memory only. Slow ones
// read each bucket once it has settled; they enter orders that still have not
// ended in the present bucket anew, so that the stored cursor, which only they
// move, never passes an unfinished order. The same is done for some minutes with
// the entry of an order that was never written: a sidecar that stood still may
// write it long after everybody has given it up.
type Sweep struct {
	Orders *Orders
	Lists  *document.Chain[Entry]
	Reader *feed.Reader
	Index  document.Index
	Driver *Driver
	Store  document.Store
	Clock  clock.Clock
	IDs    id.Source
	Log    *slog.Logger
	Every  time.Duration
	// Settle is the age at which a bucket is final, Young the least age that a
	// fast pass looks at: most orders have ended by then.
	Settle, Young time.Duration

	once    sync.Once
	cursors *document.Repository[sweepCursor, *sweepCursor]
	// unwritten tells when slow passes first met an entry without an order.
	unwritten map[string]time.Time
}

type sweepCursor struct {
	document.Root
	Settled string `json:"settled"`
}

const (
	// sweepLimit is about how many orders one read covers.
	sweepLimit = 256
	// unwrittenFor is how long an order that was entered and not written is expected.
	unwrittenFor = 10 * time.Minute
	// unwrittenMost bounds the entries without an order that are remembered.
	unwrittenMost = 4096
)

// Run sweeps until ctx ends. The first pass looks at everything since the
// stored cursor, the present included: after a restart nobody else does.
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
			s.Log.WarnContext(ctx, "sweeping orders failed; it goes on from the same place", "error", err)
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

// expected are those of the entries without an order whose order may still come.
func (s *Sweep) expected(keys []string) (expected []string) {
	if s.unwritten == nil {
		s.unwritten = make(map[string]time.Time)
	}
	now := s.Clock.Now()
	for _, key := range keys {
		if _, known := s.unwritten[key]; !known && len(s.unwritten) >= unwrittenMost {
			// One that was given up stays known for as long again, as another replica may enter it once more.
			maps.DeleteFunc(s.unwritten, func(_ string, first time.Time) bool { return now.Sub(first) > 2*unwrittenFor })
			if len(s.unwritten) >= unwrittenMost {
				continue // an overloaded store: most of these never come, and entries cost what it has left
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

// enter enters orders in the present bucket, many of them by one entry.
func (s *Sweep) enter(ctx context.Context, keys []string) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, key := range keys { // at most about sweepLimit
		group.Go(func() error { return s.Index.Append(ctx, key) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("entering unfinished orders anew: %w", err)
	}
	return nil
}

// start has the driver look at the unfinished orders among keys, and tells of which there is no order.
func (s *Sweep) start(ctx context.Context, keys []string) (unfinished, unwritten []string, err error) {
	ids := make([]string, 0, len(keys))
	for _, k := range keys {
		if orderID, ok := strings.CutPrefix(k, Prefix); ok {
			ids = append(ids, orderID)
		}
	}
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

// enlist sees to it that an order that nobody has driven yet is in its user's
// list: what placed it may have died before it wrote the entry, and its user may
// never ask again.
func (s *Sweep) enlist(ctx context.Context, o *domain.Order) error {
	if o.Status != contract.Placed || o.Waiting != nil {
		return nil
	}
	return enlist(ctx, s.Lists, o)
}

// cause is the context of the request that an order came from.
func cause(ctx context.Context, o *domain.Order) context.Context {
	if len(o.Timeline) == 0 {
		return ctx
	}
	last := o.Timeline[len(o.Timeline)-1]
	return correlation.Remote(ctx, last.CorrelationID, last.TraceParent)
}

// Behind is the stored cursor: every order that has not ended is entered in the feed behind it.
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
