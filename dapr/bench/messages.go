package bench

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"caravan/dapr/client"
)

// What the users of the benchmark get about their orders, beside the entry in the inbox.
const (
	MessagesNone  = "none"
	MessagesEmail = "email"
	MessagesPush  = "push"
)

// MessageChoices are all of them.
func MessageChoices() []string { return []string{MessagesNone, MessagesEmail, MessagesPush} }

// devices is a push service on this machine that takes every message. Unlike a real one it looks at nothing, so that it uses little of
// the processor that is measured.
type devices struct {
	server *httptest.Server
	taken  atomic.Int64
}

func newDevices() *devices {
	d := &devices{}
	d.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		d.taken.Add(1)
		w.WriteHeader(http.StatusCreated)
	}))
	return d
}

func (d *devices) close() { d.server.Close() }

// subscription is one of a new device.
func (d *devices) subscription() (client.PushSubscribing, error) {
	private, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return client.PushSubscribing{}, fmt.Errorf("making a device: %w", err)
	}
	return client.PushSubscribing{Endpoint: d.server.URL + "/" + rand.Text(), Keys: client.PushKeys{
		P256Dh: base64.RawURLEncoding.EncodeToString(private.PublicKey().Bytes()),
		Auth:   base64.RawURLEncoding.EncodeToString([]byte(rand.Text())[:16]),
	}}, nil
}

// wish sets which messages all users get. Subscriptions of an earlier benchmark end. devices is only for push.
func (s *shop) wish(ctx context.Context, messages string, devices *devices) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for _, user := range s.users {
		group.Go(func() error {
			if err := prefer(ctx, user, messages); err != nil {
				return fmt.Errorf("setting preferences: %w", limited(err))
			}
			if err := unsubscribe(ctx, user); err != nil {
				return fmt.Errorf("ending subscriptions: %w", limited(err))
			}
			if messages != MessagesPush {
				return nil
			}
			device, err := devices.subscription()
			if err == nil {
				_, err = user.SubscribeToPush(ctx, device)
			}
			if err != nil {
				return fmt.Errorf("subscribing to push messages at this machine (a stack that runs needs CARAVAN_PUSH_ALLOW_LOCAL=true in notifications): %w", limited(err))
			}
			return nil
		})
	}
	return group.Wait()
}

// prefer switches off what goes by another channel than that of messages. The rest is as by default.
func prefer(ctx context.Context, user *client.Client, messages string) error {
	wishes, err := user.GetNotificationPreferences(ctx)
	if err != nil {
		return err
	}
	wishes.Rules = unwanted(wishes.Rules, messages)
	_, err = user.SetNotificationPreferences(ctx, wishes)
	return err
}

// unwanted are the rules about orders of other channels, switched off. No other message comes while orders are placed.
func unwanted(all []client.NotificationRule, messages string) (off []client.NotificationRule) {
	off = []client.NotificationRule{} // an empty list, and not null
	for _, rule := range all {
		outside := rule.Channel == client.NotificationRuleChannelEmail || rule.Channel == client.NotificationRuleChannelPush
		if outside && string(rule.Channel) != messages && strings.HasPrefix(rule.Kind, "order-") {
			off = append(off, client.NotificationRule{Kind: rule.Kind, Channel: rule.Channel})
		}
	}
	return off
}

// unsubscribe ends all subscriptions of a user.
func unsubscribe(ctx context.Context, user *client.Client) error {
	list, err := user.ListPushSubscriptions(ctx)
	if client.Slug(err) == "push-off" {
		return nil
	}
	if err != nil {
		return err
	}
	for _, one := range list.Items {
		if err := user.UnsubscribeFromPush(ctx, one.ID); err != nil && client.Status(err) != http.StatusNotFound {
			return err
		}
	}
	return nil
}

// quiet is the share of a processor below which notifications has nothing left to send.
const quiet = 0.05

// settle waits until notifications has sent the messages of a load, which is seen by its processor time, so that it counts for the
// orders of the load. At most it waits for as long as limit.
func settle(ctx context.Context, stack Target, limit time.Duration) error {
	const each = time.Second
	last, known, err := notificationsTime(ctx, stack)
	for until := time.Now().Add(limit); known && err == nil && time.Now().Before(until); {
		select {
		case <-time.After(each):
		case <-ctx.Done():
			return ctx.Err()
		}
		var now time.Duration
		if now, known, err = notificationsTime(ctx, stack); float64(now-last) < quiet*float64(each) {
			return err
		}
		last = now
	}
	return err
}

// notificationsTime is the processor time of all replicas of notifications so far.
func notificationsTime(ctx context.Context, stack Target) (sum time.Duration, known bool, err error) {
	report, err := stack.Report(ctx)
	for _, p := range report.Processes {
		if app, _, _ := strings.Cut(p.Name, "-"); app == "notifications" && !strings.HasSuffix(p.Name, "daprd") {
			sum, known = sum+p.CPU, true
		}
	}
	return sum, known, err
}
