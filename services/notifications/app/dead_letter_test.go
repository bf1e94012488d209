package app_test

import (
	"strings"
	"testing"

	"caravan/internal/deadletter"
	"caravan/internal/document/documenttest"
	"caravan/internal/event"
)

func cloudEvent(t testing.TB, e event.Event) []byte {
	t.Helper()
	body, err := e.CloudEvent()
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func TestReplayOfAnEventWithoutANotification(t *testing.T) {
	letters := lettersOf(replica(documenttest.NewStore(), "a").notifications())
	e := orderEvent("u1", 1, noon)
	e.Type = "orders.gift_wrapped.v1"
	letter := only(t, letters, cloudEvent(t, e))
	if replayed, err := letters.Replay(t.Context(), letter.ID, deadletter.Instruction{By: "staff"}); err != nil || replayed.Status != deadletter.StatusReplayed {
		t.Errorf("replayed %+v, %v", replayed, err)
	}
	if !strings.Contains(letter.Reason, "within the attempts allowed") {
		t.Errorf("the reason is %q", letter.Reason)
	}
}

// An event of a later version than this program's is kept until there is one that knows it.
func TestAnUnknownVersionIsKept(t *testing.T) {
	n := replica(documenttest.NewStore(), "a").notifications()
	e := orderEvent("u1", 1, noon)
	e.Type = "orders.confirmed.v2"
	if err := n.Deliver(t.Context(), e); err == nil || event.Retriable(err) {
		t.Errorf("delivered: %v", err)
	}
	letter := only(t, lettersOf(n), cloudEvent(t, e))
	if letter.Status != deadletter.StatusOpen || !strings.Contains(letter.Reason, "unknown version") {
		t.Errorf("it is %+v", letter)
	}
}

// A dead letter with a valid event is tried once more, and notifies its user once however often it is delivered and replayed.
func TestADeadLetterNotifiesOnce(t *testing.T) {
	n := replica(documenttest.NewStore(), "a").notifications()
	e := orderEvent("u1", 1, noon)
	letters := lettersOf(n)
	for range 2 {
		letter := only(t, letters, cloudEvent(t, e))
		if letter.Status != deadletter.StatusReplayed || letter.DecidedBy != "notifications" {
			t.Errorf("it is %s by %s", letter.Status, letter.DecidedBy)
		}
		if _, err := letters.Replay(t.Context(), letter.ID, deadletter.Instruction{By: "staff"}); err != nil {
			t.Error(err)
		}
	}
	if err := exactlyOnce(t.Context(), n, map[string][]event.Event{"u1": {e}}); err != nil {
		t.Error(err)
	}
}
