package adapters

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	webpush "github.com/SherClockHolmes/webpush-go"

	"caravan/internal/clock"
	"caravan/services/notifications/adapters/vapid"
	"caravan/services/notifications/app"
)

// Push is an app.Pusher over the Web Push protocol (RFC 8030), with messages that only the device can read (RFC 8291) and the
// identification of the shop (RFC 8292).
type Push struct {
	// Transport connects to the push services, see PublicTransport.
	Transport http.RoundTripper
	Key       vapid.Key
	// Contact is how the operator of a push service reaches the shop: mailto: or https:.
	Contact string
	Clock   clock.Clock
}

// answerMax bounds what is read of an answer.
const answerMax = 4 << 10

// errRedirect stops a redirect: it may lead anywhere, and a push service has no need for it.
var errRedirect = fmt.Errorf("%w: it redirects", app.ErrPushRefused)

// Push implements app.Pusher. Nothing in its errors comes from the endpoint or from the answer but the status.
func (p Push) Push(ctx context.Context, m app.PushMessage) error {
	client := &http.Client{Transport: p.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return errRedirect }}
	payload := slices.Clip(m.Payload) // the package pads it in place if there is room, and other devices get the same payload at the same time
	response, err := webpush.SendNotificationWithContext(ctx, payload, &webpush.Subscription{
		Endpoint: m.Target.Endpoint, Keys: webpush.Keys{Auth: m.Target.Auth, P256dh: m.Target.P256dh},
	}, &webpush.Options{
		HTTPClient: client, Topic: m.Topic, TTL: int(m.TTL / time.Second), Urgency: webpush.Urgency(m.Urgency),
		// The package writes mailto: before everything that does not begin with https:.
		Subscriber: strings.TrimPrefix(p.Contact, "mailto:"), VAPIDPublicKey: p.Key.Public, VAPIDPrivateKey: p.Key.Private,
	})
	if response != nil {
		defer response.Body.Close()
		_, _ = io.CopyN(io.Discard, response.Body, answerMax) // a connection whose answer was read can be used again
	}
	if err != nil {
		return pushFailure(err)
	}
	return p.verdict(response)
}

// verdict is what the answer of a push service means (RFC 8030, 5 and 8).
func (p Push) verdict(r *http.Response) error {
	switch {
	case r.StatusCode >= 200 && r.StatusCode < 300:
		return nil
	case r.StatusCode == http.StatusNotFound || r.StatusCode == http.StatusGone:
		return app.ErrPushGone
	case r.StatusCode == http.StatusTooManyRequests || r.StatusCode == http.StatusRequestTimeout || r.StatusCode >= 500:
		return &app.PushLaterError{
			Reason: fmt.Sprintf("the push service answers %d", r.StatusCode), After: retryAfter(r.Header.Get("Retry-After"), p.Clock.Now()),
		}
	}
	return fmt.Errorf("%w: %d", app.ErrPushRefused, r.StatusCode)
}

// retryAfter reads the header Retry-After (RFC 9110, 10.2.3), and is 0 for one that cannot be read.
func retryAfter(text string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// pushFailure is a call that got no answer. The errors of net and net/http have the endpoint or its host in their text, so only their
// kind is kept.
func pushFailure(err error) error {
	var request *url.Error
	var name *net.DNSError
	switch {
	case errors.Is(err, errRedirect):
		return errRedirect
	case errors.Is(err, errNotPublic):
		return fmt.Errorf("%w: %w", app.ErrPushRefused, errNotPublic)
	case !errors.As(err, &request): // it was not sent: the keys or the endpoint are wrong
		return fmt.Errorf("%w: it cannot be encrypted for this device", app.ErrPushRefused)
	case request.Timeout():
		return errors.New("the push service does not answer in time")
	case errors.As(err, &name):
		return errors.New("the name of the push service is not found")
	}
	return errors.New("the push service cannot be reached")
}
