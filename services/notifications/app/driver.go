package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"caravan/internal/clock"
	"caravan/internal/correlation"
	"caravan/internal/document"
	"caravan/internal/event"
	"caravan/internal/id"
	"caravan/internal/workqueue"
	"caravan/services/notifications/domain"
)

// maxStarts bounds the threads that wait to be driven, and those that wait for their time. The sweep finds the others.
const maxStarts = 16384

// claimAhead is how many claimed threads may wait for each one that is driven. Most of them are sent while their claim lasts.
const claimAhead = 64

// dueTick is how often the driver looks for threads that are due.
const dueTick = 500 * time.Millisecond

// Outcomes of an attempt, for the DeliveryMeter.
const (
	DeliverySent       = "sent"
	DeliveryFailed     = "failed"     // for ever: refused, or after the last attempt
	DeliveryRetried    = "retried"    // it waits for another attempt
	DeliveryPostponed  = "postponed"  // a service that is needed before did not answer
	DeliveryHeld       = "held"       // until the quiet hours of the person end
	DeliverySuppressed = "suppressed" // the person does not want it
)

// DeliveryMeter counts attempts to deliver, by channel, kind and outcome. age is the time since the event.
type DeliveryMeter interface {
	Attempted(ctx context.Context, channel domain.Channel, kind, outcome string, age time.Duration)
}

// DriverOptions configure a Driver.
type DriverOptions struct {
	Rules domain.DeliveryRules
	// Attempt is the time limit of one attempt. A claim lasts twice as long: it may wait for its turn.
	Attempt time.Duration
	// Concurrency is how many threads are driven at once; at least 1.
	Concurrency int
	// FirstBackoff and MaxBackoff are the shortest and the longest pause before another attempt. Each pause is twice the one
	// before, less up to a quarter.
	FirstBackoff, MaxBackoff time.Duration
	// Jitter gives numbers from 0 up to 1.
	Jitter func() float64
}

// Driver sends the messages of threads. Any number of drivers in any number of replicas may work on one thread: its document
// decides by compare-and-swap which attempt sends a message, and that attempt claims it before.
type Driver struct {
	Threads     *Threads
	Senders     map[domain.Channel]Sender
	Preferences Wishes
	Meter       DeliveryMeter
	Clock       clock.Clock
	IDs         id.Source
	Log         *slog.Logger
	DriverOptions

	work *workqueue.Queue[start]

	mu      sync.Mutex
	running bool
	steady  time.Time // since then it has run, and read and written every thread
}

// start asks for a thread to be driven, in the context of what caused it.
type start struct {
	id     string
	thread *domain.Thread // as just stored, if it is known
	claims []string       // that this driver holds of some of its deliveries

	correlationID, traceParent string
}

// NewDriver completes a Driver. It works while Run runs.
func NewDriver(d *Driver) *Driver {
	d.work = workqueue.New(workqueue.Options[start]{
		Do: func(stop context.Context, _ string, s start) { d.drive(stop, s) }, Merge: start.with,
		Clock: d.Clock, Workers: d.Concurrency, Room: maxStarts, Tick: dueTick,
	})
	return d
}

// Claim returns a new claim for messages that this driver can send at once, and the zero Claim if it cannot.
func (d *Driver) Claim() domain.Claim {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.running || d.work.Ready() >= d.Concurrency*claimAhead {
		return domain.Claim{}
	}
	return d.claim()
}

func (d *Driver) claim() domain.Claim {
	return domain.Claim{By: d.IDs.New(), Until: d.Clock.Now().UTC().Add(2 * d.Attempt).Truncate(time.Millisecond)}
}

// Start asks for a thread to be driven soon. It never waits: the sweep finds a thread for which there is no room.
func (d *Driver) Start(ctx context.Context, id string) { d.queue(ctx, start{id: id}) }

// StartStored is Start for a thread that was just written, with the claim that it was written with. It saves a read and a write.
func (d *Driver) StartStored(ctx context.Context, id string, thread *domain.Thread, claim domain.Claim) {
	s := start{id: id, thread: thread}
	if claim.By != "" {
		s.claims = []string{claim.By}
	}
	d.queue(ctx, s)
}

func (d *Driver) queue(ctx context.Context, s start) {
	s.correlationID, s.traceParent = correlation.ID(ctx), correlation.Traceparent(ctx)
	d.work.Add(s.id, s)
}

