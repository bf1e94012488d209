package app

import (
	"context"
	"errors"
	"sync"
	"time"

	"caravan/internal/correlation"
	"caravan/internal/event"
	"caravan/internal/feed"
	"caravan/services/notifications/domain"
)

// errBusy asks for another delivery, as no more events may wait, or none yet, or none any more.
var errBusy = event.Retry(errors.New("notifications takes no events right now"))

// stopTimeout bounds the last writes of a Consumer that stops.
const stopTimeout = 5 * time.Second

// ConsumerOptions bound a Consumer.
type ConsumerOptions struct {
	// Interval is the time between two writes of one inbox for pushed events: those that come meanwhile share the
	// next one. The first event of a user at rest never waits. At 0 every event is stored before it is acknowledged.
	Interval time.Duration
	// Waiting is the largest number of events that wait to be stored; at least 1.
	Waiting int
}

// Consumer takes events by two roads: pushed by the broker, which is fast, and pulled from the producers' feeds, which
// is complete.
//
// A pushed event is acknowledged when it waits in memory, not when it is stored, so that all events of a user in an
// interval cost one write however few of them the broker hands out at once. A crash forgets at most an interval of them,
// and the pull brings those back: only what is stored counts as seen.
type Consumer struct {
	n    *Notifications
	seen *feed.Seen
	opts ConsumerOptions

	active chan string // users whose first event waits and who have no worker yet

	mu      sync.Mutex
	running bool
	waiting map[string][]pushed // by user; present while the user has a worker or waits for one
	count   int                 // events in waiting and with workers
}

// pushed is one event that waits to be stored.
type pushed struct {
	event  event.Event
	notice domain.Notice
}

// NewConsumer makes a Consumer. The pullers must share seen, so that they skip what was pushed and stored. Run must be
// running for it to take pushed events.
func NewConsumer(n *Notifications, seen *feed.Seen, opts ConsumerOptions) *Consumer {
	return &Consumer{n: n, seen: seen, opts: opts, active: make(chan string, opts.Waiting), waiting: make(map[string][]pushed)}
}

// Pulled handles an event from a feed; it returns when the event is stored. For one that can never be handled it returns
// a final error, upon which the puller puts it away.
func (c *Consumer) Pulled(ctx context.Context, e event.Event) error { return c.n.Deliver(ctx, e) }

// Pushed takes an event from the broker. For one that can never be handled it returns a final error, upon which the
// sidecar takes the message to the dead letters. As no broker says there why, failures are remembered until then.
func (c *Consumer) Pushed(ctx context.Context, e event.Event) error {
	err := event.Protect(c.take)(ctx, e)
	if err != nil {
		c.n.failures.note(e.ID, err)
	}
	return err
}

func (c *Consumer) take(ctx context.Context, e event.Event) error {
	if c.seen.Has(e.ID) {
		return nil
	}
	if c.opts.Interval == 0 {
		err := c.n.Deliver(ctx, e)
		if err == nil {
			c.seen.Add(e.ID)
		}
		return err
	}
	notice, told, err := c.n.read(ctx, e)
	if err != nil || !told {
		return err
	}
	return c.enqueue(pushed{event: e, notice: notice})
}

func (c *Consumer) enqueue(p pushed) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.running || c.count >= c.opts.Waiting {
		return errBusy
	}
	user := p.notice.UserID
	if _, busy := c.waiting[user]; !busy {
		c.active <- user // there is room: each user in it has at least one of the events that may wait
	}
	c.waiting[user] = append(c.waiting[user], p)
	c.count++
	return nil
}

// Run stores pushed events until ctx ends, and then those that wait already.
func (c *Consumer) Run(ctx context.Context) error {
	c.open(true)
	var workers sync.WaitGroup
	for {
		select {
		case user := <-c.active:
			workers.Go(func() { c.work(ctx, user) })
			continue
		case <-ctx.Done():
		}
		break
	}
	c.open(false)
	for len(c.active) > 0 {
		user := <-c.active
		workers.Go(func() { c.work(ctx, user) })
	}
	workers.Wait()
	return nil
}

func (c *Consumer) open(running bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running = running
}

// work stores the events of one user, a batch an interval, until none waits. When ctx has ended it hurries, and leaves
// what cannot be stored to the feed.
func (c *Consumer) work(ctx context.Context, user string) {
	for {
		batch := c.next(user)
		if len(batch) == 0 {
			return
		}
		stored := c.store(ctx, batch)
		c.done(user, batch, stored)
		if c.n.Clock.Sleep(ctx, c.opts.Interval) != nil && !stored {
			return
		}
	}
}

// next removes the next batch of a user; an empty one ends the user's worker.
func (c *Consumer) next(user string) []pushed {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.waiting[user]
	if len(all) == 0 {
		delete(c.waiting, user)
		return nil
	}
	size := min(len(all), deliverBatch)
	c.waiting[user] = all[size:]
	return all[:size:size]
}

// done frees the places of a batch that is stored, and puts one that is not back in front.
func (c *Consumer) done(user string, batch []pushed, stored bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if stored {
		c.count -= len(batch)
		return
	}
	c.waiting[user] = append(batch, c.waiting[user]...)
}

// store delivers a batch of one user's events and reports whether they are dealt with. What can never be handled is
// found by delivering each by itself, so that one such event takes no other with it.
func (c *Consumer) store(ctx context.Context, batch []pushed) bool {
	err := c.deliver(ctx, batch)
	if err != nil && !event.Retriable(err) {
		if len(batch) > 1 {
			return c.storeEach(ctx, batch)
		}
		err = c.putAway(ctx, batch[0].event, err)
	}
	if err != nil {
		c.n.Log.WarnContext(ctx, "storing notifications failed; they are tried again", "events", len(batch), "first", batch[0].event.ID, "error", err)
		return false
	}
	for _, p := range batch {
		c.seen.Add(p.event.ID)
	}
	return true
}

// storeEach stores the events of a batch one by one; those that were stored before are known to the inbox.
func (c *Consumer) storeEach(ctx context.Context, batch []pushed) bool {
	all := true
	for i := range batch {
		all = c.store(ctx, batch[i:i+1]) && all
	}
	return all
}

// deliver puts a batch into its inbox, in the context of its first event. It runs in a worker of its own, where a panic
// would end the program.
func (c *Consumer) deliver(ctx context.Context, batch []pushed) error {
	ctx, cancel := c.causeOf(ctx, batch[0].event)
	defer cancel()
	notices := make([]domain.Notice, len(batch))
	for i, p := range batch {
		notices[i] = p.notice
	}
	deliver := func(ctx context.Context, _ event.Event) error { return c.n.deliver(ctx, notices) }
	if err := event.Protect(deliver)(ctx, batch[0].event); err != nil {
		return err
	}
	for _, p := range batch {
		c.n.Counter.Count(ctx, OutcomeNotified, p.event)
	}
	return nil
}

func (c *Consumer) putAway(ctx context.Context, e event.Event, cause error) error {
	ctx, cancel := c.causeOf(ctx, e)
	defer cancel()
	return c.n.PutAway(ctx, e, cause)
}

// causeOf is the context of what caused an event. It does not end with the consumer, which finishes what it took.
func (c *Consumer) causeOf(ctx context.Context, e event.Event) (context.Context, context.CancelFunc) {
	ctx = correlation.Remote(context.WithoutCancel(ctx), e.CorrelationID, e.TraceParent)
	return context.WithTimeout(ctx, stopTimeout)
}
