package audit_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	report "caravan/internal/audit"
	"caravan/internal/deadletter"
	"caravan/internal/document/documenttest"
	"caravan/internal/event"
	"caravan/internal/problem"
	"caravan/services/notifications/app"
	"caravan/services/notifications/audit"
	"caravan/services/notifications/contract"
	"caravan/services/notifications/domain"
	orders "caravan/services/orders/contract"
	products "caravan/services/products/contract"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

type uncounted struct{}

func (uncounted) Count(context.Context, string, event.Event) {}

// service is what the audit looks at: inboxes and dead letters over a store.
type service struct {
	deliverEvent app.DeliverEvent
	letters      *deadletter.Queue
	audit        *audit.Audit
}

func newService(store *documenttest.FakeStore) *service {
	replica := &documenttest.Replica{Store: store, Name: "a", Time: func() time.Time { return noon }, Left: -1}
	log := slog.New(slog.DiscardHandler)
	inboxes := app.NewInboxes(app.Ports{Store: replica, Clock: replica, IDs: replica, Log: log})
	s := &service{deliverEvent: app.DeliverEvent{Inboxes: inboxes, Counter: uncounted{}}}
	s.letters = deadletter.New(deadletter.Options{
		Consumer: contract.App, Handle: s.deliverEvent.Do, Check: app.Check, Store: replica, Clock: replica, IDs: replica, Log: log,
	})
	s.audit = audit.New(inboxes, s.letters, nil)
	return s
}

func (s *service) deliver(t *testing.T, events ...event.Event) {
	t.Helper()
	for _, e := range events {
		if err := s.deliverEvent.Do(t.Context(), e); err != nil {
			t.Fatalf("delivering %s: %v", e.ID, err)
		}
	}
}

// audited reads all pages of the audit and adds them up.
func (s *service) audited(t *testing.T) contract.AuditPage {
	t.Helper()
	all := contract.AuditPage{Page: report.NewPage()}
	for cursor := ""; ; {
		page, err := s.audit.Page(t.Context(), report.Request{Cursor: cursor})
		if err != nil {
			t.Fatal(err)
		}
		all.Add(page.Results)
		all.Deliveries = append(all.Deliveries, page.Deliveries...)
		for name, count := range page.Counts {
			all.Counts[name] += count
		}
		if cursor = page.Next; cursor == "" {
			return all
		}
	}
}

// orderEvents are n events of a user, each about an order of its own, a second apart.
func orderEvents(userID string, n int) []event.Event {
	events := make([]event.Event, n)
	for i := range events {
		order := fmt.Sprintf("%s-order-%d", userID, i)
		events[i] = event.Event{
			ID: event.ID("orders", order, 5), Type: orders.EventConfirmed, Source: "orders", Subject: order, Sequence: 5,
			Time: noon.Add(time.Duration(i) * time.Second),
			Data: fmt.Appendf(nil, `{"orderId":%q,"userId":%q,"status":"confirmed","total":{"amount":%d,"currency":"EUR"}}`, order, userID, 100+i),
		}
	}
	return events
}

func TestAuditOfManyInboxes(t *testing.T) {
	n := newService(documenttest.NewStore())
	of := make(map[string][]event.Event)
	for u := range 300 {
		user := fmt.Sprint("u", u)
		of[user] = orderEvents(user, 1+u%3)
	}
	of["busy"] = orderEvents("busy", 2500) // more than a page
	for _, events := range of {
		n.deliver(t, events...)
	}
	found := n.audited(t)
	if len(found.Findings) > 0 || found.Counts["users"] != 301 || found.Counts["deliveries"] != 2500+600 {
		t.Errorf("counted %v, found %v", found.Counts, found.Findings)
	}
	reported := make(map[string]int)
	for _, d := range found.Deliveries {
		reported[d.UserID+" "+d.EventID]++
	}
	for user, events := range of {
		for _, e := range events {
			if n := reported[user+" "+e.ID]; n != 1 {
				t.Errorf("%s of %s is reported %d times", e.ID, user, n)
			}
		}
	}
	if len(reported) != 2500+600 {
		t.Errorf("%d deliveries are reported", len(reported))
	}
}

func TestAuditOfNothing(t *testing.T) {
	n := newService(documenttest.NewStore())
	page, err := n.audit.Page(t.Context(), report.Request{})
	if err != nil || page.Findings == nil || page.Deliveries == nil || len(page.Deliveries) != 0 {
		t.Errorf("page %+v, %v", page, err)
	}
	var p *problem.Problem
	if _, err := n.audit.Page(t.Context(), report.Request{Cursor: "%%"}); !errors.As(err, &p) || p.Status != 400 {
		t.Errorf("a bad cursor: %v", err)
	}
}

