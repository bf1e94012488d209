package domain

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"caravan/internal/id"
)

// PushMax bounds the plaintext of a push message, in bytes: a push service need not take more than 4,096 bytes (RFC 8030, 7.2), of
// which the encryption uses 103 (RFC 8291, 4).
const PushMax = 3993

// PushContent is a push message as the app of the user gets it, in JSON.
type PushContent struct {
	// ID is the id of the delivery. A message that comes twice has the same one.
	ID   string `json:"id"`
	Kind string `json:"kind"`
	// Tag is for the option tag of showNotification: a message takes the place of the one with the same tag.
	Tag        string    `json:"tag"`
	Title      string    `json:"title"`
	Body       string    `json:"body"`
	Lang       Locale    `json:"lang"`
	OrderID    string    `json:"orderId,omitempty"`
	OccurredAt time.Time `json:"occurredAt"`
}

// RenderPush makes the push message of a delivery.
func RenderPush(deliveryID string, k Kind, locale Locale, d Delivery) (PushContent, error) {
	m, err := Render(k, locale, d.Data)
	if err != nil {
		return PushContent{}, err
	}
	return PushContent{
		ID: deliveryID, Kind: k.Name, Tag: PushTopic(deliveryID, k), Title: m.Title, Body: m.PushBody(), Lang: locale.known(),
		OrderID: d.Data.OrderID, OccurredAt: d.OccurredAt,
	}, nil
}

// Encode returns the JSON of the message, at most PushMax bytes: the body is shortened if there is no other way.
func (c PushContent) Encode() ([]byte, error) {
	for body := []rune(c.Body); ; body = body[:len(body)/2] {
		c.Body = shorten(c.Body, max(len(body), 1))
		raw, err := json.Marshal(c)
		if err != nil {
			return nil, fmt.Errorf("encoding a push message: %w", err)
		}
		if len(raw) <= PushMax {
			return raw, nil
		}
		if len(body) <= 1 {
			return nil, fmt.Errorf("a push message has %d bytes without its text", len(raw))
		}
	}
}

// PushTopic is the topic of a push message (RFC 8030, 5.4): the push service replaces a message that it has not delivered yet by a
// later one with the same topic. The statuses of one order have one topic, and any other message has its own. A topic is at most 32
// characters of base64url, and says nothing to the push service.
func PushTopic(deliveryID string, k Kind) string {
	topic := id.Derive("push-topic", deliveryID)
	if threadID, _, ok := ParseDeliveryID(deliveryID); ok && k.Rank > 0 {
		topic = id.Derive("push-topic", threadID)
	}
	return strings.ReplaceAll(topic, "-", "")
}

// PushTTL is how long a push service is to keep the message about an event: until the event is as old as its kind permits. It is 0
// if it is older; then there is no use in sending it.
func (k Kind) PushTTL(occurredAt, now time.Time) time.Duration {
	return max(min(k.TTL-now.Sub(occurredAt), k.TTL), 0).Truncate(time.Second)
}

// HeldUntil is when a message of a kind may be sent by a channel at the earliest because of the user's quiet hours, and the zero
// time if it may be sent now. Only push is held, and not what is about the safety of the account.
func (p *Preferences) HeldUntil(k Kind, c Channel, now time.Time) time.Time {
	if c != Push || k.Security {
		return time.Time{}
	}
	return p.QuietUntil(now)
}
