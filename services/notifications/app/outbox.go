package app

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"caravan/internal/clock"
	"caravan/services/notifications/domain"
)

// outboxWrites bounds the threads that one call of Record writes at once.
const outboxWrites = 16

// Outbox records the deliveries of notices by the channels with an effect outside. They are stored before their event counts as
// handled, so that none is lost, and claimed in the same write, so that the driver of this replica sends them at once.
type Outbox struct {
	Threads     *Threads
	Preferences Wishes
	Driver      *Driver
	Channels    []domain.Channel
	// Devices may be nil without push.
	Devices Devices
	Clock   clock.Clock
}

// Devices says who can get push messages.
type Devices interface {
	// Any reports whether a user has subscribed a device.
	Any(ctx context.Context, userID string) (bool, error)
}

// Takes reports whether notices of a type may have deliveries. A nil Outbox has none.
func (o *Outbox) Takes(typ string) bool {
	if o == nil {
		return false
	}
	kind, known := domain.KindOf(typ)
	for _, channel := range o.Channels {
		if known && kind.Offers(channel) {
			return true
		}
	}
	return false
}

// Types are the types of the events whose notices may have deliveries.
func (o *Outbox) Types() []string {
	var types []string
	for _, kind := range domain.Kinds() {
		for _, typ := range kind.Events {
			if o.Takes(typ) {
				types = append(types, typ)
			}
		}
	}
	return types
}

// Record stores the deliveries of notices. It is idempotent. A message whose kind is on by default costs one read and one write
// of its thread, and a part of an entry of the index; another one costs them only if the person has switched it on.
func (o *Outbox) Record(ctx context.Context, notices []domain.Notice) error {
	if o == nil {
		return nil
	}
	type key struct {
		channel domain.Channel
		thread  string
	}
	var threads []key // in the order of the notices
	byThread := make(map[key][]domain.Notice)
	for _, n := range notices {
		for _, channel := range o.Channels {
			wanted, err := o.maybeWanted(ctx, n, channel)
			if err != nil {
				return err
			}
			if wanted {
				k := key{channel, domain.ThreadID(channel, n)}
				if byThread[k] == nil {
					threads = append(threads, k)
				}
				byThread[k] = append(byThread[k], n)
			}
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(outboxWrites)
	for _, k := range threads {
		group.Go(func() error { return o.record(ctx, k.channel, k.thread, byThread[k]) })
	}
	return group.Wait()
}

// maybeWanted reports whether a notice needs a delivery. What is on by default needs one: the wishes of the person are read when
// it is sent. A push message also needs a device.
func (o *Outbox) maybeWanted(ctx context.Context, n domain.Notice, channel domain.Channel) (bool, error) {
	kind, known := domain.KindOf(n.Type)
	if !known || !kind.Offers(channel) {
		return false, nil
	}
	if channel == domain.Push { // most people have no device, for whom this read saves two writes
		if subscribed, err := o.Devices.Any(ctx, n.UserID); err != nil || !subscribed {
			return false, err
		}
	}
	if kind.ByDefault(channel) {
		return true, nil
	}
	wishes, err := o.Preferences.Of(ctx, n.UserID)
	if err != nil {
		return false, err
	}
	return wishes.Wants(kind, channel), nil
}

func (o *Outbox) record(ctx context.Context, channel domain.Channel, threadID string, notices []domain.Notice) error {
	claim, added := o.Driver.Claim(), false
	thread, err := o.Threads.Update(ctx, threadID, func(t *domain.Thread) error {
		err := t.Add(channel, notices, claim, o.Driver.Rules, o.Clock.Now())
		added = err == nil
		return err
	})
	if err != nil {
		return fmt.Errorf("recording deliveries by %s: %w", channel, err)
	}
	if added {
		o.Driver.StartStored(ctx, threadID, thread, claim)
	}
	return nil
}