// TestTheAuditFindsWhatIsPlanted breaks one thing in a sound inbox with two archive segments.
func TestTheAuditFindsWhatIsPlanted(t *testing.T) {
	events := orderEvents("u1", 4*domain.SegmentSize)
	tests := map[string]struct {
		plant     func(t *testing.T, s *documenttest.FakeStore)
		invariant string
	}{
		"nothing": {plant: func(*testing.T, *documenttest.FakeStore) {}},
		"an entry twice in the head": {invariant: contract.InvariantOneEntry, plant: func(t *testing.T, s *documenttest.FakeStore) {
			changeInbox(t, s, func(i *domain.Inbox) { i.Entries = append(i.Entries, i.Entries[0]); i.Total++ })
		}},
		"an archived entry again in the head": {invariant: contract.InvariantOneEntry, plant: func(t *testing.T, s *documenttest.FakeStore) {
			archived := segmentOf(t, s, 0)
			changeInbox(t, s, func(i *domain.Inbox) { i.Entries = append(i.Entries, archived[3]); i.Total++ })
		}},
		"an entry in two segments": {invariant: contract.InvariantOneEntry, plant: func(t *testing.T, s *documenttest.FakeStore) {
			first, second := segmentOf(t, s, 0), segmentOf(t, s, 1)
			second[4] = first[3]
			overwrite(t, s, "inbox/u1/1", second)
		}},
		"an entry twice in one segment": {invariant: contract.InvariantOneEntry, plant: func(t *testing.T, s *documenttest.FakeStore) {
			first := segmentOf(t, s, 0)
			first[4] = first[3]
			overwrite(t, s, "inbox/u1/0", first)
		}},
		"an archived entry without a guard": {invariant: contract.InvariantDelivery, plant: func(t *testing.T, s *documenttest.FakeStore) {
			first := segmentOf(t, s, 0)
			first[3].EventID = "orders/never-recorded/5"
			overwrite(t, s, "inbox/u1/0", first)
		}},
		"a guard without its entries": {invariant: contract.InvariantDelivery, plant: func(t *testing.T, s *documenttest.FakeStore) {
			overwrite(t, s, "archived/"+domain.GuardID("u1", domain.NotificationID("u1", events[0].ID, events[0].Time)), domain.Guard{})
		}},
		"an archive whose end is too early": {invariant: contract.InvariantDelivery, plant: func(t *testing.T, s *documenttest.FakeStore) {
			changeInbox(t, s, func(i *domain.Inbox) { i.ArchivedUntil = noon })
		}},
		"a lost entry": {invariant: contract.InvariantSegments, plant: func(t *testing.T, s *documenttest.FakeStore) {
			changeInbox(t, s, func(i *domain.Inbox) { i.Entries = i.Entries[1:] })
		}},
		"a short segment": {invariant: contract.InvariantSegments, plant: func(t *testing.T, s *documenttest.FakeStore) {
			overwrite(t, s, "inbox/u1/0", segmentOf(t, s, 0)[1:])
		}},
		"a missing segment": {invariant: contract.InvariantSegments, plant: func(t *testing.T, s *documenttest.FakeStore) {
			changeInbox(t, s, func(i *domain.Inbox) { i.Segments = 4; i.Sealed = nil })
		}},
		"an entry that nobody should get": {invariant: contract.InvariantEntry, plant: func(t *testing.T, s *documenttest.FakeStore) {
			changeInbox(t, s, func(i *domain.Inbox) { i.Entries[0].Type = "orders.placed.v1" })
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			store := documenttest.NewStore()
			n := newService(store)
			n.deliver(t, events...)
			test.plant(t, store)
			found := n.audited(t)
			named := false
			for _, f := range found.Findings {
				named = named || f.Invariant == test.invariant
				if f.Key == "" || f.Detail == "" {
					t.Errorf("finding %+v says too little", f)
				}
			}
			if test.invariant == "" && len(found.Findings) > 0 || test.invariant != "" && !named {
				t.Errorf("found %+v", found.Findings)
			}
		})
	}
}

func overwrite(t *testing.T, s *documenttest.FakeStore, key string, value any) {
	t.Helper()
	encoded, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	s.Overwrite(key, encoded)
}

func load(t *testing.T, s *documenttest.FakeStore, key string, value any) {
	t.Helper()
	records, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(records[key].Value, value); err != nil {
		t.Fatalf("%s: %v", key, err)
	}
}

func changeInbox(t *testing.T, s *documenttest.FakeStore, change func(*domain.Inbox)) {
	t.Helper()
	var inbox domain.Inbox
	load(t, s, "inbox/u1", &inbox)
	change(&inbox)
	overwrite(t, s, "inbox/u1", inbox)
}

