package domain_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"caravan/internal/document"
	"caravan/internal/id"
	"caravan/services/notifications/domain"
)

func TestANotificationIDFindsItsGuard(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		at := time.UnixMilli(rapid.Int64Range(0, 1<<47).Draw(rt, "at"))
		n := domain.NotificationID("u1", "orders/o1/5", at)
		if !id.Valid(n) || n[14] != '8' || !strings.ContainsRune("89ab", rune(n[19])) {
			rt.Fatalf("%s is not a UUID of version 8", n)
		}
		want := []string{fmt.Sprint("u1/", at.UnixMilli()/60_000), fmt.Sprint("u1/", at.UnixMilli()/5_000)}
		if got := []string{domain.GuardID("u1", n), domain.SpareGuardID("u1", n)}; !slices.Equal(got, want) {
			rt.Fatalf("guards %s; want %s", got, want)
		}
		for _, other := range []string{domain.NotificationID("u2", "orders/o1/5", at), domain.NotificationID("u1", "orders/o1/6", at)} {
			if other == n {
				rt.Fatalf("two notifications have the id %s", n)
			}
		}
	})
}

func TestANotificationIDOfAnyTimeIsAnID(t *testing.T) {
	for _, at := range []time.Time{{}, time.Unix(-1, 0), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)} {
		if n := domain.NotificationID("u1", "orders/o1/5", at); !id.Valid(n) || domain.GuardID("u1", n) == "" {
			t.Errorf("%v gives %s", at, n)
		}
	}
}

// The ids are in inboxes and in people's hands: they must never change.
func TestANotificationIDIsStable(t *testing.T) {
	if n := domain.NotificationID("u1", "orders/o1/5", noon); n != "019ca945-0a7b-8c8f-9053-475d687835db" {
		t.Errorf("id is %s", n)
	}
}

func TestGuard(t *testing.T) {
	var g domain.Guard
	if err := g.MarkRead("a", noon); !errors.Is(err, document.ErrNotFound) {
		t.Errorf("marked what is not there: %v", err)
	}
	if _, err := g.Record([]string{"a", "b"}, 3); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Record([]string{"a", "b"}, 4); !errors.Is(err, document.ErrUnchanged) {
		t.Errorf("recorded again: %v", err)
	}
	if err := g.MarkRead("a", noon); err != nil {
		t.Fatal(err)
	}
	if err := g.MarkRead("a", noon.Add(time.Hour)); !errors.Is(err, document.ErrUnchanged) {
		t.Errorf("marked again: %v", err)
	}
	if _, err := g.Record([]string{"a", "c"}, 4); err != nil {
		t.Fatal(err)
	}
	want := map[string]domain.Archived{"a": {Segment: 3, ReadAt: noon.Truncate(time.Millisecond)}, "b": {Segment: 3}, "c": {Segment: 4}}
	if fmt.Sprint(g.Entries) != fmt.Sprint(want) {
		t.Errorf("guard has %v; want %v", g.Entries, want)
	}
}

// A guard that is full passes the rest on. It still has what it had, and takes a repeat of it.
func TestAFullGuard(t *testing.T) {
	var g, spare domain.Guard
	ids := make([]string, 300)
	for i := range ids {
		ids[i] = fmt.Sprint(i)
	}
	rest, err := g.Record(ids, 3)
	if err != nil || !g.Full() || len(g.Entries)+len(rest) != len(ids) || len(rest) == 0 {
		t.Fatalf("the guard has %d and passed on %d, %v", len(g.Entries), len(rest), err)
	}
	if again, err := g.Record(ids, 3); !errors.Is(err, document.ErrUnchanged) || !slices.Equal(again, rest) {
		t.Errorf("a repeat passed on %v, %v", again, err)
	}
	if err := spare.RecordSpare(ids, 3); err != nil || len(spare.Entries) != len(ids) {
		t.Errorf("the spare guard has %d, %v", len(spare.Entries), err)
	}
	if _, known := (*domain.Guard)(nil).Entry("0"); known || (*domain.Guard)(nil).Full() {
		t.Error("no guard has an entry")
	}
}

func TestAGuardRecordsADeletion(t *testing.T) {
	id := notice(1).NotificationID()
	var g domain.Guard
	if err := g.Delete(id, noon); !errors.Is(err, document.ErrNotFound) {
		t.Fatalf("deleting nothing: %v", err)
	}
	if _, err := g.Record([]string{id}, 3); err != nil {
		t.Fatal(err)
	}
	if err := g.Delete(id, noon); err != nil {
		t.Fatal(err)
	}
	if err := g.Delete(id, noon.Add(time.Hour)); !errors.Is(err, document.ErrUnchanged) {
		t.Errorf("again: %v", err)
	}
	if err := g.MarkRead(id, noon); !errors.Is(err, document.ErrNotFound) {
		t.Errorf("reading it: %v", err)
	}
	if got := g.Entries[id]; got.Segment != 3 || !got.DeletedAt.Equal(noon.UTC().Truncate(time.Millisecond)) {
		t.Errorf("recorded %+v", got)
	}
}
