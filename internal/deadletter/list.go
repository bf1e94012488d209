package deadletter

import (
	"context"
	"fmt"
	"time"

	"caravan/internal/document"
)

const (
	// lettersPerRead limits one bulk read of dead letters, because their payloads may be large.
	lettersPerRead = 16
	// lettersScanned limits the letters that one request examines for those that its filter selects.
	lettersScanned = 1000
	// clocksApart is how far the clocks of two replicas may differ, and so how far the list may be out of order.
	clocksApart = time.Minute
)

// List returns dead letters that the filter selects, newest first, and the cursor of the next page or "". A page has at
// most limit letters. It may have fewer although more follow, because one request examines a limited number.
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
	// letters are those that may match the filter, by their list entries. The filter still has to check them.
	letters []placed
	// length is how many list entries the stretch covers. next is the cursor after them, or "".
	length int
	next   string
	end    string // the cursor after the stretch, also if nothing that follows can match
}

// after returns the cursor after the first entries of the stretch.
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
			s.next = "" // all entries that follow are too old as well
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

// may reports whether a letter can match a filter, by what its list entry says.
func (l listed) may(f Filter) bool {
	if l.At.IsZero() {
		return true
	}
	return (f.Topic == "" || f.Topic == l.Topic) && (f.Type == "" || f.Type == l.Type) &&
		(f.Until.IsZero() || l.At.Before(f.Until.Add(clocksApart)))
}
