package domain

import (
	"crypto/ecdh"
	"encoding/base64"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"caravan/internal/document"
	"caravan/internal/id"
)

const (
	// MaxPushSubscriptions is how many devices of one user get push messages. Another one takes the place of the one that was
	// renewed least recently.
	MaxPushSubscriptions = 10
	// pushEndpointMax bounds an endpoint, in bytes. Those of the large push services have 200 to 800.
	pushEndpointMax = 2048
	// pushRenewal is how old the time of the last renewal may be before it is written again. Apps subscribe at each start.
	pushRenewal = day
	// authSize and publicKeySize are the sizes of the two keys (RFC 8291, 3.2 and 3.1), in bytes.
	authSize, publicKeySize = 16, 65
)

// PushTarget is where and how push messages reach one browser or app: its PushSubscription (W3C Push API). The endpoint is a
// capability: who knows it and the keys can send to the device, so all of it is a secret.
type PushTarget struct {
	// Endpoint is the URL at the push service.
	Endpoint string `json:"endpoint"`
	// P256dh is the public key of the device, and Auth its authentication secret, both in base64url without padding.
	P256dh string `json:"p256dh"`
	Auth   string `json:"auth"`
}

// PushSubscription is one device of a user.
type PushSubscription struct {
	ID string `json:"id"`
	PushTarget
	CreatedAt time.Time `json:"createdAt"`
	// RenewedAt is when the device subscribed last, to about a day.
	RenewedAt time.Time `json:"renewedAt"`
}

// PushSubscriptions are the devices of one user, in the order of their first subscription. They emit no events.
type PushSubscriptions struct {
	document.Root
	UserID string             `json:"userId"`
	Items  []PushSubscription `json:"items"`
}

// PushEndpoint says which user subscribed an endpoint last. Two people may use one browser: only the last one's messages are for it.
type PushEndpoint struct {
	document.Root
	UserID string `json:"userId"`
}

// Claim gives the endpoint to a user.
func (e *PushEndpoint) Claim(userID string) error {
	if e.UserID == userID {
		return document.ErrUnchanged
	}
	e.UserID = userID
	return nil
}

// EndpointID is the id of the PushEndpoint of a target.
func (t PushTarget) EndpointID() string { return id.Derive("push-endpoint", t.Endpoint) }

// NewPushTarget checks what a device sent and brings it into its only form. local also permits http and addresses of this machine,
// for tests. The error is [Violations] with the fields of PushSubscription.toJSON, and never contains a value.
func NewPushTarget(endpoint, p256dh, auth string, local bool) (PushTarget, error) {
	var v Violations
	var t PushTarget
	var err error
	if t.Endpoint, err = pushEndpoint(endpoint, local); err != nil {
		v.add("endpoint", "endpoint", "%v", err)
	}
	key, err := pushKey(p256dh, publicKeySize)
	if err == nil {
		_, err = ecdh.P256().NewPublicKey(key)
	}
	if err != nil {
		v.add("keys.p256dh", "key", "must be a point on the curve P-256, uncompressed, in base64url")
	}
	secret, err := pushKey(auth, authSize)
	if err != nil {
		v.add("keys.auth", "key", "must be %d bytes in base64url", authSize)
	}
	if len(v) > 0 {
		return PushTarget{}, v
	}
	t.P256dh, t.Auth = base64.RawURLEncoding.EncodeToString(key), base64.RawURLEncoding.EncodeToString(secret)
	return t, nil
}

// pushKey decodes base64url, with or without padding. The decoder would ignore line breaks.
func pushKey(text string, size int) ([]byte, error) {
	if len(text) > base64.StdEncoding.EncodedLen(size) || strings.ContainsAny(text, "\r\n") {
		return nil, fmt.Errorf("a key has %d bytes", size)
	}
	key, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimRight(text, "="))
	if err == nil && len(key) != size {
		err = fmt.Errorf("a key has %d bytes", size)
	}
	return key, err
}

