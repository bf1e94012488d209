package e2e

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"caravan/internal/id"
)

// listener is a user with a stream, which is opened again where it was whenever it ends.
type listener struct {
	user, token string
	gateways    []string

	mu       sync.Mutex
	opened   int
	opening  bool
	position int   // of the newest notification
	wrong    error // the first thing that is out of order
	notices  []sighting
	statuses map[string][]sighting // by order
	delays   []time.Duration       // from the confirmation of an order
}

// sighting is one event of a stream: the position and the id of a notification, or the sequence number and the status of an order.
type sighting struct {
	number int64
	text   string
}

// run follows the stream until ctx ends.
func (l *listener) run(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		if err := l.connect(ctx, l.gateways[n%len(l.gateways)]); err != nil || ctx.Err() == nil {
			select {
			case <-time.After(200 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}
}

func (l *listener) connect(ctx context.Context, gateway string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, gateway+"/v1/notifications/stream", nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+l.token)
	l.mu.Lock()
	request.Header.Set("Last-Event-ID", strconv.Itoa(l.position))
	l.mu.Unlock()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	defer l.set(func() { l.opening = false })
	var name, data string
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "event":
			name = value
		case "data":
			data = value
		case "":
			l.take(name, []byte(data))
			name = ""
		}
	}
	return nil
}

func (l *listener) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

// take takes one event and checks that it is the next one.
func (l *listener) take(name string, data []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var event struct {
		ID              string
		Position        int
		OrderID, Status string
		Sequence        int64
		OccurredAt      time.Time
	}
	if name == "" || json.Unmarshal(data, &event) != nil {
		return
	}
	switch name {
	case "open":
		l.opened++
		l.opening = true
	case "notification":
		if event.Position != l.position+1 {
			l.wrong = cmp.Or(l.wrong, fmt.Errorf("notification %d follows %d", event.Position, l.position))
		}
		l.position, l.notices = event.Position, append(l.notices, sighting{int64(event.Position), event.ID})
	case "order":
		had := l.statuses[event.OrderID]
		if len(had) > 0 && event.Sequence <= had[len(had)-1].number {
			l.wrong = cmp.Or(l.wrong, fmt.Errorf("status %d of an order follows %v", event.Sequence, had))
		}
		l.statuses[event.OrderID] = append(had, sighting{event.Sequence, event.Status})
		if len(had) == 0 && event.Status == "confirmed" {
			l.delays = append(l.delays, time.Since(event.OccurredAt))
		}
	default:
		if name != "end" {
			l.wrong = cmp.Or(l.wrong, fmt.Errorf("an unexpected event %q", name))
		}
	}
}

// call sends a request of the user to a gateway: a POST, or a GET without a body.
func (l *listener) call(ctx context.Context, gateway, path string, body any, want int) ([]byte, error) {
	method, raw := http.MethodGet, []byte(nil)
	if body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			return nil, err
		}
		method = http.MethodPost
	}
	key := id.Random{}.New()
	var got []byte
	err := within(waitLimit, func() error { // a gateway that was killed comes back
		request, err := http.NewRequestWithContext(ctx, method, gateway+path, bytes.NewReader(raw))
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", "Bearer "+l.token)
		if body != nil {
			request.Header.Set("Content-Type", "application/json")
			request.Header.Set("Idempotency-Key", `"`+key+`"`)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if got, err = io.ReadAll(response.Body); err == nil && response.StatusCode != want {
			err = errorf("%s is answered with %s: %s", path, response.Status, got)
		}
		return err
	})
	return got, err
}

func (l *listener) deposit(ctx context.Context, gateway string) error {
	_, err := l.call(ctx, gateway, "/v1/wallet/deposits", map[string]any{"amount": 1000, "currency": currency, "source": "tok_ok"}, http.StatusCreated)
	return err
}

// order places an order and returns its id.
func (l *listener) order(ctx context.Context, gateway string, p *product) (string, error) {
	raw, err := l.call(ctx, gateway, "/v1/orders", items(p, 1), http.StatusAccepted)
	if err != nil {
		return "", err
	}
	var accepted acceptedBody
	err = json.Unmarshal(raw, &accepted)
	return accepted.ID, err
}

