package sim

import (
	"context"
	"crypto/ecdh"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"caravan/dapr/client"
	"caravan/services/notifications/adapters/pushtest"
	notifications "caravan/services/notifications/domain"
)

// pushPrivateKey is the key of the simulated shop: any 32 bytes.
const pushPrivateKey = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"

// pushOrigin is the URL of the simulated push service, without a path.
const pushOrigin = "https://push.example"

// device is a device of a customer with a push subscription. The seed decides its keys.
type device struct {
	path    string
	private *ecdh.PrivateKey
	auth    []byte
	// messages are those that the push service has taken for it, by the id of the delivery.
	messages map[string][]*taken
}

// device makes a device that the push service knows.
func (w *World) device(name string) *device {
	key := sha256.Sum256(fmt.Appendf(nil, "the key of %s, %d", name, w.seed))
	private, err := ecdh.P256().NewPrivateKey(key[:])
	if err != nil {
		panic(fmt.Sprintf("the device %s has no key: %v", name, err)) // one of 2^32 numbers is none
	}
	d := &device{path: "/" + name, private: private, auth: key[:16], messages: make(map[string][]*taken)}
	w.devices[d.path] = d
	return d
}

// subscription is what the device sends to the shop.
func (d *device) subscription() client.PushSubscribing {
	return client.PushSubscribing{Endpoint: pushOrigin + d.path, Keys: client.PushKeys{
		P256Dh: base64.RawURLEncoding.EncodeToString(d.private.PublicKey().Bytes()), Auth: base64.RawURLEncoding.EncodeToString(d.auth),
	}}
}

// read decrypts a message and returns the id of its delivery.
func (d *device) read(body []byte) (string, error) {
	raw, err := pushtest.Decrypt(d.private, d.auth, body)
	if err != nil {
		return "", err
	}
	var content notifications.PushContent
	err = json.Unmarshal(raw, &content)
	return content.ID, err
}

// outside is what the programs reach without their sidecar: the push service.
type outside struct{ life *life }

// RoundTrip answers a message.
func (o outside) RoundTrip(r *http.Request) (*http.Response, error) {
	w, began := o.life.world, o.life.world.now()
	in, err := copyOf(r)
	if err != nil {
		return nil, err
	}
	var response *http.Response
	var took *taken
	err = w.ask(r.Context(), o.life, "push "+in.header.Get("Topic")+" to "+r.URL.Path, func(c *call) {
		if o.life.replica.frozen == TheProgram { // it cannot make calls
			return
		}
		w.after(w.latency(), "effect "+c.label, func() {
			var status int
			if status, took = w.push(o.life, r.URL.Path, in.body, began); status == 0 {
				return
			}
			w.after(w.latency(), "answer "+c.label, func() {
				response = respond(status, "", nil)
				w.answer(c, nil)
			})
		})
	})
	if err != nil {
		return nil, err
	}
	if took != nil {
		took.answered.Store(true)
	}
	return response, nil
}

// pushTimeout is the time limit of notifications for a message. One that comes later may belong to an attempt that has ended.
const pushTimeout = 10 * time.Second

// push takes a message for a device. The status is 0 if the answer is lost.
func (w *World) push(l *life, path string, body []byte, began time.Time) (status int, took *taken) {
	if w.chance("push refused", w.faults.PushFails) {
		return http.StatusServiceUnavailable, nil
	}
	d := w.devices[path]
	if d == nil { // not one of a customer
		return http.StatusCreated, nil
	}
	id, err := d.read(body)
	if err != nil {
		w.wrongMessages = append(w.wrongMessages, fmt.Sprintf("the push message to %s cannot be read: %v", path, err))
		return http.StatusBadRequest, nil
	}
	if w.now().Sub(began) < pushTimeout {
		w.checkMessage("push message to "+path, id, d.messages[id])
	}
	took = &taken{by: l, at: w.now()}
	d.messages[id] = append(d.messages[id], took)
	if w.chance("push reply lost", w.faults.PushReplyLost) {
		return 0, nil
	}
	return http.StatusCreated, took
}

// Message is a message to one person by one channel outside the app.
type Message struct {
	Channel notifications.Channel
	ID      string // of the delivery
}

// messages counts all messages. Of push messages it counts those to one device.
func (w *World) messages() map[Message]int {
	counts := make(map[Message]int)
	for id, mails := range w.mails {
		counts[Message{notifications.Email, id}] = len(mails)
	}
	for _, d := range w.devices {
		for id, pushes := range d.messages {
			m := Message{notifications.Push, id}
			counts[m] = max(counts[m], len(pushes))
		}
	}
	return counts
}

// subscribe subscribes the devices of a customer.
func (c *customer) subscribe() {
	for _, d := range c.devices {
		err := c.insist("subscribing", func(ctx context.Context) (bool, error) {
			_, err := c.client.SubscribeToPush(ctx, d.subscription())
			return refused(err), err
		})
		if err != nil {
			c.shop.fail("%s could not subscribe: %v", c.name, err)
		}
	}
}

// strangePushes checks that each push message belongs to a delivery.
func (w *World) strangePushes() (violations []string) {
	for path, d := range w.devices {
		for id := range d.messages {
			if _, known := w.delivery(id); !known {
				violations = append(violations, "the device "+path+" has the message "+id+", of which there is no delivery")
			}
		}
	}
	slices.Sort(violations)
	return violations
}

// pushes checks that each device of a customer got the last status of each order, and nothing twice except where nobody can know.
func (c *customer) pushes(statuses map[string]string) (violations []string) {
	found := func(format string, args ...any) {
		violations = append(violations, c.name+": "+fmt.Sprintf(format, args...))
	}
	me, err := read(c, "the account", c.client.GetOwnUser)
	if err != nil {
		return []string{fmt.Sprintf("%s: the account can not be read: %v", c.name, err)}
	}
	for threadID, thread := range c.shop.threads {
		if thread.UserID != me.ID || thread.Channel != notifications.Push {
			continue
		}
		for place, d := range thread.Deliveries {
			for _, device := range c.devices {
				n := len(device.messages[notifications.DeliveryID(threadID, place)])
				if d.State == notifications.DeliverySent && (n == 0 || n > 1 && !d.Unknown) {
					found("%s has %d push messages about %s", device.path, n, d.EventID)
				}
			}
		}
	}
	for orderID, want := range statuses {
		for _, device := range c.devices {
			last := c.lastStatus(notifications.Push, me.ID, orderID, func(id string) []*taken { return device.messages[id] })
			if last != want {
				found("the last push message to %s about order %s is %q; it should be %s", device.path, orderID, last, want)
			}
		}
	}
	slices.Sort(violations)
	return violations
}
