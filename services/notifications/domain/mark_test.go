package domain_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"caravan/internal/document"
	"caravan/services/notifications/domain"
)

// archived returns an inbox that took n events and sealed what it could.
func archived(t *testing.T, n int) *domain.Inbox {
	t.Helper()
	var inbox domain.Inbox
	for i := range n {
		if err := inbox.Deliver(notices(i+1), domain.Attempt{Now: noon, Entry: "entry"}); err != nil {
			t.Fatal(err)
		}
		for inbox.Sealable() != nil {
			if err := inbox.Seal("inbox/u1", inbox.Segments); err != nil {
				t.Fatal(err)
			}
		}
	}
	return &inbox
}

func TestUnreadCountsHeadAndArchive(t *testing.T) {
	inbox := archived(t, 3*domain.SegmentSize)
	if inbox.Segments != 2 || inbox.Unread() != 3*domain.SegmentSize {
		t.Fatalf("%d segments, %d unread", inbox.Segments, inbox.Unread())
	}
	if !inbox.Counts(0) || !inbox.Counts(1) || inbox.Counts(2) || inbox.Counts(-1) {
		t.Error("the wrong segments count")
	}
	if err := inbox.Discount(1, 3); err != nil || inbox.Unread() != 3*domain.SegmentSize-1 {
		t.Errorf("%d unread, %v", inbox.Unread(), err)
	}
	for _, at := range [][2]int{{1, 3}, {2, 0}, {-1, 0}} {
		if err := inbox.Discount(at[0], at[1]); !errors.Is(err, document.ErrUnchanged) {
			t.Errorf("discounting %v: %v", at, err)
		}
	}
}

func TestOnlyTheNewestCount(t *testing.T) {
	inbox := archived(t, domain.CountedEntries+5*domain.SegmentSize)
	if inbox.Segments != 29 || inbox.Unread() != domain.CountedEntries+domain.SegmentSize {
		t.Errorf("%d segments, %d unread", inbox.Segments, inbox.Unread())
	}
	if inbox.Counts(3) || !inbox.Counts(4) || !inbox.Counts(28) {
		t.Error("the wrong segments count")
	}
}

func TestMarkAllReadUpToAnyPosition(t *testing.T) {
	const total = 70
	for upTo := range total + 5 {
		t.Run(fmt.Sprint(upTo), func(t *testing.T) {
			inbox := archived(t, total)
			err := inbox.MarkAllRead(upTo, noon.Add(time.Hour))
			if (upTo == 0) != errors.Is(err, document.ErrUnchanged) || upTo > 0 && err != nil {
				t.Fatal(err)
			}
			if want := total - min(upTo, total); inbox.Unread() != want {
				t.Errorf("%d unread, want %d", inbox.Unread(), want)
			}
			if err := inbox.MarkAllRead(upTo, noon.Add(2*time.Hour)); !errors.Is(err, document.ErrUnchanged) {
				t.Errorf("again: %v", err)
			}
		})
	}
}

func TestATombstoneKeepsItsEventOut(t *testing.T) {
	inbox := filled(t, 3)
	second := notice(2).NotificationID()
	if err := inbox.Delete(second, noon); err != nil {
		t.Fatal(err)
	}
	if err := inbox.Delete(second, noon); !errors.Is(err, document.ErrUnchanged) {
		t.Errorf("again: %v", err)
	}
	if err := inbox.MarkRead(second, noon); !errors.Is(err, document.ErrNotFound) {
		t.Errorf("reading it: %v", err)
	}
	if err := inbox.Deliver(notices(2), domain.Attempt{Now: noon}); !errors.Is(err, document.ErrUnchanged) {
		t.Errorf("delivering it again: %v", err)
	}
	if inbox.Unread() != 2 || inbox.Total != 3 || inbox.Entries[1].Data != (domain.Data{}) {
		t.Errorf("the inbox is %+v", inbox)
	}
	if err := inbox.Delete(notice(9).NotificationID(), noon); !errors.Is(err, domain.ErrNotInHead) {
		t.Errorf("one that is not there: %v", err)
	}
}
