package app_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"caravan/internal/document/documenttest"
	"caravan/internal/event"
	"caravan/services/notifications/app"
	"caravan/services/notifications/contract"
)

// live is an app.LiveEvents for tests. The zero one is a sidecar without the component.
type live struct {
	mu        sync.Mutex
	works     bool
	calls     int
	listening int
}

func (l *live) Listen(ctx context.Context, _ string, ready func(), _ func(event.Event)) error {
	works, _, _ := l.count(0)
	if !works {
		return errors.New("the component live is not found")
	}
	ready()
	l.count(1)
	<-ctx.Done()
	l.count(-1)
	return ctx.Err()
}

func (l *live) count(change int) (works bool, calls, listening int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if change == 0 {
		l.calls++
	}
	l.listening += change
	return l.works, l.calls, l.listening
}

// seen returns how often it was called and how many topics are listened to.
func (l *live) seen() (calls, listening int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.calls, l.listening
}

// repair lets it work from now on.
func (l *live) repair() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.works = true
}

// TestWithoutLiveEventsTheInboxIsRead covers a stack without the component: notifications still come, every few seconds.
func TestWithoutLiveEventsTheInboxIsRead(t *testing.T) {
	for name, test := range map[string]struct {
		live  *live
		least time.Duration
		most  time.Duration
	}{
		"with":    {&live{works: true}, 10 * time.Second, 16 * time.Second},
		"without": {&live{}, time.Second, 6 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, open := streamsOf(documenttest.NewStore())
				ctx, stop := context.WithCancel(t.Context())
				go func() { _ = open.Run(ctx) }()
				go func() { _ = app.FollowEvents{Streams: open.Streams, Live: test.live}.Do(ctx) }()
				s, err := open.Do(ctx, app.Start{UserID: "u1", After: -1})
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(31 * time.Second) // the first subscriptions and refreshes are over
				deliver(t, n, orderEvents("u1", 1)...)
				began, r := time.Now(), &reader{left: 0}
				if err := s.Run(ctx, r); !errors.Is(err, errGone) {
					t.Fatal(err)
				}
				if took := time.Since(began); took < test.least || took > test.most {
					t.Errorf("the notification came after %s", took)
				}
				stop()
				synctest.Wait()
			})
		})
	}
}

// TestListeningIsTriedAgain covers a sidecar that gets the component later, and a replica whose last stream ends.
func TestListeningIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, open := streamsOf(documenttest.NewStore())
		ctx, stop := context.WithCancel(t.Context())
		events := &live{}
		ended := make(chan error, 1)
		go func() { ended <- app.FollowEvents{Streams: open.Streams, Live: events}.Do(ctx) }()
		time.Sleep(time.Hour)
		if calls, _ := events.seen(); calls != 0 {
			t.Error("it listens without a stream")
		}
		s, err := open.Do(ctx, app.Start{UserID: "u1", After: -1})
		if err != nil {
			t.Fatal(err)
		}
		connected, leave := context.WithCancel(ctx)
		r := &reader{left: -1}
		go func() { _ = s.Run(connected, r) }()
		time.Sleep(time.Hour)
		topics := len(contract.Producers())
		if calls, _ := events.seen(); calls < topics*60 || calls > topics*70 {
			t.Errorf("it tried %d times in an hour", calls)
		}
		events.repair()
		time.Sleep(2 * time.Minute)
		if _, listening := events.seen(); listening != topics {
			t.Errorf("it listens to %d topics", listening)
		}
		leave()
		time.Sleep(time.Minute)
		if _, listening := events.seen(); listening != 0 {
			t.Error("it listens although the last stream has ended")
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