// has returns an error until the stream has exactly these statuses of an order.
func (l *listener) has(order string, want ...string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var got []string
	for _, s := range l.statuses[order] {
		got = append(got, s.text)
	}
	if !slices.Equal(got, want) {
		return errorf("the statuses of the order are %q; want %q", got, want)
	}
	return nil
}

// complete compares all that came on the stream with the inbox and the only order of the user, as the API has them.
func (l *listener) complete(ctx context.Context, order string) error {
	var body orderBody
	raw, err := l.call(ctx, l.gateways[0], "/v1/orders/"+order, nil, http.StatusOK)
	if err = cmp.Or(err, json.Unmarshal(raw, &body)); err != nil {
		return err
	}
	var page inboxBody
	raw, err = l.call(ctx, l.gateways[0], "/v1/notifications?limit=100", nil, http.StatusOK)
	if err = cmp.Or(err, json.Unmarshal(raw, &page)); err != nil {
		return err
	}
	return l.differs(body, page)
}

// differs says what is on the stream and not in an order and an inbox, or the other way round.
func (l *listener) differs(order orderBody, page inboxBody) error {
	var notices []sighting
	for _, item := range slices.Backward(page.Items) {
		notices = append(notices, sighting{int64(item.Position), item.ID})
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wrong != nil {
		return l.wrong
	}
	if want := published(order); !slices.Equal(l.statuses[order.ID], want) || len(l.statuses) != 1 {
		return fmt.Errorf("the statuses of orders are %v; want %v of %s", l.statuses, want, order.ID)
	}
	if len(notices) == 0 || !slices.Equal(l.notices, notices) {
		return fmt.Errorf("the notifications are %v; want %v", l.notices, notices)
	}
	return nil
}

// published returns the statuses of an order that are published, from its timeline. After a part of it was refunded, an order is
// confirmed as before.
func published(order orderBody) []sighting {
	var all []sighting
	for _, moment := range order.Timeline {
		switch moment.Type {
		case "confirmed", "rejected", "cancelled":
			all = append(all, sighting{moment.Sequence, moment.Type})
		case "refunded":
			all = append(all, sighting{moment.Sequence, "confirmed"})
		}
	}
	if len(all) > 0 {
		all[len(all)-1].text = order.Status
	}
	return all
}

// TestWhatAStreamLacksIsFound checks the check.
func TestWhatAStreamLacksIsFound(t *testing.T) {
	var order orderBody
	var page inboxBody
	err := cmp.Or(json.Unmarshal([]byte(`{"id":"o","status":"refunded","timeline":[{"type":"placed","sequence":1},{"type":"confirmed","sequence":5},
		{"type":"refunding","sequence":6},{"type":"refunded","sequence":7},{"type":"refunding","sequence":8},{"type":"refunded","sequence":9}]}`), &order),
		json.Unmarshal([]byte(`{"items":[{"id":"b","position":2},{"id":"a","position":1}]}`), &page))
	if err != nil {
		t.Fatal(err)
	}
	statuses := []sighting{{5, "confirmed"}, {7, "confirmed"}, {9, "refunded"}}
	notices := []sighting{{1, "a"}, {2, "b"}}
	stream := func(notices []sighting, statuses ...sighting) *listener {
		return &listener{notices: notices, statuses: map[string][]sighting{"o": statuses}}
	}
	if err := stream(notices, statuses...).differs(order, page); err != nil {
		t.Error(err)
	}
	other := stream(notices, statuses...)
	other.statuses["p"] = statuses[:1]
	for name, l := range map[string]*listener{
		"the first status":      stream(notices, statuses[1:]...),
		"a status in between":   stream(notices, statuses[0], statuses[2]),
		"the last status":       stream(notices, statuses[:2]...),
		"a status twice":        stream(notices, append(statuses[:3:3], statuses[2])...),
		"another status":        stream(notices, statuses[0], sighting{7, "refunded"}, statuses[2]),
		"all statuses":          {notices: notices},
		"an order of others":    other,
		"the last notification": stream(notices[:1], statuses...),
		"another notification":  stream([]sighting{{1, "a"}, {2, "c"}}, statuses...),
		"all notifications":     stream(nil, statuses...),
	} {
		if l.differs(order, page) == nil {
			t.Errorf("nobody sees it: %s", name)
		}
	}
}
