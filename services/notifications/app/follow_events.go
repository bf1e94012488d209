package app

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"caravan/internal/event"
	"caravan/services/notifications/contract"
)

const (
	// linger is how long events are heard after the last stream has ended. A client that connects again needs no new subscription.
	linger = 30 * time.Second
	// listenFirst and listenMost are the pauses after a subscription that failed.
	listenFirst = 500 * time.Millisecond
	listenMost  = time.Minute
)

// LiveEvents delivers events to every replica that listens, from the time on at which it does. It may lose some.
type LiveEvents interface {
	// Listen passes the events of a topic on, until ctx ends or the subscription fails. It calls ready when it is subscribed.
	Listen(ctx context.Context, topic string, ready func(), take func(event.Event)) error
}

// FollowEvents lets the streams of this replica hear of events while there are any. Without a stream it costs nothing.
type FollowEvents struct {
	*Streams
	Live LiveEvents
}

// Do works until ctx ends.
func (u FollowEvents) Do(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-u.changed:
		}
		u.follow(ctx)
	}
}

// follow listens until there was no stream for a while.
func (u FollowEvents) follow(ctx context.Context) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var listeners sync.WaitGroup
	for _, topic := range contract.Producers() {
		listeners.Go(func() { u.listen(ctx, topic) })
	}
	idle := time.Duration(0)
	for u.inboxes.Clock.Sleep(ctx, time.Second) == nil && idle < linger {
		if idle += time.Second; u.beat() > 0 {
			idle = 0
		}
	}
	stop()
	listeners.Wait()
	if u.Count() > 0 {
		signal(u.changed) // one was opened meanwhile
	}
}

// listen listens to one topic, again after each failure. A stack whose files lack the component, or whose sidecar refuses it, never
// has a subscription: then there are no order statuses, and the inboxes are read more often.
func (u FollowEvents) listen(ctx context.Context, topic string) {
	pause, known := listenFirst, false
	for ctx.Err() == nil {
		heard := false
		err := u.Live.Listen(ctx, topic, func() {
			heard, pause, known = true, listenFirst, false
			u.hear(true)
		}, u.Take)
		if heard {
			u.hear(false)
		}
		if ctx.Err() != nil {
			return
		}
		level := slog.LevelWarn
		if known { // the first failure is enough for the log
			level = slog.LevelDebug
		}
		known = true
		u.inboxes.Log.Log(ctx, level, "events do not reach the streams directly; they are read from the inboxes", "topic", topic, "pause_ms", pause.Milliseconds(), "error", err)
		if u.inboxes.Clock.Sleep(ctx, pause) != nil {
			return
		}
		pause = min(pause*2, listenMost)
	}
}
