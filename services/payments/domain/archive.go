package domain

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"caravan/internal/document"
)

// Limits bound the document of an account: when it has more than Max finished holds or postings, all except the youngest Keep
// move to the archive.
type Limits struct {
	Keep, Max int
}

// DefaultLimits keep the document of a busy wallet near 12 KB, with one archive segment for each 16 orders. Each order writes
// the document twice, so a smaller one saves more than an archive with more segments costs.
func DefaultLimits() Limits { return Limits{Keep: 8, Max: 24} }

// Past is what the archive contains about one order or deposit.
type Past struct {
	// Count is the number of segments that the archive had when it was searched. If it has more by now, it must be searched
	// again.
	Count int64
	// Hold is the youngest version of the order in the archive, nil if there is none.
	Hold *Hold
	// Posting is the posting of the deposit, nil if there is none.
	Posting *Posting
}

// Archive is the head's end of the archive: immutable segment documents, numbered from 1.
type Archive struct {
	// Count is the number of segments.
	Count int64 `json:"count"`
	// Through is the latest instant (an order's PlacedAt, a deposit's Since) that the archive holds. What is younger and
	// not in the head is unknown.
	Through time.Time `json:"through,omitzero"`
	// Books are the totals up to the last archived posting.
	Books Books `json:"books,omitzero"`
	// Tree finds the segments.
	Tree document.Tree[Span] `json:"tree,omitzero"`
	// Trees are the roots of a list, youngest first, that had the segments before there was Tree. It only gets read.
	Trees []Ref `json:"trees,omitempty"`
}

// covers tells whether something of that instant may be in the archive.
func (a Archive) covers(instant time.Time) bool {
	return a.Count > 0 && !instant.After(a.Through)
}

// ArchivePrefix is where the segments of an account are.
func ArchivePrefix(userID string) string { return AccountPrefix + userID + "/archive" }

// Span describes what is in some segments.
type Span struct {
	// First is the sequence of the oldest posting.
	First int64
	// From and Through enclose the instants of the holds and deposits; zero if there are none.
	From, Through time.Time
	// Sum is a checksum of the content of a segment, and 0 for several.
	Sum uint64
}

// Covers tells whether something of that instant may be within.
func (s Span) Covers(instant time.Time) bool {
	return !instant.Before(s.From) && !instant.After(s.Through)
}

// Merge describes what both describe.
func (s Span) Merge(o Span) Span {
	s.First, s.Sum = min(s.First, o.First), 0
	switch {
	case o.Through.IsZero():
	case s.Through.IsZero():
		s.From, s.Through = o.From, o.Through
	default:
		if o.From.Before(s.From) {
			s.From = o.From
		}
		if o.Through.After(s.Through) {
			s.Through = o.Through
		}
	}
	return s
}

// MarshalText writes the numbers in the order of the fields, times in nanoseconds.
func (s Span) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%d %d %d %x", s.First, nanoseconds(s.From), nanoseconds(s.Through), s.Sum), nil
}

// UnmarshalText reads what MarshalText wrote.
func (s *Span) UnmarshalText(data []byte) error {
	var from, through int64
	if _, err := fmt.Sscanf(string(data), "%d %d %d %x", &s.First, &from, &through, &s.Sum); err != nil {
		return fmt.Errorf("reading %q: %w", data, err)
	}
	s.From, s.Through = instant(from), instant(through)
	return nil
}

func nanoseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func instant(nanoseconds int64) time.Time {
	if nanoseconds == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanoseconds).UTC()
}

// Part is one segment, or several in a row.
type Part struct {
	Span
	// Oldest is the lowest number of a segment.
	Oldest int64
}

// Part says what a reference of the tree leads to.
func (a Archive) Part(r document.Ref[Span]) Part {
	return Part{Span: r.Summary, Oldest: a.Count - a.Tree.Leaves + r.First + 1}
}

// Segment is one immutable document of the archive.
type Segment struct {
	Number int64 `json:"number"`
	// Opening and Closing are the totals before and after its postings: each segment can be audited by itself.
	Opening Books `json:"opening"`
	Closing Books `json:"closing"`
	// First is the sequence of its first posting, or of the next one to come if it has none.
	First    int64     `json:"first"`
	Postings []Posting `json:"postings,omitempty"`
	// Holds that had finished when the segment was written. An order that was refunded later is found again, in a newer
	// version, in a younger segment or in the head.
	Holds map[string]Hold `json:"holds,omitempty"`
	// Younger and Older are the subtrees of segments with lower numbers, in segments that are in no Tree.
	Younger *Ref `json:"younger,omitempty"`
	Older   *Ref `json:"older,omitempty"`
}

// Trim moves the oldest finished holds and postings to a new archive segment when the head is over its limits.
func (a *Account) Trim(l Limits) {
	finished := a.finished()
	if len(finished) <= l.Max && len(a.Postings) <= l.Max {
		return
	}
	segment := Segment{
		Number: a.Archived.Count + 1, Opening: a.Archived.Books, First: a.Posted - int64(len(a.Postings)) + 1,
		Holds: make(map[string]Hold),
	}
	if n := len(a.Postings) - l.Keep; n > 0 {
		segment.Postings = slices.Clone(a.Postings[:n])
		a.Postings = slices.Clone(a.Postings[n:])
	}
	if n := len(finished) - l.Keep; n > 0 {
		for _, id := range finished[:n] {
			segment.Holds[id] = a.Holds[id]
			delete(a.Holds, id)
		}
	}
	segment.Closing = segment.Opening
	for _, p := range segment.Postings {
		segment.Closing = segment.Closing.Post(p)
	}
	a.push(segment)
}

// push adds a segment.
func (a *Account) push(s Segment) {
	span := Span{First: s.First, Sum: max(s.checksum(), 1)}
	span.From, span.Through = s.span()
	a.Archived.Tree.Add(&a.Root, ArchivePrefix(a.UserID), s, span)
	a.Archived.Count = s.Number
	a.Archived.Books = Books{Balance: s.Closing.Balance, Counters: maps.Clone(s.Closing.Counters)}
	if span.Through.After(a.Archived.Through) {
		a.Archived.Through = span.Through
	}
}

// span encloses the instants by which the segment's holds and deposits are searched.
func (s Segment) span() (from, through time.Time) {
	include := func(instant time.Time) {
		if through.IsZero() || instant.Before(from) {
			from = instant
		}
		if through.IsZero() || instant.After(through) {
			through = instant
		}
	}
	for _, h := range s.Holds {
		include(h.PlacedAt)
	}
	for _, p := range s.Postings {
		if p.Kind == KindDeposit {
			include(p.Since)
		}
	}
	return from, through
}

// checksum is one of the content as it is stored.
func (s Segment) checksum() uint64 {
	content, err := json.Marshal(s)
	if err != nil {
		panic(fmt.Sprintf("encoding archive segment %d: %v", s.Number, err))
	}
	sum := sha256.Sum256(content)
	return binary.BigEndian.Uint64(sum[:])
}
