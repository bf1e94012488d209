package domain

import (
	"fmt"
	"time"
)

// Ref points to a segment of the list that had the segments before there was Tree: a skew-binary random-access list
// (Okasaki, Purely Functional Data Structures, 9.3.1). It describes all that can be reached through it. The list gets
// no new segment; accounts that have one keep it.
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

// Part says what r leads to.
func (r Ref) Part() Part {
	return Part{Span: Span{First: r.First, From: r.From, Through: r.Through}, Oldest: r.Number - r.Size + 1}
}

// listKey is the key of a segment of the list: it names the content.
func listKey(userID string, s Segment) string {
	return fmt.Sprintf("%s%s/segment/%d-%016x", AccountPrefix, userID, s.Number, s.checksum())
}

// Place is where a segment was found.
type Place struct {
	Key string
	// Sum is the checksum that the tree has of it, and 0 if it was found in the list.
	Sum uint64
}

// Intact reports whether a segment has the content that was archived.
func (p Place) Intact(userID string, s Segment) bool {
	if p.Sum == 0 {
		return p.Key == listKey(userID, s)
	}
	return p.Sum == max(s.checksum(), 1)
}
