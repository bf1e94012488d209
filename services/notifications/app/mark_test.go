package app_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"caravan/internal/document"
	"caravan/internal/document/documenttest"
	"caravan/internal/event"
	"caravan/services/notifications/app"
	"caravan/services/notifications/domain"
)

// mailbox is what an inbox has to show, as its user would keep it on paper. Entries are in the order of their arrival.
type mailbox struct {
	events        []event.Event
	read, deleted []bool
}

func (m *mailbox) unread() (count int) {
	for i := range m.events {
		if !m.read[i] && !m.deleted[i] {
			count++
		}
	}
	return count
}

// check compares what the user is shown with the mailbox, read in pages of a size.
func (m *mailbox) check(rt *rapid.T, n *notifications, unread bool, limit int) {
	var want, got []string
	for i := len(m.events) - 1; i >= 0; i-- {
		if !m.deleted[i] && (!unread || !m.read[i]) {
			want = append(want, fmt.Sprint(i+1, m.events[i].Subject, m.read[i]))
		}
	}
	for cursor := ""; ; {
		listed, err := n.Page(rt.Context(), app.Query{UserID: "u1", Cursor: cursor, Limit: limit, Unread: unread})
		if err != nil {
			rt.Fatal(err)
		}
		if listed.Unread != m.unread() {
			rt.Fatalf("%d are unread, want %d", listed.Unread, m.unread())
		}
		for _, item := range listed.Notifications {
			got = append(got, fmt.Sprint(item.Position, item.Subject, !item.ReadAt.IsZero()))
		}
		if cursor = listed.Next; cursor == "" {
			break
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		rt.Fatalf("the user is shown %v\nwant %v", got, want)
	}
}

// TestAnInboxIsWhatItsUserMakesOfIt delivers, reads, reads all and deletes in any order, with crashes of the replica in between
// after which the call is repeated, and with deliveries that come again.
func TestAnInboxIsWhatItsUserMakesOfIt(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		store := documenttest.NewStore()
		n := replica(store, "a").notifications()
		m := &mailbox{}
		// try runs a call in a replica that may crash in it, and then in another one.
		try := func(call func(*notifications) error) {
			crashing := replica(store, "crashing")
			crashing.Left = rapid.IntRange(0, 8).Draw(rt, "steps")
			_ = call(crashing.notifications())
			if err := call(n); err != nil {
				rt.Fatal(err)
			}
		}
		deliver := func(e event.Event) {
			try(func(n *notifications) error { return n.Deliver(rt.Context(), e) })
		}
		pick := func(rt *rapid.T) int {
			if len(m.events) == 0 {
				rt.Skip("the inbox is empty")
			}
			return rapid.IntRange(0, len(m.events)-1).Draw(rt, "which")
		}
		rt.Repeat(map[string]func(*rapid.T){
			"deliver": func(rt *rapid.T) {
				for range rapid.IntRange(1, 15).Draw(rt, "events") {
					e := orderEvent("u1", len(m.events), noon.Add(time.Duration(len(m.events))*time.Second))
					deliver(e)
					m.events, m.read, m.deleted = append(m.events, e), append(m.read, false), append(m.deleted, false)
				}
			},
			"deliver again": func(rt *rapid.T) { deliver(m.events[pick(rt)]) },
			"read": func(rt *rapid.T) {
				i := pick(rt)
				if m.deleted[i] {
					rt.Skip("it is deleted")
				}
				try(func(n *notifications) error { return n.MarkRead(rt.Context(), "u1", idOf("u1", m.events[i])) })
				m.read[i] = true
			},
			"read a deleted one": func(rt *rapid.T) {
				i := pick(rt)
				if !m.deleted[i] {
					rt.Skip("it is there")
				}
				if err := n.MarkRead(rt.Context(), "u1", idOf("u1", m.events[i])); !errors.Is(err, document.ErrNotFound) {
					rt.Fatalf("err = %v", err)
				}
			},
			"read all": func(rt *rapid.T) {
				i := pick(rt)
				try(func(n *notifications) error { return n.MarkAllRead(rt.Context(), "u1", i+1) })
				for ; i >= 0; i-- {
					m.read[i] = true
				}
			},
			"delete": func(rt *rapid.T) {
				i := pick(rt)
				if m.deleted[i] {
					rt.Skip("it is deleted")
				}
				try(func(n *notifications) error { return n.Delete(rt.Context(), "u1", idOf("u1", m.events[i])) })
				m.deleted[i] = true
			},
			"": func(rt *rapid.T) {
				// Large pages: every page reads the head again, and this runs after every step.
				m.check(rt, n, false, 50)
				m.check(rt, n, true, 50)
			},
		})
		m.check(rt, n, false, 9)
		m.check(rt, n, true, 9)
		if found, err := audited(rt.Context(), n); err != nil || len(found.Findings) > 0 {
			rt.Fatalf("the audit found %+v, %v", found.Findings, err)
		}
	})
}