// pushEndpoint checks the form of an endpoint. That its address is a public one is checked when a connection is made, as only
// that address counts.
func pushEndpoint(text string, local bool) (string, error) {
	if len(text) > pushEndpointMax {
		return "", fmt.Errorf("must be at most %d bytes", pushEndpointMax)
	}
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return "", fmt.Errorf("must be printable ASCII characters without spaces")
		}
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Opaque != "" {
		return "", fmt.Errorf("must be a URL")
	}
	if u.User != nil || u.Fragment != "" || strings.Contains(text, "#") {
		return "", fmt.Errorf("must have no user and no fragment")
	}
	u.Host = strings.ToLower(u.Host)
	if local && (u.Scheme == "http" || u.Scheme == "https") && isLoopback(u.Hostname()) {
		return u.String(), nil
	}
	if u.Scheme != "https" {
		return "", fmt.Errorf("must begin with https://")
	}
	if port := u.Port(); port != "" && port != "443" || strings.HasSuffix(u.Host, ":") {
		return "", fmt.Errorf("must have the port 443, or none")
	}
	u.Host = u.Hostname()
	if !isHostName(u.Host) {
		return "", fmt.Errorf("must have the name of a host, and not an address")
	}
	return u.String(), nil
}

func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.IsLoopback()
}

// isHostName reports whether a text is a name with a top-level domain. A name whose last label is a number may be read as an
// address, and the names of machines in a local network have only one label.
func isHostName(host string) bool {
	labels := strings.Split(host, ".")
	if len(host) > 253 || len(labels) < 2 {
		return false
	}
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	top := labels[len(labels)-1]
	return len(top) >= 2 && top[0] >= 'a' && top[0] <= 'z' && top != "local" && top != "localhost" && top != "internal"
}

// Subscribe adds a device, or renews it: there is one subscription for each endpoint. It returns document.ErrUnchanged if that was
// done lately.
func (p *PushSubscriptions) Subscribe(userID string, t PushTarget, now time.Time) error {
	now = now.UTC().Truncate(time.Millisecond)
	p.UserID = userID
	subscriptionID := PushSubscriptionID(userID, t)
	for i := range p.Items {
		if s := &p.Items[i]; s.ID == subscriptionID {
			if s.PushTarget == t && now.Sub(s.RenewedAt) < pushRenewal {
				return document.ErrUnchanged
			}
			s.PushTarget, s.RenewedAt = t, now
			return nil
		}
	}
	items := slices.Clone(p.Items)
	for len(items) >= MaxPushSubscriptions {
		oldest := 0
		for i := range items {
			if items[i].RenewedAt.Before(items[oldest].RenewedAt) {
				oldest = i
			}
		}
		items = slices.Delete(items, oldest, oldest+1)
	}
	p.Items = append(items, PushSubscription{ID: subscriptionID, PushTarget: t, CreatedAt: now, RenewedAt: now})
	return nil
}

// Remove removes subscriptions as they were read. One that was subscribed with other keys meanwhile stays. It returns
// document.ErrUnchanged if none is left to be removed.
func (p *PushSubscriptions) Remove(gone ...PushSubscription) error {
	kept := slices.DeleteFunc(slices.Clone(p.Items), func(s PushSubscription) bool {
		return slices.ContainsFunc(gone, func(g PushSubscription) bool { return g.ID == s.ID && g.PushTarget == s.PushTarget })
	})
	if len(kept) == len(p.Items) {
		return document.ErrUnchanged
	}
	p.Items = kept
	return nil
}

// Find returns the subscription with an id.
func (p *PushSubscriptions) Find(subscriptionID string) (PushSubscription, bool) {
	i := slices.IndexFunc(p.Items, func(s PushSubscription) bool { return s.ID == subscriptionID })
	if i < 0 {
		return PushSubscription{}, false
	}
	return p.Items[i], true
}

// PushSubscriptionID is the id of a user's subscription of an endpoint.
func PushSubscriptionID(userID string, t PushTarget) string {
	return id.Derive("push-subscription", userID, t.Endpoint)
}
