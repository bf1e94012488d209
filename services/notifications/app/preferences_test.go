package app_test

import (
	"errors"
	"testing"
	"time"

	"caravan/internal/document/documenttest"
	"caravan/services/notifications/app"
	"caravan/services/notifications/domain"
)

func TestPreferencesAreReplaced(t *testing.T) {
	store := documenttest.NewStore()
	preferences := app.NewPreferences(replica(store, "a").ports())
	show, set := app.ShowPreferences{Preferences: preferences}, app.SetPreferences{Preferences: preferences}
	p, err := show.Do(t.Context(), "u1")
	if err != nil || p.UserID != "u1" || p.Exists() || p.Language() != domain.English {
		t.Fatalf("a new user has %+v, %v", p, err)
	}
	german := domain.Settings{Locale: domain.German, TimeZone: "Europe/Berlin", Rules: []domain.Rule{{Kind: "welcome", Channel: domain.Email}}}
	for range 2 { // a repeat changes nothing
		if p, err = set.Do(t.Context(), "u1", german); err != nil || p.Language() != domain.German || p.Revision != 1 {
			t.Fatalf("set %+v, %v", p, err)
		}
	}
	if p, err = show.Do(t.Context(), "u1"); err != nil || p.TimeZone != "Europe/Berlin" || len(p.Rules) != 1 {
		t.Errorf("stored %+v, %v", p, err)
	}
	if p, err = set.Do(t.Context(), "u1", domain.Settings{Locale: domain.English}); err != nil || p.TimeZone != "" || len(p.Rules) != 0 {
		t.Errorf("replaced by %+v, %v", p, err)
	}
	var v domain.Violations
	if _, err := set.Do(t.Context(), "u1", domain.Settings{Locale: "fr"}); !errors.As(err, &v) {
		t.Errorf("a language without texts: %v", err)
	}
	if p, err := show.Do(t.Context(), "u2"); err != nil || p.Exists() {
		t.Errorf("another user has %+v, %v", p, err)
	}
	store.BeforeGet(func([]string) error { return temporary{} })
	if _, err := show.Do(t.Context(), "u1"); !errors.As(err, &temporary{}) {
		t.Errorf("without a store: %v", err)
	}
}

// The audit compares messages with rules of their time. A new language changes none.
func TestOnlyRulesChangeWhatTheAuditKnows(t *testing.T) {
	now := noon
	p := process{&documenttest.Replica{Store: documenttest.NewStore(), Name: "a", Time: func() time.Time { return now }, Left: -1}}
	set := app.SetPreferences{Preferences: app.NewPreferences(p.ports())}
	off := []domain.Rule{{Kind: "order-confirmed", Channel: domain.Email}}
	for _, step := range []struct {
		settings domain.Settings
		since    time.Time
	}{
		{domain.Settings{Locale: domain.English}, noon},
		{domain.Settings{Locale: domain.German}, noon},
		{domain.Settings{Locale: domain.German, Rules: off}, noon.Add(2 * time.Hour)},
		{domain.Settings{Locale: domain.English, TimeZone: "Europe/Berlin", Rules: off}, noon.Add(2 * time.Hour)},
		{domain.Settings{Locale: domain.English}, noon.Add(4 * time.Hour)},
	} {
		stored, err := set.Do(t.Context(), "u1", step.settings)
		if err != nil || !stored.ChangedAt.Equal(step.since) {
			t.Errorf("%+v: changed at %s, want %s, %v", step.settings, stored.ChangedAt, step.since, err)
		}
		now = now.Add(time.Hour)
	}
}

// The list is in the user's language, and has no entries of kinds that the user switched off. They are stored, and come back.
func TestTheListFollowsThePreferences(t *testing.T) {
	store := documenttest.NewStore()
	n := replica(store, "a").notifications()
	set := app.SetPreferences{Preferences: app.NewPreferences(n.Ports)}
	events := orderEvents("u1", 3*domain.SegmentSize)
	deliver(t, n, events...)
	deliver(t, n, deposit("u1", 1))
	all := func() (shown []app.Notification) {
		t.Helper()
		for cursor := ""; ; {
			list, next, err := n.List(t.Context(), app.Query{UserID: "u1", Cursor: cursor, Limit: 7})
			if err != nil {
				t.Fatal(err)
			}
			shown = append(shown, list...)
			if cursor = next; cursor == "" {
				return shown
			}
		}
	}
	if list := all(); len(list) != len(events)+1 || list[0].Title != "Money added to your wallet" {
		t.Errorf("%d entries, first %q", len(list), list[0].Title)
	}
	off := domain.Settings{Locale: domain.German, Rules: []domain.Rule{{Kind: "order-confirmed", Channel: domain.InApp}}}
	if _, err := set.Do(t.Context(), "u1", off); err != nil {
		t.Fatal(err)
	}
	if list := all(); len(list) != 1 || list[0].Title != "Einzahlung auf Ihr Guthaben" || list[0].Body != "5,00 EUR sind auf Ihrem Guthaben eingegangen und können sofort ausgegeben werden." {
		t.Errorf("with orders switched off: %+v", list)
	}
	unread := func() int {
		t.Helper()
		listed, err := n.Page(t.Context(), app.Query{UserID: "u1", Limit: 1})
		if err != nil {
			t.Fatal(err)
		}
		return listed.Unread
	}
	if got := unread(); got != 1 {
		t.Errorf("%d entries are unread of those that the user sees", got)
	}
	if err := n.MarkRead(t.Context(), "u1", idOf("u1", events[0])); err != nil { // in the archive, and not seen
		t.Fatal(err)
	}
	if got := unread(); got != 1 {
		t.Errorf("%d entries are unread after one that is not seen was read", got)
	}
	if err := exactlyOnceStored(t, n, len(events)+1); err != nil {
		t.Error(err)
	}
	if _, err := set.Do(t.Context(), "u1", domain.Settings{Locale: domain.German}); err != nil {
		t.Fatal(err)
	}
	if list := all(); len(list) != len(events)+1 || list[1].Title != "Ihre Bestellung ist bestätigt" {
		t.Errorf("switched on again: %d entries", len(list))
	}
	if got := unread(); got != len(events) {
		t.Errorf("switched on again, %d entries are unread", got)
	}
}

// exactlyOnceStored asks the audit how many events are stored.
func exactlyOnceStored(t *testing.T, n *notifications, want int) error {
	t.Helper()
	found, err := audited(t.Context(), n)
	if err == nil && (len(found.Findings) > 0 || len(found.Deliveries) != want) {
		t.Errorf("the audit has %d deliveries and found %+v", len(found.Deliveries), found.Findings)
	}
	return err
}