func segmentOf(t *testing.T, s *documenttest.FakeStore, n int) []domain.Entry {
	t.Helper()
	var entries []domain.Entry
	load(t, s, fmt.Sprint("inbox/u1/", n), &entries)
	return entries
}

// TestEntriesReportsEvents asks for events in the head, in the archive, twice, dead, and of nobody.
func TestEntriesReportsEvents(t *testing.T) {
	store := documenttest.NewStore()
	n := newService(store)
	events := orderEvents("u1", 4*domain.SegmentSize)
	dead := orderEvents("u2", 1)[0]
	n.deliver(t, events...)
	if err := n.letters.DeadLetter(t.Context(), dead, errors.New("a test")); err != nil {
		t.Fatal(err)
	}
	last := len(events) - 1
	changeInbox(t, store, func(i *domain.Inbox) { i.Entries = append(i.Entries, i.Entries[len(i.Entries)-1]) })
	ref := func(user string, e event.Event) contract.EventRef {
		return contract.EventRef{EventID: e.ID, UserID: user, OccurredAt: e.Time}
	}
	answer, err := n.audit.Entries(t.Context(), contract.EntriesRequest{Events: []contract.EventRef{
		ref("u1", events[0]), ref("u1", events[last-1]), ref("u1", events[last]), ref("u2", dead), ref("u3", events[0]),
	}})
	want := []contract.EntryState{{Times: 1}, {Times: 1}, {Times: 2}, {Letter: contract.LetterOpen}, {}}
	if err != nil || !slices.Equal(answer.Entries, want) {
		t.Errorf("answers %+v, %v", answer.Entries, err)
	}
}

// crew are the staff, all of whom may do anything.
type crew []string

func (c crew) With(context.Context, string, int) ([]string, error) { return c, nil }

// TestEntriesReportsEventsForStaff asks for events that name no user.
func TestEntriesReportsEventsForStaff(t *testing.T) {
	low := func(sequence int64) event.Event {
		return event.Event{
			ID: event.ID("products", "stock/TEA", sequence), Type: products.EventStockLow, Source: "products", Subject: "stock/TEA",
			Sequence: sequence, Time: noon, Data: []byte(`{"sku":"TEA","available":3,"threshold":5}`),
		}
	}
	store := documenttest.NewStore()
	n := newService(store)
	n.deliverEvent.Staff = crew{}
	n.deliver(t, low(1))
	n.deliverEvent.Staff = crew{"u1", "u2"}
	n.deliver(t, low(2), low(3), low(4))
	changeInbox(t, store, func(i *domain.Inbox) { // of u1
		i.Entries[1] = i.Entries[2]
	})
	var asked []contract.EventRef
	for sequence := range int64(6) {
		asked = append(asked, contract.EventRef{EventID: low(sequence).ID, OccurredAt: noon})
	}
	answer, err := n.audit.Entries(t.Context(), contract.EntriesRequest{Events: asked})
	want := []contract.EntryState{{}, {Times: 1}, {Times: 1}, {}, {Times: 2}, {}} // unknown, nobody, both, not u1, twice, unknown
	if err != nil || !slices.Equal(answer.Entries, want) {
		t.Errorf("answers %+v, %v", answer.Entries, err)
	}
}

// TestAuditCountsDeadLetters has more of them than a page, one decided, and one that contradicts itself.
func TestAuditCountsDeadLetters(t *testing.T) {
	store := documenttest.NewStore()
	n := newService(store)
	var letters []string
	for _, e := range orderEvents("u1", 40) {
		if err := n.letters.DeadLetter(t.Context(), e, errors.New("a test")); err != nil {
			t.Fatal(err)
		}
		letters = append(letters, "dead-letter/"+deadletter.ID(e.ID))
	}
	edit := func(key string, change func(*deadletter.Letter)) {
		var letter deadletter.Letter
		load(t, store, key, &letter)
		change(&letter)
		overwrite(t, store, key, letter)
	}
	edit(letters[0], func(d *deadletter.Letter) { d.Status, d.DecidedAt = deadletter.StatusDiscarded, noon })
	all := n.audited(t)
	if len(all.Findings) > 0 || all.Counts["letters.open"] != 39 || all.Counts["letters.discarded"] != 1 {
		t.Errorf("counted %v, found %v", all.Counts, all.Findings)
	}
	edit(letters[1], func(d *deadletter.Letter) { d.Status = deadletter.StatusReplayed })
	if all = n.audited(t); len(all.Findings) != 1 || all.Findings[0].Invariant != contract.InvariantLetter {
		t.Errorf("found %v", all.Findings)
	}
}
