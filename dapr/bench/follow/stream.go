// Package follow follows the event streams of many users at once, and checks what comes on each.
package follow

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

const (
	// path is that of the event stream.
	path = "/v1/notifications/stream"
	// pause is how long a stream waits before it connects again, until the server says how long.
	pause = time.Second
)

// Stream follows the event stream of one user. Run must be called.
type Stream struct {
	crowd *Crowd
	// token returns an access token of the user that is valid now.
	token func(context.Context) (string, error)

	mu    sync.Mutex
	open  bool
	pause time.Duration
	seen  Seen
}

// Seen is what came on one stream so far.
type Seen struct {
	// Opened counts connections that were opened. All but the first are resumed ones.
	Opened int
	// First is the position in the inbox when the stream was opened first, and Position that of the newest notification.
	First, Position int
	// Notifications is how many came, and Skipped how many positions before the newest one are missing.
	Notifications, Skipped int
	// OutOfOrder counts events that were not newer than those before them, such as one that came twice.
	OutOfOrder int
	// Statuses are those of each order, in the order in which they came.
	Statuses map[string][]Status
	// Problem is why the latest connection failed or ended, or nil after one that was complete.
	Problem error
}

// Status is a status of an order as it came.
type Status struct {
	Status     string
	Sequence   int64
	OccurredAt time.Time
	At         time.Time // when it came
}

// Seen returns what came so far.
func (s *Stream) Seen() Seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.seen
	seen.Statuses = make(map[string][]Status, len(s.seen.Statuses))
	for order, statuses := range s.seen.Statuses {
		seen.Statuses[order] = append([]Status(nil), statuses...)
	}
	return seen
}

// Has reports whether a status of an order has come.
func (s *Stream) Has(order string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.seen.Statuses[order]) > 0
}

// run follows the stream until ctx ends. Whenever the stream ends it connects again where it was.
func (s *Stream) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := s.connect(ctx)
		if ctx.Err() != nil {
			return
		}
		s.mu.Lock()
		s.seen.Problem = err
		wait := s.pause
		s.mu.Unlock()
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// connect opens the stream and reads it to its end.
func (s *Stream) connect(ctx context.Context) error {
	response, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 300))
		return fmt.Errorf("the stream is answered with %s: %s", response.Status, text)
	}
	defer s.closed()
	return read(response.Body, s.take)
}

// dial sends the request when it is this stream's turn: only so many streams are being opened at once.
func (s *Stream) dial(ctx context.Context) (*http.Response, error) {
	select {
	case s.crowd.opening <- struct{}{}:
		defer func() { <-s.crowd.opening }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	token, err := s.token(ctx)
	if err != nil {
		return nil, fmt.Errorf("getting a token for a stream: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.crowd.gateway+path, nil)
	if err != nil {
		return nil, fmt.Errorf("opening a stream: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Accept", "text/event-stream")
	s.mu.Lock()
	if s.seen.Opened > 0 {
		request.Header.Set("Last-Event-ID", strconv.Itoa(s.seen.Position))
	}
	s.mu.Unlock()
	response, err := s.crowd.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("opening a stream: %w", err)
	}
	return response, nil
}

func (s *Stream) closed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open {
		s.open = false
		s.crowd.count(-1)
	}
}
