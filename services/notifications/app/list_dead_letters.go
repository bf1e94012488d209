package app

import (
	"context"
	"fmt"
	"time"

	"caravan/internal/document"
	"caravan/services/notifications/domain"
)

const (
	// lettersPerRead bounds one bulk read of dead letters, whose payloads may be large.
	lettersPerRead = 16
	// lettersScanned bounds the letters that one request looks through for those that its filter chooses.
	lettersScanned = 1000
	// clocksApart is how far the clocks of two replicas may be apart: the list is in the order of arrival only so far.
	clocksApart = time.Minute
)

// ListDeadLetters returns dead letters that the filter chooses, newest first, and the cursor of the next page or "". A
// page has up to limit of them, and may have fewer although more follow: one request looks through a bounded number.
func (n *Notifications) ListDeadLetters(ctx context.Context, filter domain.LetterFilter, cursor string, limit int) ([]*domain.DeadLetter, string, error) {
	list := make([]*domain.DeadLetter, 0, limit)
	for scanned := 0; scanned < lettersScanned; {
		s, err := n.lettersFrom(ctx, filter, cursor)
		if err != nil {
			return nil, "", fmt.Errorf("listing dead letters: %w", err)
		}
		for _, l := range s.letters {
			if filter.Matches(l.DeadLetter) {
				list = append(list, l.DeadLetter)
			}
			if len(list) == limit && l.place+1 < s.length {
				cursor, err = s.after(l.place + 1)
				return list, cursor, err
			}
		}
		scanned += s.length
		if cursor = s.next; cursor == "" || len(list) == limit {
			return list, cursor, nil
		}
	}
	return list, cursor, nil
}

// letterStretch is a part of the list of dead letters, newest first.
type letterStretch struct {
	// letters are those that a filter may choose, as far as the list itself tells; the letters tell the rest.
	letters []placed
	// length is the number of entries of the list that the stretch covers, and next the cursor behind them, or "".
	length int
	next   string
	end    string // the cursor behind the stretch, also if nothing that follows can fit
}

// after is the cursor behind the first entries of the stretch.
func (s letterStretch) after(entries int) (string, error) {
	return document.CursorBefore(s.end, s.length-entries)
}

// placed is a letter and its place in a stretch, counted from 0.
type placed struct {
	*domain.DeadLetter
	place int
}

// lettersFrom reads the list from a cursor on. Entries that no letter can make fit the filter cost no read of the letter.
func (n *Notifications) lettersFrom(ctx context.Context, filter domain.LetterFilter, cursor string) (letterStretch, error) {
	entries, next, err := n.lettered.page(ctx, cursor, lettersPerRead)
	if err != nil {
		return letterStretch{}, err
	}
	s := letterStretch{length: len(entries), next: next, end: next}
	var ids []string
	for _, e := range entries {
		if e.before(filter.Since) {
			s.next = "" // and so are all that follow
		} else if e.may(filter) {
			ids = append(ids, e.ID)
		}
	}
	letters, err := n.letters.GetMany(ctx, ids...)
	if err != nil {
		return letterStretch{}, err
	}
	for i, e := range entries {
		if letter := letters[e.ID]; letter != nil && letter.Entry == e.Entry {
			s.letters = append(s.letters, placed{letter, i})
		}
	}
	return s, nil
}

// before reports whether a letter surely arrived before a time.
func (l listed) before(t time.Time) bool {
	return !t.IsZero() && !l.At.IsZero() && l.At.Before(t.Add(-clocksApart))
}

// may reports whether a letter can fit a filter, as far as its entry tells.
func (l listed) may(f domain.LetterFilter) bool {
	if l.At.IsZero() {
		return true
	}
	return (f.Topic == "" || f.Topic == l.Topic) && (f.Type == "" || f.Type == l.Type) &&
		(f.Until.IsZero() || l.At.Before(f.Until.Add(clocksApart)))
}
