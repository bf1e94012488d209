package deadletter_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"caravan/internal/clock"
	"caravan/internal/correlation"
	"caravan/internal/deadletter"
	"caravan/internal/document"
	"caravan/internal/document/documenttest"
	"caravan/internal/event"
	"caravan/internal/feed"
	"caravan/internal/id"
)

var byStaff = deadletter.Instruction{By: "staff"}

// only receives one dead letter and returns it as the list has it.
func only(t *testing.T, n *deadletter.Queue, body []byte) *deadletter.Letter {
	t.Helper()
	if err := n.Receive(t.Context(), body); err != nil {
		t.Fatal(err)
	}
	letters, _, err := n.List(t.Context(), deadletter.Filter{}, "", 10)
	if err != nil || len(letters) != 1 {
		t.Fatalf("%d letters, %v", len(letters), err)
	}
	return letters[0]
}

func TestADeadLetterIsTriedOnceMore(t *testing.T) {
	n := replica(documenttest.NewStore(), "a").queue()
	e := orderEvent("u1", 1, noon)
	for range 2 {
		letter := only(t, n, cloudEvent(t, e))
		if letter.Status != deadletter.StatusReplayed || letter.DecidedBy != "notifications" {
			t.Errorf("it is %s by %s", letter.Status, letter.DecidedBy)
		}
	}
	if err := exactlyOnce(t.Context(), n, map[string][]event.Event{"u1": {e}}); err != nil {
		t.Error(err)
	}
}

