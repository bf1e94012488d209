package app

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"caravan/services/notifications/domain"
)

// Sink receives what a stream sends, in this order. An error ends the stream; it is ErrTooSlow if the client does not read.
type Sink interface {
	// Open begins: notifications after this position follow.
	Open(position, unread int) error
	// Skipped says that the notifications from one position to another were too many to be sent.
	Skipped(from, to int) error
	Notification(n Notification) error
	Order(s domain.OrderStatus) error
	// Alive shows that the connection works, if nothing else did.
	Alive() error
	// End says why the stream ends, if it is not by an error.
	End(reason string) error
}

// Reasons of Sink.End.
const (
	EndStopping = "stopping"      // the replica stops, or the client is away
	EndExpired  = "token_expired" // the access token has expired
)

// ErrTooSlow ends a stream whose client does not read what it is sent.
var ErrTooSlow = errors.New("the client is too slow for its stream")

// Stream is one open stream. Run must be called.
type Stream struct {
	streams *Streams
	userID  string
	// permissions are those that the user had when the stream was opened.
	permissions []string
	position    int // of the last notification that was sent
	skipped     int // how many before position are not sent
	unread      int // when the stream was opened
	first       *domain.Inbox
	// preferences are those that the user had when first, or the last news, were read.
	preferences *domain.Preferences

	beatAt time.Time // when to show that the connection works; of Streams
	alive  chan struct{}
	grown  chan struct{}
	news   atomic.Pointer[news] // what grown is about
	orders chan domain.OrderStatus
	slow   chan struct{}
}

// news are an inbox that has grown, and what its user wants to see of it.
type news struct {
	inbox       *domain.Inbox
	preferences *domain.Preferences
}

// Run sends until ctx ends, the sink fails or the client is too slow.
func (s *Stream) Run(ctx context.Context, sink Sink) error {
	defer s.streams.remove(s)
	err := s.run(ctx, sink)
	if errors.Is(err, ErrTooSlow) {
		s.streams.meter.Dropped()
	}
	return err
}

func (s *Stream) run(ctx context.Context, sink Sink) error {
	if err := s.begin(ctx, sink); err != nil {
		return err
	}
	for {
		var err error
		select {
		case <-ctx.Done():
			return sink.End(endOf(ctx))
		case <-s.slow:
			return ErrTooSlow
		case <-s.grown:
			if n := s.news.Swap(nil); n != nil {
				s.preferences = n.preferences
				err = s.send(ctx, sink, n.inbox)
			}
		case status := <-s.orders:
			err = sink.Order(status)
		case <-s.alive:
			err = sink.Alive()
		}
		if err != nil {
			return err
		}
	}
}

func endOf(ctx context.Context) string {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return EndExpired
	}
	return EndStopping
}

// begin sends what is older than the stream.
func (s *Stream) begin(ctx context.Context, sink Sink) error {
	inbox := s.first
	s.first = nil
	if err := sink.Open(s.position, s.unread); err != nil {
		return err
	}
	if s.skipped > 0 {
		if err := sink.Skipped(s.position-s.skipped+1, s.position); err != nil {
			return err
		}
	}
	return s.send(ctx, sink, inbox)
}

// send sends the notifications of an inbox after the stream's position.
func (s *Stream) send(ctx context.Context, sink Sink, inbox *domain.Inbox) error {
	for s.position < inbox.Total {
		entries, first, err := s.streams.inboxes.stretch(ctx, inbox, s.position+1)
		if err != nil {
			return err
		}
		if s.position-first >= len(entries) {
			return fmt.Errorf("the inbox of a stream has no entry %d", s.position)
		}
		for _, e := range entries[s.position-first:] {
			s.position++
			if !e.DeletedAt.IsZero() || !shows(s.preferences, e) {
				continue
			}
			notification, err := show(s.userID, s.position, e, s.preferences.Language())
			if err != nil {
				return err
			}
			if err := sink.Notification(notification); err != nil {
				return err
			}
		}
	}
	return nil
}

// offer gives the stream a status without waiting.
func (s *Stream) offer(status domain.OrderStatus) {
	select {
	case s.orders <- status:
	default:
		signal(s.slow)
	}
}
