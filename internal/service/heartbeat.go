package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"caravan/internal/clock"
	"caravan/internal/sidecar"
)

const (
	beatTimeout  = 15 * time.Second       // a sidecar that lost the broker tries for some seconds before it says so
	beatRest     = time.Minute            // at most between heartbeats that are not taken
	judgeOften   = 4                      // judgements between two heartbeats
	beatsCalled  = 16                     // heartbeats of the last call, for each replica known: e^-16 that none comes by chance
	beatsNeeded  = 3                      // taken and not come back, before a subscription is called dead
	boundsHung   = 10                     // how many bounds a sidecar may neither take heartbeats nor refuse them
	replicasMet  = 20                     // replicas that the last call reckons with at least: one that just started knows of none
	callPause    = 100 * time.Millisecond // in the last call, for what was sent so far to come back
	boundsKnown  = 20                     // how many bounds a replica is remembered that has sent a heartbeat
	spreadOfBeat = 0.2                    // the part of the interval that is chance, so that replicas do not beat as one
)

// patient is what a watch needs of the sidecar it watches.
type patient interface {
	Outbound(ctx context.Context) error
	Subscriptions(ctx context.Context) ([]string, error)
	Beat(ctx context.Context, topic string, h sidecar.Heartbeat) error
	Shutdown(ctx context.Context, force bool) error
}

// watch sees to it that the program's subscriptions live. It sends heartbeats through each topic and
// expects something to come back, be it theirs, another replica's or an event. A subscription that is
// dead is mended by a new sidecar; a handler that never returns, by a new program.
//
// Replicas of a consumer share its deliveries: each sends as many heartbeats as the others, so each can
// expect its share, and whatever comes to it proves its own subscription. That nothing came for a while
// may be chance, so before anything is ended there is a last call of many heartbeats at once (docs/adr/0008).
type watch struct {
	settings   HeartbeatSettings
	app        string
	replica    string
	clock      clock.Clock
	jitter     func() float64
	log        *slog.Logger
	sidecar    patient
	subscriber *sidecar.Subscriber
	mends      metric.Int64Counter

	stuck chan error // takes the reason why the program has to end

	mu    sync.Mutex
	lines []*line
	sent  int64
	rest  time.Duration // before the next mend
	mend  time.Time     // when the last mend was
	count int64         // mends so far
}

// line is one subscription.
type line struct {
	topic  string // as deliveries name it
	full   string // as the broker knows it
	since  time.Time
	listed bool      // the sidecar says that it has it
	missed time.Time // since when the sidecar does not list it
	taken  int       // heartbeats taken since anything came, without a failure between them
	first  time.Time // when the first of them was
	hung   time.Time // since when heartbeats are neither taken nor refused
	called time.Time // when the last call was; zero if there was none
	dead   bool
}

// pulse is how a subscription fares, for people.
type pulse struct {
	// LastDelivery is how many seconds ago the last message came, heartbeat or event; absent before the first.
	LastDelivery *float64 `json:"lastDeliverySeconds,omitempty"`
	// InFlight counts deliveries whose handlers have not returned, Oldest is the age of the oldest in seconds.
	InFlight int     `json:"inFlight"`
	Oldest   float64 `json:"oldestSeconds,omitempty"`
	// Dead is whether heartbeats are taken and do not come back.
	Dead bool `json:"dead,omitempty"`
	// Mends counts how often the sidecar was started anew, for any subscription.
	Mends int64 `json:"mends,omitempty"`
}

// watchSubscriptions sets up the watch of a program that has subscriptions.
func (s *Service) watchSubscriptions(p patient) error {
	if len(s.topics) == 0 {
		return nil
	}
	if s.Settings.Heartbeat.Every <= 0 {
		s.Log.Warn("dead subscriptions are not repaired: heartbeat.every is 0")
		return nil
	}
	w := &watch{
		settings: s.Settings.Heartbeat, app: s.Settings.App.ID, replica: s.IDs.New(), clock: s.Clock, jitter: s.Jitter, log: s.Log,
		sidecar: p, subscriber: s.subscriber, stuck: make(chan error, 1), rest: s.Settings.Heartbeat.FirstRest,
	}
	for _, topic := range s.topics {
		w.lines = append(w.lines, &line{topic: topic, full: topic})
	}
	if err := w.instruments(s.Telemetry.Meter); err != nil {
		return err
	}
	s.watch = w
	s.Background("subscriptions", w.run)
	return nil
}

