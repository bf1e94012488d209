package app_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"caravan/internal/document"
	"caravan/internal/document/documenttest"
	"caravan/internal/event"
	"caravan/internal/problem"
	"caravan/services/notifications/app"
	"caravan/services/notifications/domain"
)

func TestAnEntryTellsWhatHappened(t *testing.T) {
	p := replica(documenttest.NewStore(), "a")
	n := p.notifications()
	deliver(t, n, orderEvent("u1", 1, noon.Add(-time.Minute)))
	list, next, err := n.List(t.Context(), app.Query{UserID: "u1", Limit: 10})
	if err != nil || next != "" || len(list) != 1 {
		t.Fatalf("listed %+v, %v", list, err)
	}
	got := list[0]
	want := app.Notification{
		ID: idOf("u1", orderEvent("u1", 1, noon.Add(-time.Minute))), Position: 1, Type: "orders.confirmed.v1", Subject: "u1-order-1",
		Title: "Your order is confirmed", Body: "Thank you! Order u1-order is paid with 1.01 EUR from your wallet.",
		OccurredAt: noon.Add(-time.Minute), CreatedAt: noon, Data: domain.Data{OrderID: "u1-order-1", Amount: euros(101)},
	}
	if got != want {
		t.Errorf("listed %+v\nwant   %+v", got, want)
	}
}

func TestNobodyHasAnEmptyInbox(t *testing.T) {
	n := replica(documenttest.NewStore(), "a").notifications()
	list, next, err := n.List(t.Context(), app.Query{UserID: "u1", Limit: 10})
	if err != nil || next != "" || len(list) != 0 {
		t.Errorf("listed %v, %q, %v", list, next, err)
	}
	_, _, err = n.List(t.Context(), app.Query{UserID: "u1", Limit: 10, Cursor: "%%"})
	var p *problem.Problem
	if !errors.As(err, &p) || p.Status != 400 {
		t.Errorf("a bad cursor: %v", err)
	}
}

// TestPagesShowEachEntryOnceAndInOrder walks with any page size while the inbox grows and is read.
func TestPagesShowEachEntryOnceAndInOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		total := rapid.IntRange(0, 130).Draw(rt, "entries")
		limit := rapid.IntRange(1, 100).Draw(rt, "limit")
		unread := rapid.Bool().Draw(rt, "unread")
		read := rapid.SliceOfDistinct(rapid.IntRange(0, 129), rapid.ID).Draw(rt, "read")
		early := rapid.IntRange(0, 130).Draw(rt, "readAfter") // marks are set when so many have arrived, or at the end
		n := replica(documenttest.NewStore(), "a").notifications()
		events := orderEvents("u1", total+40)
		mark := func(have int) {
			for _, i := range read {
				if i >= have {
					continue
				}
				if err := n.MarkRead(rt.Context(), "u1", idOf("u1", events[i])); err != nil {
					rt.Fatal(err)
				}
			}
		}
		for i, e := range events[:total] {
			if i == early {
				mark(i)
			}
			if err := n.Deliver(rt.Context(), e); err != nil {
				rt.Fatal(err)
			}
		}
		mark(total)
		var want, got []string
		for i := total - 1; i >= 0; i-- {
			if !unread || !slices.Contains(read, i) {
				want = append(want, events[i].Subject)
			}
		}
		arrived := total
		for cursor := ""; ; {
			list, next, err := n.List(rt.Context(), app.Query{UserID: "u1", Cursor: cursor, Limit: limit, Unread: unread})
			if err != nil {
				rt.Fatal(err)
			}
			if len(list) > limit || (!unread && next != "" && len(list) < limit) {
				rt.Fatalf("a page of %d for limit %d", len(list), limit)
			}
			for _, item := range list {
				got = append(got, item.Subject)
				i := slices.IndexFunc(events, func(e event.Event) bool { return e.Subject == item.Subject })
				if item.ReadAt.IsZero() == slices.Contains(read, i) {
					rt.Fatalf("%s has the wrong mark", item.Subject)
				}
			}
			if cursor = next; cursor == "" {
				break
			}
			if arrived < len(events) { // a walk under way is not disturbed
				if err := n.Deliver(rt.Context(), events[arrived]); err != nil {
					rt.Fatal(err)
				}
				arrived++
			}
		}
		if !slices.Equal(got, want) {
			rt.Fatalf("walked %v\nwant   %v", got, want)
		}
	})
}

