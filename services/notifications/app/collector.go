package app

import (
	"context"
	"errors"
	"sync"
	"time"

	"caravan/internal/correlation"
	"caravan/internal/event"
	"caravan/services/notifications/domain"
)

// errBusy asks for another delivery: the Collector is full, or does not run.
var errBusy = event.Retry(errors.New("notifications takes no events right now"))

// stopTimeout bounds the last writes of a Collector that stops.
const stopTimeout = 5 * time.Second

// CollectorOptions configure a Collector.
type CollectorOptions struct {
	// Interval is the time between two writes of one inbox for pushed events. The events of an interval share a write. An
	// inbox without a write in the last interval is written at once.
	Interval time.Duration
	// Waiting is the largest number of events that wait to be stored; at least 1.
	Waiting int
}

// Collector is a feed.Collector. It acknowledges a pushed event when it is in memory, not when it is stored, so that all events
// of a user in an interval cost one write however few of them the broker delivers at once. A crash loses at most an interval
// of them, and the feed delivers those again: only a stored event counts as seen.
type Collector struct {
	deliverEvent DeliverEvent
	opts         CollectorOptions

	active chan string // users with a first event and without a worker

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

// inbox is what pushed events must have in common to be stored together. One for an audience is stored by itself.
func (p pushed) inbox() string {
	if p.notice.Audience != nil {
		return "event/" + p.event.ID // no user has such an id
	}
	return p.notice.UserID
}

// settle records the result of an event, see feed.Collector.
type settle func(ctx context.Context, e event.Event, err error) error

// NewCollector makes a Collector. It takes events only while Run runs.
func NewCollector(d DeliverEvent, opts CollectorOptions) *Collector {
	return &Collector{deliverEvent: d, opts: opts, active: make(chan string, opts.Waiting), waiting: make(map[string][]pushed)}
}

// Take takes a pushed event. For one that can never be handled it returns a final error.
func (c *Collector) Take(ctx context.Context, e event.Event) error {
	notice, found, err := c.deliverEvent.read(ctx, e)
	if err != nil || !found {
		return err
	}
	return c.enqueue(pushed{event: e, notice: notice})
}

func (c *Collector) enqueue(p pushed) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.running || c.count >= c.opts.Waiting {
		return errBusy
	}
	user := p.inbox()
	if _, busy := c.waiting[user]; !busy {
		c.active <- user // there is room: each user in it has at least one waiting event, and so many may wait
	}
	c.waiting[user] = append(c.waiting[user], p)
	c.count++
	return nil
}

// Run stores events until ctx ends. Then it stores those that wait.
func (c *Collector) Run(ctx context.Context, settle func(ctx context.Context, e event.Event, err error) error) error {
	c.open(true)
	var workers sync.WaitGroup
	for {
		select {
		case user := <-c.active:
			workers.Go(func() { c.work(ctx, user, settle) })
			continue
		case <-ctx.Done():
		}
		break
	}
	c.open(false)
	for len(c.active) > 0 {
		user := <-c.active
		workers.Go(func() { c.work(ctx, user, settle) })
	}
	workers.Wait()
	return nil
}

func (c *Collector) open(running bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running = running
}

// work stores the events of one user, a batch per interval, until none waits. After ctx has ended it does not wait between
// batches, and leaves a batch that it cannot store to the feed.
func (c *Collector) work(ctx context.Context, user string, settle settle) {
	for {
		batch := c.next(user)
		if len(batch) == 0 {
			return
		}
		stored := c.store(ctx, batch, settle)
		c.done(user, batch, stored)
		if c.deliverEvent.Clock.Sleep(ctx, c.opts.Interval) != nil && !stored {
			return
		}
	}
}

// next removes the next batch of a user; an empty one ends the user's worker.
func (c *Collector) next(user string) []pushed {
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

// done makes room for a stored batch, and puts a batch that was not stored back in front.
func (c *Collector) done(user string, batch []pushed, stored bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if stored {
		c.count -= len(batch)
		return
	}
	c.waiting[user] = append(batch, c.waiting[user]...)
}

// store delivers a batch of one user's events and reports whether they are settled. If the batch can never be handled, store
// delivers each event by itself, so that one bad event does not affect the others.
func (c *Collector) store(ctx context.Context, batch []pushed, settle settle) bool {
	err := c.deliver(ctx, batch)
	if err != nil && !event.Retriable(err) {
		if len(batch) > 1 {
			return c.storeEach(ctx, batch, settle)
		}
		err = c.giveUp(ctx, batch[0].event, err, settle)
	} else if err == nil {
		for _, p := range batch {
			err = errors.Join(err, settle(ctx, p.event, nil))
		}
	}
	if err != nil {
		c.deliverEvent.Log.WarnContext(ctx, "storing notifications failed and is retried", "events", len(batch), "first", batch[0].event.ID, "error", err)
	}
	return err == nil
}

// storeEach stores the events of a batch one by one. Events that are in the inbox already do not change it.
func (c *Collector) storeEach(ctx context.Context, batch []pushed, settle settle) bool {
	all := true
	for i := range batch {
		all = c.store(ctx, batch[i:i+1], settle) && all
	}
	return all
}

// giveUp settles an event that can never be handled.
func (c *Collector) giveUp(ctx context.Context, e event.Event, cause error, settle settle) error {
	ctx, cancel := c.causeOf(ctx, e)
	defer cancel()
	return settle(ctx, e, cause)
}

// deliver puts a batch into its inbox, in the context of its first event. It runs in a worker of its own, where a panic
// would end the program.
func (c *Collector) deliver(ctx context.Context, batch []pushed) error {
	ctx, cancel := c.causeOf(ctx, batch[0].event)
	defer cancel()
	notices := make([]domain.Notice, len(batch))
	for i, p := range batch {
		notices[i] = p.notice
	}
	deliver := func(ctx context.Context, _ event.Event) error { return c.deliverEvent.deliver(ctx, notices) }
	if err := event.Protect(deliver)(ctx, batch[0].event); err != nil {
		return err
	}
	for _, p := range batch {
		c.deliverEvent.Counter.Count(ctx, OutcomeNotified, p.event)
	}
	return nil
}

// causeOf is the context of the cause of an event. It does not end with the Collector, which stores what it has taken.
func (c *Collector) causeOf(ctx context.Context, e event.Event) (context.Context, context.CancelFunc) {
	ctx = correlation.Remote(context.WithoutCancel(ctx), e.CorrelationID, e.TraceParent)
	return context.WithTimeout(ctx, stopTimeout)
}
