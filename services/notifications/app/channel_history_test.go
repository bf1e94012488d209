package app_test

import (
	"testing"
	"time"

	"caravan/internal/document/documenttest"
	"caravan/services/notifications/app"
	"caravan/services/notifications/domain"
)

// TestChannelHistory starts one program after the other over one store.
func TestChannelHistory(t *testing.T) {
	store := documenttest.NewStore()
	now := noon
	run := func(channels ...domain.Channel) func(kind string, channel domain.Channel, at time.Time) bool {
		t.Helper()
		p := process{&documenttest.Replica{Store: store, Name: "a", Time: func() time.Time { return now }, Left: -1}}
		n := p.notifications()
		history := app.NewChannelHistory(n.Inboxes, channels...)
		deliver := app.DeliverEvent{Inboxes: n.Inboxes, Counter: &counts{}, History: history}
		for _, e := range orderEvents("u1", 2) {
			if err := deliver.Do(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		on, err := history.Since(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return func(kind string, channel domain.Channel, at time.Time) bool {
			k, _ := domain.KindNamed(kind)
			return on(k, channel, at)
		}
	}
	on := run(domain.Email)
	if !on("welcome", domain.Email, noon.Add(-24*time.Hour)) || on("welcome", domain.Push, noon) {
		t.Error("the first program sends e-mails, and has always sent them")
	}
	now = noon.Add(time.Hour)
	if on = run(domain.Email, domain.Push); !on("welcome", domain.Email, noon) || on("welcome", domain.Push, now.Add(5*time.Minute)) ||
		!on("welcome", domain.Push, now.Add(10*time.Minute)) {
		t.Error("push is on since the second program, as soon as no other runs")
	}
	if on = run(); on("welcome", domain.Email, now.Add(time.Hour)) {
		t.Error("the third program sends nothing")
	}
	now = noon.Add(2 * time.Hour)
	if on = run(domain.Email); on("welcome", domain.Email, noon) || !on("welcome", domain.Email, now.Add(10*time.Minute)) {
		t.Error("e-mail is on again since the last program")
	}
}