func (w *watch) instruments(meter metric.Meter) (err error) {
	if w.mends, err = meter.Int64Counter("caravan.subscription.mends",
		metric.WithDescription("Restarts of the sidecar, or of the program, for a subscription that did not live, by topic and reason.")); err != nil {
		return fmt.Errorf("making the counter of mends: %w", err)
	}
	silence, err := meter.Float64ObservableGauge("caravan.subscription.silence", metric.WithUnit("s"),
		metric.WithDescription("Time since anything was delivered from a topic."))
	if err != nil {
		return fmt.Errorf("making the gauge of silence: %w", err)
	}
	oldest, err := meter.Float64ObservableGauge("caravan.delivery.oldest", metric.WithUnit("s"),
		metric.WithDescription("Age of the oldest delivery of a topic whose handler has not returned."))
	if err != nil {
		return fmt.Errorf("making the gauge of deliveries: %w", err)
	}
	_, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for topic, p := range w.pulses() {
			of := metric.WithAttributes(attribute.String("topic", topic))
			if p.LastDelivery != nil {
				o.ObserveFloat64(silence, *p.LastDelivery, of)
			}
			o.ObserveFloat64(oldest, p.Oldest, of)
		}
		return nil
	}, silence, oldest)
	if err != nil {
		return fmt.Errorf("registering the gauges of subscriptions: %w", err)
	}
	return nil
}

// broken gives the reason for which the program has to end; it never does without a watch.
func (w *watch) broken() <-chan error {
	if w == nil {
		return nil
	}
	return w.stuck
}

// pulses says how each subscription fares.
func (w *watch) pulses() map[string]pulse {
	now := w.clock.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make(map[string]pulse, len(w.lines))
	for _, l := range w.lines {
		seen := w.subscriber.Traffic(l.topic)
		p := pulse{InFlight: seen.InFlight, Dead: l.dead, Mends: w.count}
		if !seen.Last.IsZero() {
			ago := now.Sub(seen.Last).Seconds()
			p.LastDelivery = &ago
		}
		if !seen.Oldest.IsZero() {
			p.Oldest = now.Sub(seen.Oldest).Seconds()
		}
		all[l.full] = p
	}
	return all
}

// failing is why the program is not ready: the subscriptions that are dead.
func (w *watch) failing() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var dead []string
	for _, l := range w.lines {
		if l.dead {
			dead = append(dead, l.full)
		}
	}
	if len(dead) == 0 {
		return nil
	}
	return fmt.Errorf("nothing comes back from %s", strings.Join(dead, ", "))
}

// run beats and judges until ctx ends.
func (w *watch) run(ctx context.Context) error {
	w.mu.Lock()
	for _, l := range w.lines {
		l.since = w.clock.Now()
	}
	w.mu.Unlock()
	var hearts sync.WaitGroup
	defer hearts.Wait()
	for _, l := range w.lines {
		hearts.Go(func() { w.beatOn(ctx, l) })
	}
	for {
		if w.clock.Sleep(ctx, w.settings.Every/judgeOften) != nil {
			return nil
		}
		w.judge(ctx)
	}
}

// beatOn sends heartbeats through one topic. While they are not taken the pauses grow: calls to a sidecar
// that waits for its broker pile up in it.
func (w *watch) beatOn(ctx context.Context, l *line) {
	pause := w.settings.Every
	for {
		wait := time.Duration(float64(pause) * (1 + spreadOfBeat*(w.jitter()-0.5)))
		if w.beat(ctx, l) {
			pause = w.settings.Every
		} else {
			pause = min(pause*2, max(beatRest, w.settings.Every))
		}
		if w.clock.Sleep(ctx, wait) != nil {
			return
		}
	}
}

// beat sends one heartbeat and keeps the books of those that were taken.
func (w *watch) beat(ctx context.Context, l *line) bool {
	w.mu.Lock()
	w.sent++
	h := sidecar.Heartbeat{App: w.app, Replica: w.replica, Number: w.sent, Time: w.clock.Now()}
	full := l.full
	w.mu.Unlock()
	calling, cancel := context.WithTimeout(ctx, beatTimeout)
	defer cancel()
	err := w.sidecar.Beat(calling, full, h)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		// The broker is away, or the sidecar. Whether the subscription lives can be told when it is back.
		l.taken = 0
		if !errors.Is(calling.Err(), context.DeadlineExceeded) {
			l.hung = time.Time{}
		} else if l.hung.IsZero() {
			l.hung = h.Time
		}
		w.log.DebugContext(ctx, "a heartbeat was not taken", "topic", full, "error", err)
		return false
	}
	l.hung = time.Time{}
	if l.taken == 0 {
		l.first = h.Time
	}
	l.taken++
	return true
}