func TestReplayHandlesTheEventOnce(t *testing.T) {
	store := documenttest.NewStore()
	n := replica(store, "a").queue()
	e := orderEvent("u1", 1, noon)
	store.BeforeGet(func(keys []string) error {
		if keys[0] == "inbox/u1" {
			return temporary{}
		}
		return nil
	})
	if err := n.Receive(t.Context(), cloudEvent(t, e)); !event.Retriable(err) {
		t.Fatalf("received while inboxes are away: %v", err)
	}
	letter := deadletter.ID(e.ID)
	if _, err := n.Replay(t.Context(), letter, byStaff); !event.Retriable(err) {
		t.Errorf("replayed while inboxes are away: %v", err)
	}
	store.BeforeGet(nil)
	if letters, _, err := n.List(t.Context(), deadletter.Filter{}, "", 10); err != nil || len(letters) != 1 || letters[0].Status != deadletter.StatusOpen {
		t.Errorf("kept %+v, %v", letters, err)
	}
	for range 3 {
		replayed, err := n.Replay(t.Context(), letter, byStaff)
		if err != nil || replayed.Status != deadletter.StatusReplayed || replayed.DecidedBy != "staff" || !replayed.DecidedAt.Equal(noon) {
			t.Fatalf("replayed %+v, %v", replayed, err)
		}
	}
	if err := n.Handle(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if err := exactlyOnce(t.Context(), n, map[string][]event.Event{"u1": {e}}); err != nil {
		t.Error(err)
	}
	if _, err := n.Discard(t.Context(), letter, deadletter.Instruction{By: "staff", Reason: "why"}); !errors.Is(err, deadletter.ErrReplayed) {
		t.Errorf("discarding it: %v", err)
	}
	// The broker may deliver a dead letter again.
	if again := only(t, n, cloudEvent(t, e)); again.Status != deadletter.StatusReplayed || again.DecidedBy != "staff" {
		t.Errorf("after another delivery it is %s by %s", again.Status, again.DecidedBy)
	}
}

// TestWhatAReplayCausesIsFoundByTheIDsOfItsEvent looks for what a request of staff caused under the correlation id of the event.
func TestWhatAReplayCausesIsFoundByTheIDsOfItsEvent(t *testing.T) {
	e := orderEvent("u1", 1, noon)
	e.CorrelationID = "of-the-order"
	broken, handled := true, ""
	n := deadletter.New(deadletter.Options{
		Consumer: "notifications", Check: check, Store: documenttest.NewStore(), Clock: clock.System{}, IDs: id.Random{}, Log: slog.New(slog.DiscardHandler),
		Handle: func(ctx context.Context, _ event.Event) error {
			if broken {
				return event.Drop(errors.New("broken"))
			}
			handled = correlation.ID(ctx)
			return nil
		},
	})
	letter := only(t, n, cloudEvent(t, e))
	broken = false
	if _, err := n.Replay(correlation.With(t.Context(), "of-staff"), letter.ID, byStaff); err != nil || handled != e.CorrelationID {
		t.Errorf("it is handled with the correlation id %q, %v", handled, err)
	}
}

func TestWhatCannotBeHandledStaysOpen(t *testing.T) {
	poison := orderEvent("u1", 1, noon)
	poison.Data = json.RawMessage(`{}`)
	for name, body := range map[string][]byte{"malformed payload": cloudEvent(t, poison), "no event at all": []byte("\x00garbage"), "empty": nil} {
		t.Run(name, func(t *testing.T) {
			n := replica(documenttest.NewStore(), "a").queue()
			letter := only(t, n, body)
			var unreplayable *deadletter.UnreplayableError
			if _, err := n.Replay(t.Context(), letter.ID, byStaff); !errors.As(err, &unreplayable) {
				t.Fatalf("err = %v", err)
			}
			if letter = only(t, n, body); letter.Status != deadletter.StatusOpen {
				t.Errorf("it is %s", letter.Status)
			}
			for range 2 {
				discarded, err := n.Discard(t.Context(), letter.ID, deadletter.Instruction{By: "staff", Reason: "of no use"})
				if err != nil || discarded.Status != deadletter.StatusDiscarded || discarded.Note != "of no use" {
					t.Errorf("discarded %+v, %v", discarded, err)
				}
			}
			if _, err := n.Replay(t.Context(), letter.ID, byStaff); !errors.Is(err, deadletter.ErrDiscarded) {
				t.Errorf("replaying it: %v", err)
			}
			if letter = only(t, n, body); letter.Status != deadletter.StatusDiscarded {
				t.Errorf("after another delivery it is %s", letter.Status)
			}
		})
	}
}

func TestThereIsNoSuchDeadLetter(t *testing.T) {
	store := documenttest.NewStore()
	n := replica(store, "a").queue()
	_, replay := n.Replay(t.Context(), "none", byStaff)
	_, discard := n.Discard(t.Context(), "none", deadletter.Instruction{By: "staff", Reason: "why"})
	if !errors.Is(replay, document.ErrNotFound) || !errors.Is(discard, document.ErrNotFound) || len(store.Keys()) != 0 {
		t.Errorf("%v, %v, keys %v", replay, discard, store.Keys())
	}
}

// After a crash at any point, a dead letter is delivered again, is listed once, and its event has its effect once.
func TestACrashKeepsADeadLetterOnce(t *testing.T) {
	e := orderEvent("u1", 1, noon)
	for _, lands := range []bool{false, true} {
		for at := 1; ; at++ {
			store := documenttest.NewStore()
			p := process{&documenttest.Replica{Store: store, Name: "a", Time: func() time.Time { return noon }, Left: at, Lands: lands}}
			doomed := p.queue()
			_ = doomed.Receive(t.Context(), cloudEvent(t, e)) // the test looks at what the crash leaves behind
			heir := replica(store, "b").queue()
			letter := only(t, heir, cloudEvent(t, e))
			if _, err := heir.Replay(t.Context(), letter.ID, byStaff); err != nil {
				t.Fatalf("crash at %d: %v", at, err)
			}
			if err := exactlyOnce(t.Context(), heir, map[string][]event.Event{"u1": {e}}); err != nil {
				t.Fatalf("crash at %d: %v", at, err)
			}
			if !p.Crashed() {
				break
			}
		}
	}
}

// A letter fails with a temporary error again and again. It is stored and tried a few times automatically. Then it
// waits for staff, because the broker would deliver it without end.
func TestADeadLetterThatKeepsFailingIsLeftToStaff(t *testing.T) {
	store := documenttest.NewStore()
	n := replica(store, "a").queue()
	e := orderEvent("u1", 1, noon)
	store.BeforeGet(func(keys []string) error {
		if keys[0] == "inbox/u1" {
			return temporary{}
		}
		return nil
	})
	retried := 0
	for ; retried < 10; retried++ {
		if err := n.Receive(t.Context(), cloudEvent(t, e)); err == nil {
			break
		} else if !event.Retriable(err) {
			t.Fatal(err)
		}
	}
	if retried != 3 {
		t.Errorf("it was asked for %d times", retried)
	}
	letter, err := n.Show(t.Context(), deadletter.ID(e.ID))
	if err != nil || letter.Status != deadletter.StatusOpen || letter.Attempts != 4 || len(letter.History) != 4 {
		t.Fatalf("kept %+v, %v", letter, err)
	}
	// A repeat of a request that failed with a temporary error tries again.
	in := deadletter.Instruction{By: "ada", Reason: "again", Key: "k"}
	if _, err := n.Replay(t.Context(), letter.ID, in); !event.Retriable(err) {
		t.Errorf("replayed: %v", err)
	}
	store.BeforeGet(nil)
	if letter, err = n.Replay(t.Context(), letter.ID, in); err != nil || letter.Status != deadletter.StatusReplayed || len(letter.History) != 6 {
		t.Errorf("replayed %+v, %v", letter, err)
	}
}

// The broker does not say why it gave up an event. The replica that failed to handle it knows.
func TestAnExhaustedEventTellsWhy(t *testing.T) {
	store := documenttest.NewStore()
	n := replica(store, "a").queue()
	c := &feed.Consumer{Handle: n.Handle, Seen: feed.NewSeen(10), DeadLetters: n}
	store.BeforeGet(func([]string) error { return temporary{} })
	e := orderEvent("u1", 1, noon)
	for range 7 {
		if err := c.Push(t.Context(), e); !event.Retriable(err) {
			t.Fatal(err)
		}
	}
	store.BeforeGet(nil)
	letter := only(t, n, cloudEvent(t, e))
	if want := "not handled within 7 attempts: "; !strings.HasPrefix(letter.Reason, want) || len(letter.Reason) == len(want) || letter.Attempts != 8 || letter.Status != deadletter.StatusReplayed {
		t.Errorf("it is %+v", letter)
	}
	if letter := only(t, replica(documenttest.NewStore(), "b").queue(), cloudEvent(t, e)); !strings.Contains(letter.Reason, "within the attempts allowed") {
		t.Errorf("another replica says %q", letter.Reason)
	}
}
