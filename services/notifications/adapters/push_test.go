package adapters_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"caravan/internal/clock"
	"caravan/services/notifications/adapters"
	"caravan/services/notifications/adapters/pushtest"
	"caravan/services/notifications/adapters/vapid"
	"caravan/services/notifications/app"
	"caravan/services/notifications/domain"
)

// newPush makes a Push and a fake push service on this machine.
func newPush(t *testing.T) (adapters.Push, *pushtest.Service) {
	t.Helper()
	key, err := vapid.New(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	service := &pushtest.Service{PublicKey: key.Public, Now: time.Now}
	server := httptest.NewServer(service)
	t.Cleanup(server.Close)
	service.Origin = server.URL
	transport := adapters.PublicTransport(true)
	t.Cleanup(transport.CloseIdleConnections)
	return adapters.Push{Transport: transport, Key: key, Contact: "mailto:shop@example.com", Clock: clock.System{}}, service
}

func messageTo(t *testing.T, d *pushtest.Device, payload string) app.PushMessage {
	t.Helper()
	p256dh, auth := d.Keys()
	target, err := domain.NewPushTarget(d.Endpoint(), p256dh, auth, true)
	if err != nil {
		t.Fatal(err)
	}
	return app.PushMessage{Target: target, Payload: []byte(payload), Topic: "0123456789abcdef", Urgency: domain.UrgencyHigh, TTL: time.Hour + 900*time.Millisecond}
}

func TestADeviceReadsWhatWasPushed(t *testing.T) {
	for _, contact := range []string{"mailto:shop@example.com", "https://shop.example.com/contact"} {
		p, service := newPush(t)
		p.Contact = contact
		d := service.Device()
		for _, payload := range []string{`{"title":"Ä"}`, strings.Repeat("x", domain.PushMax)} {
			if err := p.Push(t.Context(), messageTo(t, d, payload)); err != nil {
				t.Fatal(err, service.Faults())
			}
			got := d.Messages()
			last := got[len(got)-1]
			if string(last.Payload) != payload || last.TTL != 3600 || last.Urgency != "high" || last.Topic != "0123456789abcdef" {
				t.Errorf("the device has %d bytes, %d, %s, %s", len(last.Payload), last.TTL, last.Urgency, last.Topic)
			}
		}
		if err := p.Push(t.Context(), messageTo(t, d, strings.Repeat("x", domain.PushMax+1))); !errors.Is(err, app.ErrPushRefused) {
			t.Errorf("a longer message: %v", err)
		}
		if faults := service.Faults(); len(faults) > 0 {
			t.Error(faults)
		}
	}
}

// Devices of one person get the same payload at the same time: nothing is written behind its end.
func TestThePayloadOfOtherDevicesIsLeftAlone(t *testing.T) {
	p, service := newPush(t)
	m := messageTo(t, service.Device(), "")
	room := make([]byte, 8192)
	m.Payload = append(room[:0], `{"title":"x"}`...)
	if err := p.Push(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	for i, b := range room[len(m.Payload):] {
		if b != 0 {
			t.Fatalf("%d was written %d bytes behind the payload", b, i)
		}
	}
}

func TestWhatThePushServiceAnswersDecides(t *testing.T) {
	p, service := newPush(t)
	for status, want := range map[int]error{
		200: nil, 201: nil, 202: nil, 204: nil, 404: app.ErrPushGone, 410: app.ErrPushGone, 400: app.ErrPushRefused, 401: app.ErrPushRefused,
		403: app.ErrPushRefused, 413: app.ErrPushRefused, 301: app.ErrPushRefused, 304: app.ErrPushRefused, 307: app.ErrPushRefused,
	} {
		d := service.Device()
		d.Answer(status, "Location", d.Endpoint())
		if err := p.Push(t.Context(), messageTo(t, d, "x")); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%d: %v", status, err)
		}
		if d.Requests() != 1 {
			t.Errorf("%d leads to %d requests", status, d.Requests())
		}
	}
	for header, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-7": 0, "soon": 0, "99999999999999": 0, "Fri, 27 Nov 1026 00:00:00 GMT": 0,
		time.Now().Add(time.Hour).UTC().Format(http.TimeFormat): time.Hour,
	} {
		for _, status := range []int{408, 429, 500, 502, 503} {
			d := service.Device()
			d.Answer(status, "Retry-After", header)
			var later *app.PushLaterError
			if err := p.Push(t.Context(), messageTo(t, d, "x")); !errors.As(err, &later) || later.After > want || later.After < want-5*time.Second {
				t.Errorf("%d with %q: %+v", status, header, err)
			}
		}
	}
}

// No error has a part of the endpoint: it would be stored and logged.
func TestErrorsDoNotShowTheEndpoint(t *testing.T) {
	p, service := newPush(t)
	refused := service.Device()
	refused.Answer(http.StatusForbidden)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	for name, endpoint := range map[string]string{
		"refused":       refused.Endpoint(),
		"stalls":        "http://" + silent.Addr().String() + "/push/SECRET",
		"closed":        "http://" + closed.Addr().String() + "/push/SECRET",
		"no TLS":        strings.Replace(service.Origin, "http:", "https:", 1) + "/push/SECRET",
		"unknown name":  "https://secret.invalid/push/SECRET",
		"no URL":        "https://secret.example.com:port/SECRET\x7f",
		"other address": "https://10.0.0.1/SECRET",
		"other port":    "https://8.8.8.8:22/SECRET",
		"other scheme":  "gopher://127.0.0.1/SECRET",
	} {
		m := messageTo(t, refused, "x")
		m.Target.Endpoint = endpoint
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		err := p.Push(ctx, m)
		cancel()
		text := fmt.Sprintf("%v %+v", err, err)
		for _, secret := range []string{"SECRET", "127.0.0.1", "10.0.0.1", "8.8.8.8", "secret", "push/"} {
			if err == nil || strings.Contains(text, secret) {
				t.Errorf("%s: %s", name, text)
			}
		}
		if (name == "other address" || name == "other port") && !errors.Is(err, app.ErrPushRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A name that resolves to this machine is found out when the connection is made.
func TestANameOfAnInternalAddressIsRefused(t *testing.T) {
	p, service := newPush(t)
	transport := adapters.PublicTransport(false)
	defer transport.CloseIdleConnections()
	p.Transport = transport
	d := service.Device()
	m := messageTo(t, d, "x")
	for _, host := range []string{"localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0"} {
		m.Target.Endpoint = strings.Replace(d.Endpoint(), "127.0.0.1", host, 1)
		if err := p.Push(t.Context(), m); err == nil {
			t.Errorf("%s is reached", host)
		}
	}
	if d.Requests() != 0 {
		t.Errorf("%d requests", d.Requests())
	}
}
