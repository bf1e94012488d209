package adapters

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"

	"caravan/internal/problem"
	"caravan/internal/request"
	"caravan/internal/service"
	"caravan/services/notifications/app"
	"caravan/services/notifications/domain"
)

const (
	// reconnect is the shortest pause before a client connects again, and reconnectSpread how much longer it may be, so that the
	// clients of a replica that stops do not come back at the same moment.
	reconnect       = time.Second
	reconnectSpread = 2 * time.Second
)

// OrderStatus is the event "order" of a stream.
type OrderStatus struct {
	OrderID    string    `json:"orderId"`
	Status     string    `json:"status"`
	Sequence   int64     `json:"sequence"`
	OccurredAt time.Time `json:"occurredAt"`
	Reason     string    `json:"reason,omitempty"`
}

// Opened is the event "open" of a stream: notifications after the position follow.
type Opened struct {
	Position int `json:"position"`
	Unread   int `json:"unread"`
}

// Skipped is the event "skipped" of a stream: the list has these notifications.
type Skipped struct {
	From int `json:"from"`
	To   int `json:"to"`
}

// Ended is the event "end" of a stream.
type Ended struct {
	Reason string `json:"reason"`
}

// stream answers GET /v1/notifications/stream.
func (a API) stream(r *http.Request) (request.Answer, error) {
	caller, err := service.Caller(r)
	if err != nil {
		return request.Answer{}, err
	}
	after, err := lastEventID(r)
	if err != nil {
		return request.Answer{}, err
	}
	opened, err := a.OpenStream.Do(r.Context(), app.Start{UserID: caller.Subject, After: after, Permissions: caller.Permissions})
	if err != nil {
		return request.Answer{}, err
	}
	return request.Stream(func(events *request.Events) {
		ctx, cancel := context.WithDeadline(r.Context(), caller.Expiry)
		defer cancel()
		pause := reconnect + time.Duration(float64(reconnectSpread)*a.Jitter())
		if err := opened.Run(ctx, sink{events, pause}); err != nil {
			a.Log.DebugContext(ctx, "a stream ended", "reason", err)
		}
	}), nil
}

// lastEventID is the position after which a stream begins, from the header that a browser sends when it connects again, or from
// the parameter. It is negative if there is none.
func lastEventID(r *http.Request) (int, error) {
	field, value := "Last-Event-ID", r.Header.Get("Last-Event-ID")
	if value == "" {
		field, value = "lastEventId", r.URL.Query().Get("lastEventId")
	}
	if value == "" && !r.URL.Query().Has("lastEventId") {
		return -1, nil
	}
	position, err := strconv.ParseUint(value, 10, 31)
	if err != nil {
		return 0, problem.Invalid(problem.FieldError{Field: field, Code: "position", Message: "must be a position in the inbox"})
	}
	return int(position), nil
}

// sink is an app.Sink that writes server-sent events.
type sink struct {
	*request.Events
	pause time.Duration // before the client connects again
}

// Open implements app.Sink.
func (s sink) Open(position, unread int) error {
	s.AddRetry(s.pause)
	return s.send(request.Event{ID: strconv.Itoa(position), Name: "open", Data: Opened{Position: position, Unread: unread}})
}

// Skipped implements app.Sink.
func (s sink) Skipped(from, to int) error {
	return s.send(request.Event{Name: "skipped", Data: Skipped{From: from, To: to}})
}

// Notification implements app.Sink.
func (s sink) Notification(n app.Notification) error {
	return s.send(request.Event{ID: strconv.Itoa(n.Position), Name: "notification", Data: notificationOf(n)})
}

// Order implements app.Sink.
func (s sink) Order(o domain.OrderStatus) error {
	return s.send(request.Event{Name: "order", Data: OrderStatus{
		OrderID: o.OrderID, Status: o.Status, Sequence: o.Sequence, OccurredAt: o.OccurredAt, Reason: o.Reason,
	}})
}

// Alive implements app.Sink.
func (s sink) Alive() error {
	s.AddComment()
	return s.flush()
}

// End implements app.Sink.
func (s sink) End(reason string) error {
	return s.send(request.Event{Name: "end", Data: Ended{Reason: reason}})
}

func (s sink) send(e request.Event) error {
	if err := s.Add(e); err != nil {
		return err
	}
	return s.flush()
}

// flush sends what was added. A client that does not read within the time limit is too slow.
func (s sink) flush() error {
	err := s.Flush()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%w: %w", app.ErrTooSlow, err)
	}
	return err
}
