package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"caravan/internal/clock"
	"caravan/services/notifications/domain"
)

// PushMessage is one message to one device.
type PushMessage struct {
	Target  domain.PushTarget
	Payload []byte
	Topic   string
	Urgency string
	TTL     time.Duration
}

// Pusher sends push messages. Its error is ErrPushGone or ErrPushRefused, or a PushLaterError; any other error may pass. None
// contains a part of the endpoint.
type Pusher interface {
	Push(ctx context.Context, m PushMessage) error
}

var (
	// ErrPushGone says that the subscription does not exist any more.
	ErrPushGone = errors.New("the subscription has ended")
	// ErrPushRefused says that the message can never be sent to this device.
	ErrPushRefused = errors.New("the push service refused the message")
)

// PushLaterError says that the push service asks to wait.
type PushLaterError struct {
	Reason string
	After  time.Duration
}

// Error implements error.
func (e *PushLaterError) Error() string { return e.Reason }

// PushSender is the Sender of the channel push: one message to each device of the person.
type PushSender struct {
	Subscriptions *PushSubscriptions
	Pusher        Pusher
	Clock         clock.Clock
	Log           *slog.Logger
	// MaxWait bounds what a push service may ask for.
	MaxWait time.Duration
	// Slots has room for the messages that are sent at once. A push service without an answer must not keep e-mails waiting, so
	// it has less room than the driver. It is shared by all copies of the sender.
	Slots chan struct{}
	// Timeout bounds the calls for one message, and SlotWait the wait for room.
	Timeout, SlotWait time.Duration
}

var errNoSlot = errors.New("too many push messages are being sent")

// Send implements Sender. A device that got the message before is left out. If sending fails for some devices and may succeed
// later, it is tried again for these.
func (s PushSender) Send(ctx context.Context, m Message) error {
	now := s.Clock.Now()
	ttl := m.Kind.PushTTL(m.Delivery.OccurredAt, now)
	if ttl <= 0 {
		return Suppressed(domain.ReasonTooOld)
	}
	own, lost, err := s.Subscriptions.usable(ctx, m.UserID)
	if err != nil {
		return Postponed(err)
	}
	content, err := domain.RenderPush(m.ID, m.Kind, m.Wishes.Language(), m.Delivery)
	if err != nil {
		return Refused(fmt.Errorf("rendering %s: %w", m.Kind.Name, err))
	}
	payload, err := content.Encode()
	if err != nil {
		return Refused(err)
	}
	release, err := s.slot(ctx)
	if err != nil {
		return Postponed(err)
	}
	results := pushResults{gone: lost, served: m.Delivery.Served}
	s.all(ctx, &results, own, PushMessage{Payload: payload, Topic: content.Tag, Urgency: m.Kind.Urgency, TTL: ttl})
	release()
	if err := s.Subscriptions.remove(ctx, m.UserID, results.gone); err != nil {
		s.Log.WarnContext(ctx, "removing push subscriptions that ended failed; the next message tries again", "error", err)
	}
	return results.outcome(now, s.MaxWait)
}

func (s PushSender) slot(ctx context.Context) (release func(), err error) {
	select {
	case s.Slots <- struct{}{}:
		return func() { <-s.Slots }, nil
	default:
	}
	wait, cancel := context.WithCancel(ctx)
	defer cancel()
	over := make(chan struct{})
	go func() { // ends with the wait
		defer close(over)
		_ = s.Clock.Sleep(wait, s.SlotWait)
	}()
	select {
	case s.Slots <- struct{}{}:
		return func() { <-s.Slots }, nil
	case <-over:
		return nil, errNoSlot
	}
}

// all sends a message to all devices at once that do not have it yet. There are few, see domain.MaxPushSubscriptions.
func (s PushSender) all(ctx context.Context, results *pushResults, own []domain.PushSubscription, m PushMessage) {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	var devices sync.WaitGroup
	for _, one := range own {
		if results.has(one.ID) {
			continue
		}
		devices.Go(func() {
			m := m
			m.Target = one.PushTarget
			results.add(one, s.Pusher.Push(ctx, m))
		})
	}
	devices.Wait()
}
