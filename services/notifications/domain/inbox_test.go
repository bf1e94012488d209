package domain_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"caravan/internal/document"
	"caravan/services/notifications/domain"
	users "caravan/services/users/contract"
)

func notice(n int) domain.Notice {
	return domain.Notice{
		UserID: "u1", EventID: fmt.Sprintf("users/u1/%d", n), Type: users.EventRegistered,
		OccurredAt: noon.Truncate(time.Millisecond).Add(time.Duration(n) * time.Second),
	}
}

func notices(numbers ...int) []domain.Notice {
	all := make([]domain.Notice, len(numbers))
	for i, n := range numbers {
		all[i] = notice(n)
	}
	return all
}

// filled returns an inbox that took the events 1 to n, all in its head.
func filled(t *testing.T, n int) *domain.Inbox {
	t.Helper()
	var inbox domain.Inbox
	for i := range n {
		if err := inbox.Deliver(notices(i+1), domain.Attempt{Now: noon, Entry: "entry"}); err != nil {
			t.Fatal(err)
		}
	}
	return &inbox
}

func TestAnInboxHasToBeRegistered(t *testing.T) {
	var inbox domain.Inbox
	if err := inbox.Deliver(notices(1), domain.Attempt{Now: noon}); !errors.Is(err, domain.ErrUnregistered) {
		t.Fatalf("err = %v", err)
	}
	if inbox.Total != 0 || len(inbox.Entries) != 0 {
		t.Errorf("a refusal changed the inbox: %+v", inbox)
	}
}

func TestAnEventIsTakenOnce(t *testing.T) {
	inbox := filled(t, 3)
	for n := range 3 {
		if err := inbox.Deliver(notices(n+1), domain.Attempt{Now: noon}); !errors.Is(err, document.ErrUnchanged) {
			t.Errorf("event %d again: %v", n+1, err)
		}
	}
	if err := inbox.Deliver(notices(2, 4, 3, 4, 5), domain.Attempt{Now: noon}); err != nil {
		t.Error(err)
	}
	if inbox.Total != 5 || len(inbox.Entries) != 5 || inbox.Entries[3].EventID != notice(4).EventID {
		t.Errorf("inbox holds %d of %d", len(inbox.Entries), inbox.Total)
	}
}

func TestCreationNeverGoesBack(t *testing.T) {
	inbox := filled(t, 1)
	if err := inbox.Deliver(notices(2), domain.Attempt{Now: noon.Add(-time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if inbox.Entries[1].CreatedAt.Before(inbox.Entries[0].CreatedAt) {
		t.Errorf("created at %v after %v", inbox.Entries[1].CreatedAt, inbox.Entries[0].CreatedAt)
	}
}

func TestSealMovesTheOlderHalf(t *testing.T) {
	inbox := filled(t, 2*domain.SegmentSize-1)
	if inbox.Sealable() != nil || !errors.Is(inbox.Seal("inbox/u1", 0), document.ErrUnchanged) {
		t.Fatal("a short head can be sealed")
	}
	inbox = filled(t, 2*domain.SegmentSize)
	if len(inbox.Sealable()) != domain.SegmentSize {
		t.Fatalf("%d entries can be sealed", len(inbox.Sealable()))
	}
	if !errors.Is(inbox.Seal("inbox/u1", 1), document.ErrUnchanged) {
		t.Error("a segment was left out")
	}
	if err := inbox.Seal("inbox/u1", 0); err != nil {
		t.Fatal(err)
	}
	if inbox.Segments != 1 || len(inbox.Entries) != domain.SegmentSize || inbox.Entries[0].EventID != notice(domain.SegmentSize+1).EventID {
		t.Errorf("after sealing: %d segments, %d entries", inbox.Segments, len(inbox.Entries))
	}
	if len(inbox.Sealed) != 1 || inbox.Sealed[0].Key != "inbox/u1/0" {
		t.Errorf("sealed %v", inbox.Sealed)
	}
	if !inbox.ArchivedUntil.Equal(notice(domain.SegmentSize).OccurredAt) {
		t.Errorf("archived until %v", inbox.ArchivedUntil)
	}
}

func TestAnEventOlderThanTheArchiveNeedsProof(t *testing.T) {
	inbox := filled(t, 2*domain.SegmentSize)
	if err := inbox.Seal("inbox/u1", 0); err != nil {
		t.Fatal(err)
	}
	var unchecked *domain.UncheckedError
	if err := inbox.Deliver(notices(1), domain.Attempt{Now: noon}); !errors.As(err, &unchecked) || unchecked.Segments != 1 {
		t.Fatalf("an archived event: %v", err)
	}
	if err := inbox.Deliver(notices(2*domain.SegmentSize+1), domain.Attempt{Now: noon}); err != nil {
		t.Errorf("a new event needs no proof: %v", err)
	}
	late := notice(domain.SegmentSize) // as late as the newest archived one, yet another
	late.EventID = "users/u1/late"
	if err := inbox.Deliver([]domain.Notice{late}, domain.Attempt{Now: noon}); !errors.As(err, &unchecked) {
		t.Errorf("a late event without proof: %v", err)
	}
	before := len(inbox.Entries)
	if err := inbox.Deliver([]domain.Notice{notice(900), late}, domain.Attempt{Now: noon}); !errors.As(err, &unchecked) ||
		len(unchecked.Notices) != 1 || unchecked.Notices[0].EventID != late.EventID || len(inbox.Entries) != before {
		t.Errorf("a late event among others: %v", err)
	}
	if err := inbox.Deliver([]domain.Notice{late}, domain.Attempt{Now: noon, Segments: 1}); err != nil {
		t.Errorf("a late event with proof: %v", err)
	}
}

func TestAFullHeadAsksToBeSealed(t *testing.T) {
	inbox := filled(t, 10*domain.SegmentSize)
	if err := inbox.Deliver(notices(999), domain.Attempt{Now: noon}); !errors.Is(err, domain.ErrFull) {
		t.Errorf("err = %v", err)
	}
}

func TestMarkRead(t *testing.T) {
	inbox := filled(t, 2)
	second := notice(2).NotificationID()
	if err := inbox.MarkRead(second, noon); err != nil {
		t.Fatal(err)
	}
	if err := inbox.MarkRead(second, noon.Add(time.Hour)); !errors.Is(err, document.ErrUnchanged) {
		t.Errorf("again: %v", err)
	}
	if got := inbox.Entries[1].ReadAt; !got.Equal(noon.Truncate(time.Millisecond)) || !inbox.Entries[0].ReadAt.IsZero() {
		t.Errorf("read at %v and %v", inbox.Entries[0].ReadAt, got)
	}
	if err := inbox.MarkRead(domain.NotificationID("u2", notice(2).EventID, notice(2).OccurredAt), noon); !errors.Is(err, domain.ErrNotInHead) {
		t.Errorf("another user's: %v", err)
	}
}

func TestSubject(t *testing.T) {
	for id, want := range map[string]string{"orders/o1/3": "o1", "orders/a/b/3": "a/b", "odd": "", "orders/o1": "o1"} {
		if got := (domain.Entry{EventID: id}).Subject(); got != want {
			t.Errorf("subject of %s is %q; want %q", id, got, want)
		}
	}
}
