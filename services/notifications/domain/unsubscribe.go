package domain

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
	"time"
)

// unsubscribeValid is how long the link of a mail works. People look for it in old mails, too.
const unsubscribeValid = 366 * day

// Bounds of a token.
const (
	// UnsubscribeMax is the longest token, in characters.
	UnsubscribeMax = 512
	// userIDMax bounds the id of a user in a token.
	userIDMax = 128
)

// unsubscribeVersion is the first byte of a token. Tokens of another form get another one.
const unsubscribeVersion = 1

// ErrUnsubscribe says that a token is forged, damaged or too old, or is about a kind that cannot be switched off.
var ErrUnsubscribe = errors.New("this link is damaged or too old")

// Unsubscribe is what the link in a message asks for: that a user gets no more messages of a kind in a channel. Its token is the
// only record of it, and the signature its only protection, so that it works without a login.
type Unsubscribe struct {
	UserID  string
	Kind    string
	Channel Channel
	// Until is when the link ends, to the second.
	Until time.Time
}

// NewUnsubscribe is the request of the link in a message about an event. It depends on nothing else, so the same message has the
// same link on each attempt to send it.
func NewUnsubscribe(userID string, k Kind, c Channel, occurredAt time.Time) Unsubscribe {
	return Unsubscribe{UserID: userID, Kind: k.Name, Channel: c, Until: occurredAt.Add(unsubscribeValid).UTC().Truncate(time.Second)}
}

// Token writes the request as text for a URL:
//
//	base64url( version, end in seconds as 8 bytes, user "\n" kind "\n" channel, HMAC-SHA256 of all this )
func (u Unsubscribe) Token(key []byte) string {
	signed := []byte{unsubscribeVersion}
	signed = binary.BigEndian.AppendUint64(signed, uint64(u.Until.Unix()))
	signed = append(signed, u.UserID+"\n"+u.Kind+"\n"+string(u.Channel)...)
	return base64.RawURLEncoding.EncodeToString(append(signed, unsubscribeMAC(key, signed)...))
}

// ParseUnsubscribe reads a token. It returns [ErrUnsubscribe] for one that Token did not write with this key, or that has ended.
// An empty key accepts none.
func ParseUnsubscribe(token string, key []byte, now time.Time) (Unsubscribe, error) {
	const head = 1 + 8
	if len(key) == 0 || len(token) > UnsubscribeMax {
		return Unsubscribe{}, ErrUnsubscribe
	}
	// Strict: of several texts with the same bytes only one is a token. The decoder skips line breaks, so there must be none.
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || strings.ContainsAny(token, "\r\n") || len(raw) < head+sha256.Size {
		return Unsubscribe{}, ErrUnsubscribe
	}
	signed, mac := raw[:len(raw)-sha256.Size], raw[len(raw)-sha256.Size:]
	if !hmac.Equal(mac, unsubscribeMAC(key, signed)) || signed[0] != unsubscribeVersion {
		return Unsubscribe{}, ErrUnsubscribe
	}
	parts := strings.Split(string(signed[head:]), "\n")
	until := time.Unix(int64(binary.BigEndian.Uint64(signed[1:head])), 0).UTC()
	if len(parts) != 3 || parts[0] == "" || len(parts[0]) > userIDMax || !now.Before(until) {
		return Unsubscribe{}, ErrUnsubscribe
	}
	return Unsubscribe{UserID: parts[0], Kind: parts[1], Channel: Channel(parts[2]), Until: until}, nil
}

// About is the kind of the request. It returns [ErrUnsubscribe] if this version does not know the kind, or does not let it be
// switched off in the channel.
func (u Unsubscribe) About() (Kind, error) {
	k, known := KindNamed(u.Kind)
	if !known || !k.Offers(u.Channel) || k.Fixed(u.Channel) {
		return Kind{}, ErrUnsubscribe
	}
	return k, nil
}

// unsubscribeMAC is the signature. The text before the content keeps it apart from anything else that the key may sign one day.
func unsubscribeMAC(key, signed []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("caravan unsubscribe\n"))
	mac.Write(signed)
	return mac.Sum(nil)
}