// TestAnInboxOfAnEarlierVersion reads one that has no counts, and goes on with it. What that version archived does not count.
func TestAnInboxOfAnEarlierVersion(t *testing.T) {
	store := documenttest.NewStore()
	n := replica(store, "a").notifications()
	events := orderEvents("u1", 3*domain.SegmentSize)
	deliver(t, n, events...)
	records, err := store.Get(t.Context(), "inbox/u1")
	if err != nil {
		t.Fatal(err)
	}
	var stored map[string]json.RawMessage
	if err := json.Unmarshal(records["inbox/u1"].Value, &stored); err != nil {
		t.Fatal(err)
	}
	if stored["unreadArchived"] == nil {
		t.Fatalf("nothing to take away from %s", records["inbox/u1"].Value)
	}
	delete(stored, "unreadArchived")
	old, err := json.Marshal(stored)
	if err != nil {
		t.Fatal(err)
	}
	store.Overwrite("inbox/u1", old)

	expect := func(unread, shown int) {
		t.Helper()
		listed, err := n.Page(t.Context(), app.Query{UserID: "u1", Limit: 100})
		if err != nil || listed.Unread != unread || len(listed.Notifications) != shown {
			t.Errorf("%d unread of %d, %v; want %d of %d", listed.Unread, len(listed.Notifications), err, unread, shown)
		}
	}
	n = replica(store, "b").notifications()
	expect(domain.SegmentSize, 3*domain.SegmentSize)
	if err := n.MarkRead(t.Context(), "u1", idOf("u1", events[0])); err != nil { // archived without a count
		t.Error(err)
	}
	if err := n.Delete(t.Context(), "u1", idOf("u1", events[1])); err != nil {
		t.Error(err)
	}
	expect(domain.SegmentSize, 3*domain.SegmentSize-1)
	more := orderEvents("u1", 4*domain.SegmentSize)
	deliver(t, n, more...) // seals once more
	expect(2*domain.SegmentSize, 4*domain.SegmentSize-1)
	if err := n.MarkAllRead(t.Context(), "u1", 4*domain.SegmentSize); err != nil {
		t.Error(err)
	}
	expect(0, 4*domain.SegmentSize-1)
}

// A person may get more notifications in a minute than its guard has room for. All are found, once, and can be read and deleted.
func TestMoreNotificationsInAMinuteThanAGuardHasRoomFor(t *testing.T) {
	store := documenttest.NewStore()
	n := replica(store, "a").notifications()
	events := make([]event.Event, 20*domain.SegmentSize)
	for i := range events {
		events[i] = orderEvent("u1", i, noon.Add(time.Duration(i)*100*time.Millisecond))
	}
	deliver(t, n, events...)
	deliver(t, n, events...)
	for i, e := range events[:18*domain.SegmentSize] {
		change := n.MarkRead
		if i%2 == 0 {
			change = n.Delete
		}
		if err := change(t.Context(), "u1", idOf("u1", e)); err != nil {
			t.Fatalf("event %d: %v", i, err)
		}
	}
	records, err := store.Get(t.Context(), store.Keys()...)
	if err != nil {
		t.Fatal(err)
	}
	for key, record := range records {
		if strings.HasPrefix(key, "archived/") && len(record.Value) > 32<<10 {
			t.Errorf("%s has %d bytes", key, len(record.Value))
		}
	}
	listed, err := n.Page(t.Context(), app.Query{UserID: "u1", Limit: 100})
	if err != nil || listed.Unread != 2*domain.SegmentSize {
		t.Errorf("%d are unread, %v", listed.Unread, err)
	}
	if found, err := audited(t.Context(), n); err != nil || len(found.Findings) > 0 {
		t.Errorf("the audit found %+v, %v", found.Findings, err)
	}
}

func TestReadingAllOfAnEmptyInboxChangesNothing(t *testing.T) {
	store := documenttest.NewStore()
	n := replica(store, "a").notifications()
	if err := n.MarkAllRead(t.Context(), "u1", 5); err != nil || len(store.Keys()) != 0 {
		t.Errorf("%v, and there are %v", err, store.Keys())
	}
}
