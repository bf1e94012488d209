package e2e

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"caravan/services/notifications/adapters/pushtest"
)

const pushSubscriptions = "/v1/notifications/push-subscriptions"

// pushedBody is a push message as a device reads it.
type pushedBody struct {
	ID      string `json:"id"`
	Kind    string `json:"kind"`
	Title   string `json:"title"`
	Body    string `json:"body"`
	Lang    string `json:"lang"`
	OrderID string `json:"orderId"`
}

// pushService starts a fake push service on this machine that takes messages of the stack.
func (s *stack) pushService(t *testing.T, c *customer) *pushtest.Service {
	t.Helper()
	var key struct {
		PublicKey string `json:"publicKey"`
	}
	c.get("/v1/notifications/push-key", &key)
	service := &pushtest.Service{PublicKey: key.PublicKey, Now: time.Now}
	server := httptest.NewServer(service)
	t.Cleanup(server.Close)
	service.Origin = server.URL
	return service
}

// subscribed subscribes a device and returns the id of its subscription.
func (c *customer) subscribed(d *pushtest.Device) string {
	var made struct {
		ID string `json:"id"`
	}
	c.must(http.StatusCreated, http.MethodPost, pushSubscriptions, d.JSON(), &made)
	return made.ID
}

// devices are the ids of a customer's subscriptions.
func (c *customer) devices() []string {
	var list struct {
		Items []struct {
			ID string `json:"id"`
		} `json:"items"`
	}
	c.get(pushSubscriptions, &list)
	ids := make([]string, len(list.Items))
	for i, item := range list.Items {
		ids[i] = item.ID
	}
	return ids
}

// read waits until a device has so many messages, and returns them.
func read(t *testing.T, d *pushtest.Device, want int) []pushedBody {
	t.Helper()
	var bodies []pushedBody
	eventually(t, "the push messages", func() error {
		if got := d.Messages(); len(got) != want {
			return errorf("there are %d and not %d", len(got), want)
		}
		return nil
	})
	for _, m := range d.Messages() {
		var body pushedBody
		if err := json.Unmarshal(m.Payload, &body); err != nil {
			t.Fatal(err)
		}
		if m.TTL <= 0 || m.Urgency == "" || m.Topic == "" {
			t.Errorf("a message has the TTL %d, the urgency %q and the topic %q", m.TTL, m.Urgency, m.Topic)
		}
		bodies = append(bodies, body)
	}
	return bodies
}

// TestPush follows orders to the devices of their customer, which a fake push service on this machine has. It verifies the signature
// of each request and decrypts the messages.
func TestPush(t *testing.T) {
	sh := open(t, shared(t))
	p, c := sh.product(100, 20), sh.customer(10_000)
	service := sh.stack.pushService(t, c)
	phone, laptop := service.Device(), service.Device()
	first := c.subscribed(phone)
	if again := c.subscribed(phone); again != first || len(c.devices()) != 1 {
		t.Errorf("a repeat gives %s beside %s", again, first)
	}
	second := c.subscribed(laptop)
	if _, ok := sh.stack.target.(*launched); !ok {
		c.must(http.StatusNoContent, http.MethodDelete, pushSubscriptions+"/"+first, nil, nil)
		t.Skipf("the programs of %s do not reach a push service of this machine", settings.target)
	}

	order := func() string {
		o := c.buys(p, 1)
		o.expect(t, "confirmed", "")
		return o.ID
	}
	one := order()
	for _, d := range []*pushtest.Device{phone, laptop} {
		if got := read(t, d, 1)[0]; got.Kind != "order-confirmed" || got.OrderID != one || got.Title != "Your order is confirmed" {
			t.Errorf("the message is %+v", got)
		}
	}

	// One device is served at once, and only the other one again.
	laptop.Answer(http.StatusServiceUnavailable, "Retry-After", "1")
	two := order()
	for _, d := range []*pushtest.Device{phone, laptop} {
		if got := read(t, d, 2)[1]; got.OrderID != two {
			t.Errorf("the message is %+v", got)
		}
	}
	if phone.Requests() != 2 || laptop.Requests() != 3 {
		t.Errorf("there were %d and %d requests", phone.Requests(), laptop.Requests())
	}

	// A refund follows the confirmation, and the device that is gone is removed.
	laptop.Answer(http.StatusGone)
	sh.admin.must(http.StatusAccepted, http.MethodPost, "/v1/orders/"+two+"/refund", map[string]any{"reason": "broken"}, nil)
	if got := read(t, phone, 3)[2]; got.Kind != "order-refunded" || got.OrderID != two {
		t.Errorf("the message is %+v", got)
	}
	eventually(t, "the removal", func() error {
		if left := c.devices(); len(left) != 1 || left[0] != first {
			return errorf("there are %v", left)
		}
		return nil
	})
	c.must(http.StatusNotFound, http.MethodDelete, pushSubscriptions+"/"+second, nil, nil)
	c.must(http.StatusNoContent, http.MethodDelete, pushSubscriptions+"/"+first, nil, nil)
	three := order()
	c.message(t, "order-confirmed", three, "sent") // the mail
	if faults := service.Faults(); len(faults) > 0 || phone.Requests() != 3 || laptop.Requests() != 4 {
		t.Errorf("at the end there were %d and %d requests, and %v", phone.Requests(), laptop.Requests(), faults)
	}
}