func TestAPageOfUnreadReadsABoundedPartOfTheArchive(t *testing.T) {
	store := documenttest.NewStore()
	n := replica(store, "a").notifications()
	events := orderEvents("u1", 15*domain.SegmentSize)
	deliver(t, n, events...)
	for _, e := range events[1:] {
		if err := n.MarkRead(t.Context(), "u1", idOf("u1", e)); err != nil {
			t.Fatal(err)
		}
	}
	pages, found := 0, 0
	for cursor := ""; ; pages++ {
		reads := 0
		store.BeforeGet(func([]string) error { reads++; return nil })
		list, next, err := n.List(t.Context(), app.Query{UserID: "u1", Cursor: cursor, Limit: 5, Unread: true})
		if err != nil {
			t.Fatal(err)
		}
		if reads > 20 {
			t.Errorf("a page took %d reads", reads)
		}
		found += len(list)
		if cursor = next; cursor == "" {
			break
		}
	}
	if found != 1 || pages == 0 {
		t.Errorf("found %d in %d pages", found, pages+1)
	}
}

// The first page of an inbox costs the same however long the inbox is.
func TestTheFirstPageIsOneRead(t *testing.T) {
	for _, total := range []int{1, 30, 500} {
		store := documenttest.NewStore()
		n := replica(store, "a").notifications()
		deliver(t, n, orderEvents("u1", total)...)
		reads := 0
		store.BeforeGet(func([]string) error { reads++; return nil })
		if list, _, err := n.List(t.Context(), app.Query{UserID: "u1", Limit: 20}); err != nil || len(list) != min(total, 20) {
			t.Fatalf("%d entries, %v", len(list), err)
		}
		if reads != 1 {
			t.Errorf("%d reads with %d entries", reads, total)
		}
	}
}

func TestMarkRead(t *testing.T) {
	store := documenttest.NewStore()
	p := replica(store, "a")
	n := p.notifications()
	events := orderEvents("u1", 3*domain.SegmentSize)
	deliver(t, n, events...)
	deliver(t, n, deposit("u2", 1))
	for name, e := range map[string]event.Event{"archived": events[0], "in the head": events[len(events)-1]} {
		t.Run(name, func(t *testing.T) {
			notification := idOf("u1", e)
			p.Time = func() time.Time { return noon.Add(time.Hour) }
			if err := n.MarkRead(t.Context(), "u1", notification); err != nil {
				t.Fatal(err)
			}
			p.Time = func() time.Time { return noon.Add(2 * time.Hour) }
			if err := n.MarkRead(t.Context(), "u1", notification); err != nil {
				t.Fatalf("again: %v", err)
			}
			list, _, err := n.List(t.Context(), app.Query{UserID: "u1", Limit: 100})
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(list, func(item app.Notification) bool { return item.ID == notification })
			if !list[i].ReadAt.Equal(noon.Add(time.Hour)) {
				t.Errorf("read at %v", list[i].ReadAt)
			}
		})
	}
	notFound := map[string][2]string{
		"another user's, archived":    {"u2", idOf("u1", events[0])},
		"another user's, in the head": {"u1", idOf("u2", deposit("u2", 1))},
		"nobody's":                    {"u1", domain.NotificationID("u1", "orders/none/1", noon)},
		"without an inbox":            {"u3", domain.NotificationID("u3", "orders/none/1", noon)},
		"not an id":                   {"u1", "../inbox/u1"},
	}
	before := fmt.Sprint(store.Keys())
	for name, at := range notFound {
		if err := n.MarkRead(t.Context(), at[0], at[1]); !errors.Is(err, document.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if after := fmt.Sprint(store.Keys()); after != before {
		t.Error("marking what is not there created documents")
	}
}