// with is one start for two: it has the claims of both, and the thread is read.
func (s start) with(later start) start {
	later.thread, later.claims = nil, slices.Concat(s.claims, later.claims)
	return later
}

// later has a thread driven at a time.
func (d *Driver) later(s start, at time.Time) {
	s.thread = nil
	d.work.AddAt(s.id, s, at)
}

// Waiting is how many threads wait in this driver, for their turn or for their time.
func (d *Driver) Waiting() int { return d.work.Waiting() }

// Run drives threads until ctx ends. Then it finishes the attempts under way.
func (d *Driver) Run(ctx context.Context) error {
	d.open(true)
	defer d.open(false)
	return d.work.Run(ctx)
}

func (d *Driver) open(running bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running, d.steady = running, d.Clock.Now()
}

// failed notes that a thread could not be read or written.
func (d *Driver) failed() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.steady = d.Clock.Now()
}

// Steady reports whether the driver has worked for a while without a failure of the store, and no thread waits for its turn. Then
// each message that has been due for that while is being sent.
func (d *Driver) Steady(while time.Duration) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.running && d.Clock.Now().Sub(d.steady) >= while && d.work.Ready() == 0
}

// drive sends what is due of a thread, and schedules the rest.
func (d *Driver) drive(stop context.Context, s start) {
	ctx := correlation.Remote(context.WithoutCancel(stop), s.correlationID, s.traceParent)
	thread, err := s.thread, error(nil)
	if thread == nil {
		thread, err = d.Threads.Get(ctx, s.id)
	}
	for err == nil && stop.Err() == nil {
		place, at, found := d.next(thread, s.claims)
		if !found {
			return
		}
		if at.After(d.Clock.Now()) {
			s.claims = nil // they are used
			d.later(s, at)
			return
		}
		thread, err = d.attempt(ctx, stop, s, thread, place)
	}
	if errors.Is(err, errUnstored) {
		s.claims = nil // the message may have been sent, so it waits for the end of its claim, which makes its outcome unknown
	}
	if err != nil && !errors.Is(err, document.ErrNotFound) { // an entry in the feed may have no thread
		d.Log.WarnContext(ctx, "delivering failed and is tried again", "aggregate", s.id, "error", err)
		d.failed()
		d.later(s, d.Clock.Now().Add(d.pause(1)))
	}
}

// next is the delivery of a thread that is due first, and when. One that is claimed already for this driver is due at once.
func (d *Driver) next(t *domain.Thread, claims []string) (place int, at time.Time, found bool) {
	for i, delivery := range t.Deliveries {
		if delivery.State.Ended() {
			continue
		}
		due := t.DueAt(i, d.Rules.Skew)
		if heldBy(delivery, claims) != "" {
			due = time.Time{}
		}
		if !found || due.Before(at) {
			place, at, found = i, due, true
		}
	}
	return place, at, found
}

// heldBy is that one of some claims which may send a delivery, or "".
func heldBy(delivery domain.Delivery, claims []string) string {
	if slices.ContainsFunc(claims, delivery.Holds) {
		return delivery.Claim.By
	}
	return ""
}

// attempt claims a delivery, unless that is done, sends its message and stores the result. It returns the thread as stored.
func (d *Driver) attempt(ctx, stop context.Context, s start, t *domain.Thread, place int) (*domain.Thread, error) {
	claim, held := t.Deliveries[place].Claim, heldBy(t.Deliveries[place], s.claims)
	if held == "" || d.Clock.Now().Add(d.Attempt).After(claim.Until) {
		claim = d.claim()
		var err error
		t, err = d.Threads.Update(ctx, s.id, func(t *domain.Thread) error {
			return t.Take(place, held, claim, d.Rules, d.Clock.Now())
		})
		if errors.Is(err, domain.ErrNotDue) {
			return d.Threads.Get(ctx, s.id)
		}
		if err != nil {
			return nil, fmt.Errorf("claiming: %w", err)
		}
	}
	if !t.Deliveries[place].Holds(claim.By) { // a later status has superseded it
		return t, nil
	}
	result := d.send(ctx, s.id, t, place, claim)
	return d.conclude(ctx, stop, s.id, place, claim, result)
}

