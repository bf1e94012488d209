package domain

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Limits bound the head of an account: when it has more than Max finished holds or postings, all but the youngest Keep
// move to the archive.
type Limits struct {
	Keep, Max int
}

// DefaultLimits keep the document of a busy wallet near 15 KB, and write one archive segment in 32 orders.
func DefaultLimits() Limits { return Limits{Keep: 32, Max: 64} }

// Past is what the archive tells about one order or deposit.
type Past struct {
	// Count is the number of segments the archive had when it was searched. An account whose archive has grown since
	// asks for another search.
	Count int64
	// Hold is the order's youngest version in the archive, nil if it is not there.
	Hold *Hold
	// Posting is the deposit's posting, nil if it is not there.
	Posting *Posting
}

// Archive is the head's end of the archive: immutable segment documents that form a skew-binary random-access list
// (Okasaki, Purely Functional Data Structures, 9.3.1), youngest first. The head keeps one reference for each tree, about
// log2 of the number of segments; adding a segment touches no other, and any segment is found with about twice that
// many reads, whether by number, by posting or by time.
type Archive struct {
	// Count is the number of segments.
	Count int64 `json:"count"`
	// Through is the latest instant (an order's PlacedAt, a deposit's Since) that the archive holds. What is younger and
	// not in the head is unknown.
	Through time.Time `json:"through,omitzero"`
	// Books are the totals up to the last archived posting.
	Books Books `json:"books,omitzero"`
	// Trees are the roots, youngest first.
	Trees []Ref `json:"trees,omitempty"`
}

// covers tells whether something of that instant may be in the archive.
func (a Archive) covers(instant time.Time) bool {
	return a.Count > 0 && !instant.After(a.Through)
}

// Ref points to a segment and describes all that can be reached through it.
type Ref struct {
	// Key of the segment document.
	Key string `json:"key"`
	// Number of the segment, from 1; with Size it covers the numbers Number-Size+1 to Number.
	Number int64 `json:"number"`
	Size   int64 `json:"size"`
	// First is the sequence of the oldest posting that it covers.
	First int64 `json:"first"`
	// From and Through enclose the instants of the holds and deposits that it covers; zero if there are none.
	From    time.Time `json:"from,omitzero"`
	Through time.Time `json:"through,omitzero"`
}

// Covers tells whether something of that instant may be below r.
func (r Ref) Covers(instant time.Time) bool {
	return !instant.Before(r.From) && !instant.After(r.Through)
}

// Oldest is the lowest segment number below r.
func (r Ref) Oldest() int64 { return r.Number - r.Size + 1 }

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
	// Younger and Older are the subtrees of segments with lower numbers.
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
		segment.Closing = segment.Closing.post(p)
	}
	a.push(segment)
}

// push adds a segment in front of the list.
func (a *Account) push(s Segment) {
	trees := a.Archived.Trees
	ref := Ref{Number: s.Number, Size: 1, First: s.First}
	ref.From, ref.Through = s.span()
	if len(trees) > 1 && trees[0].Size == trees[1].Size {
		younger, older := trees[0], trees[1]
		s.Younger, s.Older = &younger, &older
		ref = ref.over(younger).over(older)
		trees = trees[2:]
	}
	ref.Key = segmentKey(a.UserID, s)
	a.Root.Archive(ref.Key, s)
	a.Archived.Count = s.Number
	a.Archived.Books = Books{Balance: s.Closing.Balance, Counters: maps.Clone(s.Closing.Counters)}
	a.Archived.Trees = append([]Ref{ref}, trees...)
	if ref.Through.After(a.Archived.Through) {
		a.Archived.Through = ref.Through
	}
}

// over extends r by a subtree.
func (r Ref) over(sub Ref) Ref {
	r.Size += sub.Size
	r.First = min(r.First, sub.First)
	if !sub.Through.IsZero() {
		if r.Through.IsZero() || sub.From.Before(r.From) {
			r.From = sub.From
		}
		if sub.Through.After(r.Through) {
			r.Through = sub.Through
		}
	}
	return r
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

// segmentKey names a segment by its content. Two writers that race for the same number must not share a key: the one
// that loses the compare-and-swap of the head would have replaced what the winner's head points to.
func segmentKey(userID string, s Segment) string {
	content, err := json.Marshal(s)
	if err != nil {
		panic(fmt.Sprintf("encoding archive segment %d: %v", s.Number, err))
	}
	sum := sha256.Sum256(content)
	return fmt.Sprintf("%s%s/segment/%d-%s", AccountPrefix, userID, s.Number, hex.EncodeToString(sum[:8]))
}
