package deadletter

import (
	"context"
	"fmt"
	"time"

	"caravan/internal/document"
)

const (
	// lettersPerRead bounds one bulk read of dead letters, whose payloads may be large.
	lettersPerRead = 16
	// lettersScanned bounds the letters that one request looks through for those that its filter selects.
	lettersScanned = 1000
	// clocksApart is how far the clocks of two replicas may be apart: the list is in the order of arrival only so far.
	clocksApart = time.Minute
)

// List returns dead letters that the filter selects, newest first, and the cursor of the next page or "". A page has up
// to limit of them. It may have fewer although more follow: one request looks through a bounded number.
func (q *Queue) List(ctx context.Context, filter Filter, cursor string, limit int) ([]*Letter, string, error) {
	list := make([]*Letter, 0, limit)
	for scanned := 0; scanned < lettersScanned; {
		s, err := q.lettersFrom(ctx, filter, cursor)
		if err != nil {
			return nil, "", fmt.Errorf("listing dead letters: %w", err)
		}
		for _, l := range s.letters {
			if filter.Matches(l.Letter) {
				list = append(list, l.Letter)
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
	// letters are those that a filter may select by what the list has; the filter still has to check the letters.
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
	*Letter
	place int
}

// lettersFrom reads the list from a cursor on. It does not read letters whose entries cannot match the filter.
func (q *Queue) lettersFrom(ctx context.Context, filter Filter, cursor string) (letterStretch, error) {
	entries, next, err := q.entries.Page(ctx, everything, cursor, lettersPerRead)
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
	letters, err := q.letters.GetMany(ctx, ids...)
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

// before reports whether a letter certainly arrived before a time.
func (l listed) before(t time.Time) bool {
	return !t.IsZero() && !l.At.IsZero() && l.At.Before(t.Add(-clocksApart))
}

// may reports whether a letter can match a filter, by its entry.
func (l listed) may(f Filter) bool {
	if l.At.IsZero() {
		return true
	}
	return (f.Topic == "" || f.Topic == l.Topic) && (f.Type == "" || f.Type == l.Type) &&
		(f.Until.IsZero() || l.At.Before(f.Until.Add(clocksApart)))
}
