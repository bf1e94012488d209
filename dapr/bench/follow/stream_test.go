package follow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// server serves prepared connections of one stream, and keeps the last one open.
type server struct {
	mu          sync.Mutex
	connections []string // what each one sends
	lastIDs     []string // the header of each
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	n := len(s.lastIDs)
	s.lastIDs = append(s.lastIDs, r.Header.Get("Last-Event-ID"))
	s.mu.Unlock()
	if r.URL.Path != path || r.Header.Get("Authorization") != "Bearer t" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if n < len(s.connections) {
		_, _ = io.WriteString(w, s.connections[n])
		_ = http.NewResponseController(w).Flush()
	}
	if n >= len(s.connections)-1 {
		<-r.Context().Done()
	}
}

func follow(t *testing.T, s *server, token string, err error, done func(Seen) bool) (*Crowd, Seen) {
	t.Helper()
	gateway := httptest.NewServer(s)
	t.Cleanup(gateway.Close)
	c := Start(t.Context(), gateway.URL, []func(context.Context) (string, error){func(context.Context) (string, error) { return token, err }})
	t.Cleanup(c.Stop)
	for limit := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		seen := c.Streams[0].Seen()
		if done(seen) {
			return c, seen
		}
		if time.Now().After(limit) {
			t.Fatalf("it has only seen %+v", seen)
		}
	}
}

func notification(position int) string {
	return fmt.Sprintf("id: %d\nevent: notification\ndata: {\"position\":%d}\n\n", position, position)
}

func order(id, status string, sequence int) string {
	return fmt.Sprintf("event: order\ndata: {\"orderId\":%q,\"status\":%q,\"sequence\":%d,\"occurredAt\":\"2026-03-01T12:00:00Z\"}\n\n", id, status, sequence)
}

func opened(position int) string {
	return fmt.Sprintf("retry: 1\n\nid: %d\nevent: open\ndata: {\"position\":%d,\"unread\":0}\n\n", position, position)
}

func TestAStreamIsResumedWhereItWas(t *testing.T) {
	s := &server{connections: []string{
		opened(3) + notification(4) + ":\n\n" + order("o1", "confirmed", 5) + "event: end\ndata: {\"reason\":\"stopping\"}\n\n",
		opened(4) + notification(5) + order("o1", "refunded", 7) + order("o2", "rejected", 3),
	}}
	c, seen := follow(t, s, "t", nil, func(seen Seen) bool { return len(seen.Statuses["o2"]) == 1 })
	if seen.Opened != 2 || seen.First != 3 || seen.Position != 5 || seen.Notifications != 2 || seen.Skipped != 0 || seen.OutOfOrder != 0 {
		t.Errorf("it has seen %+v", seen)
	}
	if o1 := seen.Statuses["o1"]; len(o1) != 2 || o1[1].Status != "refunded" || o1[1].OccurredAt.IsZero() || o1[1].At.IsZero() {
		t.Errorf("the statuses are %+v", o1)
	}
	if got := strings.Join(s.lastIDs, ","); got != ",4" {
		t.Errorf("the last ids were %q", got)
	}
	if now, most := c.Open(); now != 1 || most != 1 || !c.Streams[0].Has("o1") || c.Streams[0].Has("o3") {
		t.Errorf("%d are open, %d at most", now, most)
	}
	c.Stop()
	if now, most := c.Open(); now != 0 || most != 1 {
		t.Errorf("in the end %d are open, %d at most", now, most)
	}
}

func TestWhatIsMissingOrOutOfOrderIsCounted(t *testing.T) {
	for name, test := range map[string]struct {
		events              string
		skipped, outOfOrder int
	}{
		"in order":            {notification(1) + notification(2) + order("o", "confirmed", 5), 0, 0},
		"a gap":               {notification(1) + notification(4), 2, 0},
		"too many to be sent": {"event: skipped\ndata: {\"from\":1,\"to\":7}\n\n" + notification(8), 7, 0},
		"twice":               {notification(1) + notification(1), 0, 1},
		"exchanged":           {notification(2) + notification(1), 1, 1},
		"a status twice":      {order("o", "confirmed", 5) + order("o", "confirmed", 5), 0, 1},
		"a status goes back":  {order("o", "refunded", 7) + order("o", "confirmed", 5) + order("p", "confirmed", 5), 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := &server{connections: []string{opened(0) + test.events + order("last", "confirmed", 1)}}
			_, seen := follow(t, s, "t", nil, func(seen Seen) bool { return len(seen.Statuses["last"]) > 0 })
			if seen.Skipped != test.skipped || seen.OutOfOrder != test.outOfOrder {
				t.Errorf("it has seen %+v", seen)
			}
		})
	}
}

func TestWhyAStreamIsNotOpen(t *testing.T) {
	for name, test := range map[string]struct {
		connection, token string
		err               error
		want              string
	}{
		"refused":    {"", "wrong", nil, "404"},
		"no token":   {"", "", errors.New("the session has ended"), "the session has ended"},
		"unknown":    {opened(0) + "event: news\ndata: {}\n\n", "t", nil, `unknown event "news"`},
		"no JSON":    {opened(0) + "event: order\ndata: {\n\n", "t", nil, `the event "order"`},
		"a bad time": {"retry: soon\n\n", "t", nil, `"soon"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, seen := follow(t, &server{connections: []string{test.connection}}, test.token, test.err, func(seen Seen) bool { return seen.Problem != nil })
			if !strings.Contains(seen.Problem.Error(), test.want) {
				t.Errorf("the problem is %v", seen.Problem)
			}
		})
	}
}