// send sends the message of a delivery, in the time of its claim.
func (d *Driver) send(ctx context.Context, threadID string, t *domain.Thread, place int, claim domain.Claim) (r domain.Result) {
	delivery := t.Deliveries[place]
	ctx, cancel := context.WithTimeout(ctx, d.Attempt)
	defer cancel()
	protected := event.Protect(func(ctx context.Context, _ event.Event) error {
		return d.message(ctx, domain.DeliveryID(threadID, place), t, delivery)
	})
	err := protected(ctx, event.Event{})
	r = resultOf(err)
	outcome := DeliverySent
	switch {
	case r.Failed && delivery.Attempts >= d.Rules.Attempts, r.Refused:
		outcome = DeliveryFailed
	case r.Failed:
		outcome = DeliveryRetried
		r.Next = latest(d.Clock.Now().Add(d.pause(delivery.Attempts)), r.Next)
	case r.Postponed && !r.Next.IsZero():
		outcome = DeliveryHeld
	case r.Postponed:
		outcome = DeliveryPostponed
		r.Next = d.Clock.Now().Add(d.pause(delivery.Postponed + 1))
	case r.Suppressed:
		outcome = DeliverySuppressed
	}
	d.Meter.Attempted(ctx, t.Channel, delivery.Kind, outcome, d.Clock.Now().Sub(delivery.OccurredAt))
	attributes := []any{"delivery", domain.DeliveryID(threadID, place), "channel", t.Channel, "kind", delivery.Kind, "attempt", claim.By}
	switch {
	case r.Sent:
		d.Log.InfoContext(ctx, "message sent", attributes...)
	case !r.Suppressed && outcome != DeliveryHeld:
		d.Log.WarnContext(ctx, "message not sent", append(append(attributes, "outcome", outcome, "error", err), event.Stack(err)...)...)
	}
	return r
}

// message asks for what the person wants, and sends.
func (d *Driver) message(ctx context.Context, deliveryID string, t *domain.Thread, delivery domain.Delivery) error {
	kind, known := domain.KindOf(delivery.Type)
	sender := d.Senders[t.Channel]
	if !known || sender == nil {
		return Postponed(fmt.Errorf("this version sends no %s by %s", delivery.Kind, t.Channel))
	}
	wishes, err := d.Preferences.Of(ctx, t.UserID)
	if err != nil {
		return Postponed(err)
	}
	if !wishes.Wants(kind, t.Channel) {
		return Suppressed(domain.ReasonSwitchedOff)
	}
	if until := wishes.HeldUntil(kind, t.Channel, d.Clock.Now()); !until.IsZero() {
		return Held(until)
	}
	return sender.Send(ctx, Message{ID: deliveryID, UserID: t.UserID, Kind: kind, Wishes: wishes, Delivery: delivery})
}

// errUnstored says that an attempt was made, and its result is not stored.
var errUnstored = errors.New("storing the result")

// conclude stores the result of an attempt. That a message was sent, or has reached some devices, is stored however long it takes: this
// program never sends it there again. Only when the program stops before, another attempt does.
func (d *Driver) conclude(ctx, stop context.Context, threadID string, place int, claim domain.Claim, r domain.Result) (*domain.Thread, error) {
	for step := 1; ; step++ {
		t, err := d.Threads.Update(ctx, threadID, func(t *domain.Thread) error {
			return t.Conclude(place, claim.By, r, d.Rules, d.Clock.Now())
		})
		if err == nil {
			return t, nil
		}
		if !r.Sent && len(r.Served) == 0 || stop.Err() != nil {
			return nil, fmt.Errorf("%w: %w", errUnstored, err)
		}
		d.Log.WarnContext(ctx, "a message was sent, and storing that failed and is tried again", "aggregate", threadID, "error", err)
		_ = d.Clock.Sleep(stop, min(d.pause(step), concludePause)) // at the end of the program it tries once more
	}
}

// concludePause is the longest pause between attempts to store that a message was sent.
const concludePause = 5 * time.Second

// latest is the later one of two times.
func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// pause is the pause after a number of failed attempts, from 1 on.
func (d *Driver) pause(failures int) time.Duration {
	pause := min(d.FirstBackoff<<min(max(failures-1, 0), 20), d.MaxBackoff)
	return pause - time.Duration(float64(pause)/4*d.Jitter())
}