// judge looks at every subscription once, and mends what is dead.
func (w *watch) judge(ctx context.Context) {
	w.look(ctx)
	now := w.clock.Now()
	var dead, call []*line
	var reasons []string
	w.mu.Lock()
	for _, l := range w.lines {
		seen := w.subscriber.Traffic(l.topic)
		if !seen.Oldest.IsZero() && now.Sub(seen.Oldest) > w.settings.Stuck {
			w.end(ctx, l, seen, now)
		}
		reason, due := l.judge(now, seen.Last, w.settings)
		switch {
		case due:
			call = append(call, l)
			l.called = now
		case l.dead:
			dead, reasons = append(dead, l), append(reasons, reason)
		}
	}
	due := now.Sub(w.mend) >= w.rest || w.mend.IsZero()
	if len(dead) == 0 && !w.mend.IsZero() && now.Sub(w.mend) > 2*w.settings.MostRest {
		w.rest, w.mend = w.settings.FirstRest, time.Time{} // it has lived for long: the next fault is a new one
	}
	w.mu.Unlock()
	for _, l := range call {
		w.callLast(ctx, l)
	}
	if len(dead) > 0 && due {
		w.restart(ctx, dead, slices.Compact(slices.Sorted(slices.Values(reasons))))
	}
}

// judge decides whether a subscription is dead, and why, or whether the last call for it is due. It lives
// as soon as anything came after what was last held against it.
func (l *line) judge(now, last time.Time, settings HeartbeatSettings) (reason string, call bool) {
	if !l.listed && !l.missed.IsZero() && now.Sub(l.missed) >= settings.Bound && now.Sub(l.since) >= settings.Bound {
		l.dead = true
		return "the sidecar has no such subscription", false
	}
	if !l.hung.IsZero() && now.Sub(l.hung) >= boundsHung*settings.Bound && !last.After(l.hung) {
		// A sidecar without a broker says so within seconds. One whose component waits for an answer that went to
		// another never does; nor does one whose broker stands still, so this takes its time.
		l.dead = true
		return "heartbeats are neither taken nor refused", false
	}
	if last.After(l.first) && l.taken > 0 {
		l.taken = 0 // they come; count from the next one
		l.called = time.Time{}
		l.dead = false
		return "", false
	}
	if l.taken < beatsNeeded || now.Sub(l.first) < settings.Bound {
		l.called = time.Time{}
		l.dead = l.dead && l.taken > 0 // without heartbeats that were taken nothing is known
		return "", false
	}
	if l.called.IsZero() {
		return "", true
	}
	l.dead = l.dead || now.Sub(l.called) >= settings.Every
	return "heartbeats are taken and do not come back", false
}

// look asks the sidecar which subscriptions it has. A topic of the program's own name space may be listed
// with its name in front.
func (w *watch) look(ctx context.Context) {
	listed, err := w.sidecar.Subscriptions(ctx)
	now := w.clock.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.lines {
		if err != nil { // the sidecar is away: a new one starts with a clean slate
			l.missed, l.listed, l.taken, l.hung, l.since = time.Time{}, false, 0, time.Time{}, now
			continue
		}
		own := w.app + "." + l.topic
		l.listed = slices.Contains(listed, l.topic)
		l.full = l.topic
		if !l.listed && slices.Contains(listed, own) {
			l.listed, l.full = true, own
		}
		switch {
		case l.listed:
			l.missed = time.Time{}
		case l.missed.IsZero():
			l.missed = now
		}
	}
}

// callLast sends many heartbeats at once, so that it can hardly be chance if none comes to this replica, and
// stops when anything has come.
func (w *watch) callLast(ctx context.Context, l *line) {
	replicas := w.subscriber.Replicas(w.app, w.clock.Now().Add(-boundsKnown*w.settings.Bound))
	w.log.InfoContext(ctx, "a topic is silent: the last call before the sidecar is started anew", "topic", l.full, "replicas", replicas)
	began := w.clock.Now()
	for range max(replicas+1, replicasMet) {
		for range beatsCalled {
			if !w.beat(ctx, l) {
				return
			}
		}
		if w.clock.Sleep(ctx, callPause) != nil || w.subscriber.Traffic(l.topic).Last.After(began) {
			return
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	l.called = w.clock.Now() // the last of them get as long to come back as the first
}

// end asks for the end of a program whose handler does not return: nothing in it can end a goroutine.
func (w *watch) end(ctx context.Context, l *line, seen sidecar.Traffic, now time.Time) {
	reason := fmt.Errorf("a handler of %s has kept event %q for %s: %w", l.full, seen.OldestEvent, now.Sub(seen.Oldest).Round(time.Second), errStuck)
	select {
	case w.stuck <- reason:
		w.mends.Add(ctx, 1, metric.WithAttributes(attribute.String("topic", l.full), attribute.String("reason", "stuck")))
	default: // it has been asked for
	}
}

// errStuck says that a handler does not return.
var errStuck = errors.New("it is stuck")
