// Package pushtest has a fake push service with fake devices, for tests. It does what a push service and a browser check: it verifies
// who sends (RFC 8292), and decrypts messages with the key of the device (RFC 8291).
package pushtest

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Message is one message that a device got.
type Message struct {
	Payload        []byte
	Topic, Urgency string
	TTL            int
}

// Service is the fake push service. It is an http.Handler.
type Service struct {
	// Origin is its URL without a path.
	Origin string
	// PublicKey is the only key from which it takes messages: the one that devices subscribed with.
	PublicKey string
	Now       func() time.Time

	mu      sync.Mutex
	devices map[string]*Device
	faults  []string
}

// Device is a fake device with one subscription.
type Device struct {
	service *Service
	id      string
	private *ecdh.PrivateKey
	auth    []byte

	answers  []answer
	requests int
	messages []Message
}

type answer struct {
	status int
	header map[string]string
	after  bool // the message is kept all the same
}

// Device makes a device with a subscription.
func (s *Service) Device() *Device {
	private, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		panic(err) // the system has no random numbers
	}
	d := &Device{service: s, id: rand.Text(), private: private, auth: []byte(rand.Text())[:16]}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.devices == nil {
		s.devices = make(map[string]*Device)
	}
	s.devices[d.id] = d
	return d
}

// Endpoint is the secret URL of the device.
func (d *Device) Endpoint() string { return d.service.Origin + "/push/" + d.id }

// Keys are the public key and the authentication secret of the device.
func (d *Device) Keys() (p256dh, auth string) {
	return base64.RawURLEncoding.EncodeToString(d.private.PublicKey().Bytes()), base64.RawURLEncoding.EncodeToString(d.auth)
}

// JSON is the subscription as PushSubscription.toJSON of a browser gives it.
func (d *Device) JSON() string {
	p256dh, auth := d.Keys()
	raw, _ := json.Marshal(map[string]any{ // only strings
		"endpoint": d.Endpoint(), "expirationTime": nil, "keys": map[string]string{"p256dh": p256dh, "auth": auth},
	})
	return string(raw)
}

// Answer sets the status of the next answer, once, and headers of it: name, value, name, value. Further calls set those after it.
func (d *Device) Answer(status int, headers ...string) { d.add(answer{status: status}, headers) }

// Lose has the next message kept, and answered with a status all the same.
func (d *Device) Lose(status int) { d.add(answer{status: status, after: true}, nil) }

func (d *Device) add(a answer, headers []string) {
	a.header = make(map[string]string)
	for pair := range slices.Chunk(headers, 2) {
		a.header[pair[0]] = pair[1]
	}
	d.service.mu.Lock()
	defer d.service.mu.Unlock()
	d.answers = append(d.answers, a)
}

// Messages are those that the device got, in their order.
func (d *Device) Messages() []Message {
	d.service.mu.Lock()
	defer d.service.mu.Unlock()
	return slices.Clone(d.messages)
}

// Requests is how many messages were sent to the device, with those that were answered with a failure.
func (d *Device) Requests() int {
	d.service.mu.Lock()
	defer d.service.mu.Unlock()
	return d.requests
}

// Faults are what was wrong in the requests. There must be none.
func (s *Service) Faults() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.faults)
}

// bodyMax is what a push service has to take (RFC 8030, 7.2).
const bodyMax = 4096

// ServeHTTP takes a message for a device.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, bodyMax+1))
	s.mu.Lock()
	defer s.mu.Unlock()
	device := s.devices[strings.TrimPrefix(r.URL.Path, "/push/")]
	if device == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	device.requests++
	message, status := Message{}, http.StatusCreated
	if err == nil {
		message, status, err = s.read(device, r, body)
	}
	if err != nil {
		s.faults = append(s.faults, err.Error())
		w.WriteHeader(status)
		return
	}
	if len(device.answers) > 0 {
		next := device.answers[0]
		device.answers = device.answers[1:]
		for name, value := range next.header {
			w.Header().Set(name, value)
		}
		status = next.status
		if !next.after && status != http.StatusCreated {
			w.WriteHeader(status)
			return
		}
	}
	device.messages = append(device.messages, message)
	w.WriteHeader(status)
}

// read checks a request and decrypts its message.
func (s *Service) read(d *Device, r *http.Request, body []byte) (Message, int, error) {
	if r.Method != http.MethodPost || r.Header.Get("Content-Encoding") != "aes128gcm" || len(body) > bodyMax {
		return Message{}, http.StatusBadRequest, fmt.Errorf("%s with encoding %q and %d bytes", r.Method, r.Header.Get("Content-Encoding"), len(body))
	}
	if err := s.identify(r.Header.Get("Authorization")); err != nil {
		return Message{}, http.StatusForbidden, err
	}
	ttl, err := strconv.Atoi(r.Header.Get("TTL"))
	if err != nil || ttl < 0 {
		return Message{}, http.StatusBadRequest, fmt.Errorf("the TTL is %q", r.Header.Get("TTL"))
	}
	topic := r.Header.Get("Topic")
	if len(topic) > 32 || strings.Trim(topic, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
		return Message{}, http.StatusBadRequest, fmt.Errorf("the topic is %q", topic)
	}
	payload, err := Decrypt(d.private, d.auth, body)
	if err != nil {
		return Message{}, http.StatusBadRequest, err
	}
	return Message{Payload: payload, Topic: topic, Urgency: r.Header.Get("Urgency"), TTL: ttl}, http.StatusCreated, nil
}
