package deadletter_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"caravan/internal/deadletter"
	"caravan/internal/document/documenttest"
	"caravan/internal/event"
)

func TestDeadLettersArePagedNewestFirst(t *testing.T) {
	n := replica(documenttest.NewStore(), "a").queue()
	const total = 130
	for i := range total {
		if err := n.Receive(t.Context(), fmt.Append(nil, "garbage ", i)); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for cursor := ""; ; {
		letters, next, err := n.List(t.Context(), deadletter.Filter{}, cursor, 40)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range letters {
			got = append(got, string(l.Payload))
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	for i, payload := range got {
		if want := fmt.Sprint("garbage ", total-1-i); payload != want {
			t.Fatalf("letter %d is %q; want %q", i, payload, want)
		}
	}
	if len(got) != total {
		t.Errorf("%d letters", len(got))
	}
}

func TestSearchingDeadLetters(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		store := documenttest.NewStore()
		clock := newMoving(replica(store, "a"))
		n := clock.queue()
		var all []*deadletter.Letter
		for i := range rapid.IntRange(0, 70).Draw(rt, "letters") {
			e := orderEvent("u1", i, noon)
			e.Source = rapid.SampledFrom([]string{"orders", "users"}).Draw(rt, "topic")
			e.Type = rapid.SampledFrom([]string{"orders.confirmed.v1", "orders.confirmed.v2"}).Draw(rt, "type")
			e.ID = event.ID(e.Source, e.Subject, e.Sequence)
			*clock.at = clock.at.Add(time.Duration(rapid.IntRange(0, 90).Draw(rt, "later")) * time.Second)
			if err := n.DeadLetter(rt.Context(), e, errors.New(rapid.SampledFrom([]string{"Broken inbox", "nonsense"}).Draw(rt, "reason"))); err != nil {
				rt.Fatal(err)
			}
			letter, err := n.Show(rt.Context(), deadletter.ID(e.ID))
			if err != nil {
				rt.Fatal(err)
			}
			if rapid.IntRange(0, 3).Draw(rt, "discard") == 0 {
				if letter, err = n.Discard(rt.Context(), letter.ID, deadletter.Instruction{By: "ada", Reason: "x"}); err != nil {
					rt.Fatal(err)
				}
			}
			all = append([]*deadletter.Letter{letter}, all...)
		}
		either := func(name string, some ...string) string {
			return rapid.SampledFrom(append(some, "")).Draw(rt, name)
		}
		f := deadletter.Filter{
			Topic: either("of topic", "orders", "users"), Type: either("of type", "orders.confirmed.v2"), Reason: either("for", "INBOX"),
			Status: deadletter.Status(either("status", "open", "discarded")),
		}
		if rapid.Bool().Draw(rt, "bounded") {
			f.Since = noon.Add(time.Duration(rapid.IntRange(-60, 3000).Draw(rt, "since")) * time.Second)
			f.Until = f.Since.Add(time.Duration(rapid.IntRange(0, 3000).Draw(rt, "span")) * time.Second)
		}
		var want, got []string
		for _, l := range all {
			if f.Matches(l) {
				want = append(want, l.EventID)
			}
		}
		limit := rapid.IntRange(1, 20).Draw(rt, "limit")
		for cursor := ""; ; {
			page, next, err := n.List(rt.Context(), f, cursor, limit)
			if err != nil || len(page) > limit {
				rt.Fatalf("a page of %d, %v", len(page), err)
			}
			for _, l := range page {
				got = append(got, l.EventID)
			}
			if cursor = next; cursor == "" {
				break
			}
		}
		if !slices.Equal(got, want) {
			rt.Fatalf("%+v found %v; want %v", f, got, want)
		}
	})
}

// A page of the list continues where it ended, although letters arrive while it is read.
func TestLettersThatArriveWhileTheListIsRead(t *testing.T) {
	store := documenttest.NewStore()
	list := replica(store, "a")
	for i := range 30 {
		if err := list.queue().DeadLetter(t.Context(), orderEvent("u1", i, noon), errors.New("nonsense")); err != nil {
			t.Fatal(err)
		}
	}
	others, arrived := replica(store, "b").queue(), 0
	n := list.queue()
	list.Meanwhile = func(string) { // before each read by the one that lists
		arrived++
		if err := others.DeadLetter(t.Context(), orderEvent("u1", 1000+arrived, noon), errors.New("later")); err != nil {
			t.Error(err)
		}
	}
	seen := make(map[string]int)
	for cursor := ""; ; {
		page, next, err := n.List(t.Context(), deadletter.Filter{}, cursor, 7)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range page {
			seen[l.ID]++
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	for i := range 30 {
		if times := seen[deadletter.ID(orderEvent("u1", i, noon).ID)]; times != 1 {
			t.Errorf("letter %d was listed %d times", i, times)
		}
	}
}
