package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync/atomic"
	"time"

	"caravan/internal/clock"
	"caravan/internal/document"
	"caravan/services/notifications/domain"
)

// ChannelHistory records since when messages of each kind are sent by each channel. The audit needs it: an event from before has no
// message, and that is right.
type ChannelHistory struct {
	Inboxes *Inboxes
	// Channels are those that are on in this program.
	Channels []domain.Channel
	Clock    clock.Clock

	documents *document.Repository[channelDocument, *channelDocument]
	noted     atomic.Bool
}

// channelDocument is the one document of the history. A kind and channel that is absent is off.
type channelDocument struct {
	document.Root
	Since map[string]time.Time `json:"since"`
}

// channelsID is the id of the document, and channelsPrefix begins its key.
const (
	channelsID     = "all"
	channelsPrefix = "channels/"
)

// rollout is how long programs of the version before may still handle events after a new program has started.
const rollout = 10 * time.Minute

// NewChannelHistory makes a ChannelHistory of a program.
func NewChannelHistory(inboxes *Inboxes, channels ...domain.Channel) *ChannelHistory {
	return &ChannelHistory{
		Inboxes: inboxes, Channels: channels, Clock: inboxes.Clock,
		documents: document.NewRepository[channelDocument](inboxes.Store,
			document.Options{Prefix: channelsPrefix, Clock: inboxes.Clock, IDs: inboxes.IDs}),
	}
}

// Note records what this program sends, before it handles its first event. A nil ChannelHistory records nothing.
func (h *ChannelHistory) Note(ctx context.Context) error {
	if h == nil || h.noted.Load() {
		return nil
	}
	since, err := h.since(ctx)
	if err != nil {
		return err
	}
	_, err = h.documents.Update(ctx, channelsID, func(d *channelDocument) error {
		now := make(map[string]time.Time)
		for _, kind := range domain.Kinds() {
			for _, channel := range h.Channels {
				if !kind.Offers(channel) {
					continue
				}
				key := sentBy(kind, channel)
				now[key] = since
				if before, known := d.Since[key]; known {
					now[key] = before
				}
			}
		}
		if maps.EqualFunc(now, d.Since, time.Time.Equal) {
			return document.ErrUnchanged
		}
		d.Since = now
		return nil
	})
	if err != nil {
		return fmt.Errorf("recording the channels: %w", err)
	}
	h.noted.Store(true)
	return nil
}

// since is the time from which on what this program sends first is complete: always, if no event was handled before.
func (h *ChannelHistory) since(ctx context.Context) (time.Time, error) {
	before, _, err := h.Inboxes.Registered(ctx, "", 1)
	if err != nil {
		return time.Time{}, fmt.Errorf("recording the channels: %w", err)
	}
	if len(before) == 0 {
		return time.Time{}, nil
	}
	return h.Clock.Now().Add(rollout).UTC().Truncate(time.Second), nil
}

// Since returns a function which reports whether events of a time have messages of a kind by a channel.
func (h *ChannelHistory) Since(ctx context.Context) (func(kind domain.Kind, channel domain.Channel, at time.Time) bool, error) {
	d, err := h.documents.Get(ctx, channelsID)
	if err != nil && !errors.Is(err, document.ErrNotFound) {
		return nil, fmt.Errorf("reading since when channels are on: %w", err)
	}
	return func(kind domain.Kind, channel domain.Channel, at time.Time) bool {
		if d == nil {
			return false
		}
		since, known := d.Since[sentBy(kind, channel)]
		return known && !at.Before(since)
	}, nil
}

// sentBy names a kind that is sent by a channel. One that users must switch on is another one than one that they have by default.
func sentBy(kind domain.Kind, channel domain.Channel) string {
	name := string(channel) + "/" + kind.Name
	if !kind.ByDefault(channel) {
		name += "/optional"
	}
	return name
}
