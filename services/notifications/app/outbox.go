package app

import (
	"context"
	"fmt"
	"slices"

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

// Record stores the deliveries of notices of one user. It is idempotent. It reads their preferences, and for push their devices. What
// the person has switched off is not stored: it would only repeat what their preferences say. The others cost one read and one write
// of their thread each, and a part of an entry of the index. Preferences are read once more when a message is sent.
func (o *Outbox) Record(ctx context.Context, notices []domain.Notice) error {
	if o == nil {
		return nil
	}
	wanted, err := o.wanted(ctx, notices)
	if err != nil {
		return err
	}
	type key struct {
		channel domain.Channel
		thread  string
	}
	var threads []key // in the order of the notices
	byThread := make(map[key][]domain.Notice)
	for _, m := range wanted {
		k := key{m.channel, domain.ThreadID(m.channel, m.notice)}
		if byThread[k] == nil {
			threads = append(threads, k)
		}
		byThread[k] = append(byThread[k], m.notice)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(outboxWrites)
	for _, k := range threads {
		group.Go(func() error { return o.record(ctx, k.channel, k.thread, byThread[k]) })
	}
	return group.Wait()
}

// offer is a notice that its kind offers by a channel.
type offer struct {
	notice  domain.Notice
	kind    domain.Kind
	channel domain.Channel
}

// wanted are the notices of one user that matter for their messages, by channel, in the order of the notices: those that the user
// wants, and a status that ends earlier ones which they want. A push message also needs a device.
func (o *Outbox) wanted(ctx context.Context, notices []domain.Notice) ([]offer, error) {
	offers := o.offers(notices)
	if len(offers) == 0 {
		return nil, nil
	}
	userID := offers[0].notice.UserID
	wishes, err := o.Preferences.Of(ctx, userID)
	if err != nil {
		return nil, err
	}
	offers = slices.DeleteFunc(offers, func(m offer) bool {
		return !wishes.Wants(m.kind, m.channel) && !wishes.WantsEarlier(m.kind, m.channel)
	})
	isPush := func(m offer) bool { return m.channel == domain.Push }
	if !slices.ContainsFunc(offers, isPush) {
		return offers, nil
	}
	subscribed, err := o.Devices.Any(ctx, userID) // most people have no device, for whom this read saves two writes
	if err != nil {
		return nil, err
	}
	if !subscribed {
		offers = slices.DeleteFunc(offers, isPush)
	}
	return offers, nil
}

// offers are all messages that notices may have.
func (o *Outbox) offers(notices []domain.Notice) []offer {
	var all []offer
	for _, n := range notices {
		kind, known := domain.KindOf(n.Type)
		for _, channel := range o.Channels {
			if known && kind.Offers(channel) {
				all = append(all, offer{n, kind, channel})
			}
		}
	}
	return all
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
