package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// streamed is one server-sent event, or the end of its stream.
type streamed struct {
	id, name, data string
	err            error // of the end; nil after a complete answer
	ended          bool
}

// eventStream is an open event stream.
type eventStream struct {
	t      *testing.T
	cancel context.CancelFunc
	events chan streamed
	last   string // the newest id
}

// follow opens an event stream after an id, or with new notifications only if that is empty. It is tried again while the service
// is away.
func (c *customer) follow(lastEventID string) *eventStream {
	c.t.Helper()
	token, err := c.token()
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.t.Cleanup(cancel)
	var response *http.Response
	eventually(c.t, "the stream to open", func() error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/v1/notifications/stream", nil)
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", "Bearer "+token)
		request.Header.Set("Accept", "text/event-stream")
		if lastEventID != "" {
			request.Header.Set("Last-Event-ID", lastEventID)
		}
		got, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		if got.StatusCode != http.StatusOK {
			_ = got.Body.Close()
			return errorf("it is answered with %s", got.Status)
		}
		response = got
		return c.shop.stack.document.Check(ctx, request, nil, got, nil)
	})
	s := &eventStream{t: c.t, cancel: cancel, events: make(chan streamed, 1000)}
	go s.read(response)
	return s
}

// read reads the events until the stream ends.
func (s *eventStream) read(response *http.Response) {
	defer response.Body.Close()
	lines, e := bufio.NewScanner(response.Body), streamed{}
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "id":
			e.id = value
		case "event":
			e.name = value
		case "data":
			e.data = value
		case "":
			if e.name != "" {
				s.events <- e
			}
			e = streamed{}
		}
	}
	s.events <- streamed{ended: true, err: lines.Err()}
}

// until waits for an event and returns it with those before it. The wanted one may be the end.
func (s *eventStream) until(what string, wanted func(streamed) bool) (seen []streamed) {
	s.t.Helper()
	limit := time.NewTimer(waitLimit)
	defer limit.Stop()
	for {
		select {
		case e := <-s.events:
			seen = append(seen, e)
			if e.id != "" {
				s.last = e.id
			}
			if wanted(e) {
				return seen
			}
			if e.ended {
				s.t.Fatalf("waiting for %s: the stream ended with %v after %+v", what, e.err, seen)
			}
		case <-limit.C:
			s.t.Fatalf("waiting for %s: the stream had only %+v", what, seen)
		}
	}
}

// position is the newest id as a number.
func (s *eventStream) position() int {
	s.t.Helper()
	position, err := strconv.Atoi(s.last)
	if err != nil {
		s.t.Fatal(err)
	}
	return position
}

// about finds a notification of a type about an order or a deposit.
func about(typ string) func(streamed) bool {
	return func(e streamed) bool { return e.name == "notification" && strings.Contains(e.data, `"`+typ+`"`) }
}

// TestStream places an order and sees its confirmation in the event stream. Then the client connects again where it was, and later
// notifications is restarted: the stream ends cleanly, and the next one has what came in between.
func TestStream(t *testing.T) {
	s := shared(t)
	shop := open(t, s)
	c, p := shop.customer(0), shop.product(100, 50)
	c.inbox(1)
	first := c.follow("0")
	first.until("the welcome", about("users.registered.v1"))
	c.deposit(5000)
	first.until("the deposit", about("payments.deposited.v1"))

	// The subscription to events begins with the first stream. Until it is there, no statuses come.
	eventually(t, "the status of an order", func() error {
		order := c.buys(p, 1)
		var status string
		for _, e := range first.until("the notification of the order", func(e streamed) bool {
			return about("orders.confirmed.v1")(e) && strings.Contains(e.data, order.ID)
		}) {
			var body struct{ OrderID, Status string }
			if e.name == "order" && json.Unmarshal([]byte(e.data), &body) == nil && body.OrderID == order.ID {
				status = body.Status
			}
		}
		if status != "confirmed" && settings.broker != "redis-streams" { // it has no component live
			return errorf("the last status in the stream is %q", status)
		}
		return nil
	})

	first.cancel()
	c.deposit(200)
	second := c.follow(first.last)
	seen := second.until("the deposit that was missed", about("payments.deposited.v1"))
	if len(seen) != 2 || seen[0].name != "open" || second.position() != first.position()+1 {
		t.Errorf("after %s the stream has %+v", first.last, seen)
	}

	roller, ok := s.target.(interface {
		Roll(ctx context.Context, replica string) error
	})
	if !ok {
		return // only the launcher stops a program in order
	}
	for _, replica := range s.replicas(t, "notifications") {
		if err := roller.Roll(t.Context(), replica); err != nil {
			t.Fatal(err)
		}
	}
	end := second.until("the end of the stream", func(e streamed) bool { return e.ended })
	if last := end[len(end)-1]; last.err != nil || len(end) < 2 || end[len(end)-2].name != "end" {
		t.Errorf("the stream ended with %+v", end)
	}
	c.deposit(300)
	c.deposit(400)
	third := c.follow(second.last)
	for range 2 {
		third.until("a deposit from the time of the restart", about("payments.deposited.v1"))
	}
	if third.position() != second.position()+2 {
		t.Errorf("after %s the stream went to %s", second.last, third.last)
	}
}
