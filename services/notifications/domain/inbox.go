package domain

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"caravan/internal/document"
)

// Bounds of an inbox.
const (
	// SegmentSize is the number of entries in one archive segment.
	SegmentSize = 20
	// sealAt is the number of entries at which the older half leaves the head, so that the first page of an inbox needs
	// no archive.
	sealAt = 2 * SegmentSize
	// headMax bounds the head while sealing fails.
	headMax = 10 * SegmentSize
)

var (
	// ErrUnregistered says that the inbox does not exist and has no entry in the registry: add the entry first.
	ErrUnregistered = errors.New("the inbox is not registered")
	// ErrFull says that the head has to be sealed before it takes another entry.
	ErrFull = errors.New("the inbox has to be sealed first")
	// ErrNotInHead says that a notification is not in the head.
	ErrNotInHead = errors.New("the notification is not in the head of the inbox")
)

// UncheckedError says that events are older than an archived event, so that they may be archived themselves: look for them in
// the guards of their times, and deliver those that are in no guard with Attempt.Segments.
type UncheckedError struct {
	Segments int
	Notices  []Notice
}

// Error implements error.
func (e *UncheckedError) Error() string {
	return fmt.Sprintf("%d events may be in one of %d archive segments", len(e.Notices), e.Segments)
}

// Inbox is the list of a user's notifications: a head with the newest entries and immutable segments of SegmentSize
// entries each. It stores an event exactly once, however late it is delivered again, by this invariant:
//
//	each stored event is in the head or in the guard of its time
//
// An entry leaves the head only after its guard was written (Sealable, then Seal). An event older than ArchivedUntil is stored
// only if its guard did not have it when the archive was as long as it is now. Nearly all events are younger and need no
// guard to be read.
type Inbox struct {
	document.Root
	UserID string `json:"userId"`
	// Entry is the entry of this inbox in the registry. Other entries of the same user are not valid.
	Entry string `json:"entry"`
	// Total counts all stored events.
	Total int `json:"total"`
	// Segments counts the archive segments.
	Segments int `json:"segments,omitempty"`
	// ArchivedUntil is the latest event time in the archive.
	ArchivedUntil time.Time `json:"archivedUntil,omitzero"`
	// Entries are the newest entries, oldest first. They only grow at the end, so all replicas seal the same ones. An entry that
	// the user deleted stays as a tombstone.
	Entries []Entry `json:"entries"`
	// ReadUpTo is the position up to which the archive was marked as read at once, last at ReadUpToAt.
	ReadUpTo   int       `json:"readUpTo,omitempty"`
	ReadUpToAt time.Time `json:"readUpToAt,omitzero"`
	// UnreadArchived counts unread entries in the archive: a set of bits for each of the newest segments, the newest segment
	// last, with the bit 1<<n for the n-th entry. Segments that an earlier version sealed have none.
	UnreadArchived []uint32 `json:"unreadArchived,omitempty"`
}

// Entry is one notification.
type Entry struct {
	EventID string `json:"event"`
	Type    string `json:"type"`
	// OccurredAt is the time of the event, CreatedAt that of the notification. CreatedAt never decreases along an inbox.
	OccurredAt time.Time `json:"occurredAt"`
	CreatedAt  time.Time `json:"createdAt"`
	// ReadAt is when the user read it. If it was read after it was archived, its guard has the time.
	ReadAt time.Time `json:"readAt,omitzero"`
	// DeletedAt is when the user deleted it. A tombstone only says that its event was delivered.
	DeletedAt time.Time `json:"deletedAt,omitzero"`
	Data      Data      `json:"data,omitzero"`
}

// Unread reports whether the user should still look at the entry.
func (e Entry) Unread() bool { return e.ReadAt.IsZero() && e.DeletedAt.IsZero() }

// Subject is the id of the aggregate that the event is about.
func (e Entry) Subject() string {
	_, rest, _ := strings.Cut(e.EventID, "/")
	if i := strings.LastIndexByte(rest, '/'); i >= 0 {
		return rest[:i]
	}
	return rest
}

// Attempt is what a delivery knows about the inbox.
type Attempt struct {
	Now time.Time
	// Entry is the entry of the inbox in the registry. It may be empty if the inbox exists.
	Entry string
	// Segments is the length of the archive before the guards were read and had none of the events.
	Segments int
}

// Deliver puts notices of the inbox's user at its front, those that it does not have. When it has them all it returns
// document.ErrUnchanged. Its other errors are ErrUnregistered, ErrFull and *UncheckedError; none of the notices is
// taken then.
func (i *Inbox) Deliver(notices []Notice, a Attempt) error {
	fresh, err := i.fresh(notices, a)
	switch {
	case err != nil:
		return err
	case len(fresh) == 0:
		return document.ErrUnchanged
	case i.Total == 0 && a.Entry == "":
		return ErrUnregistered
	case len(i.Entries)+len(fresh) > headMax:
		return ErrFull
	case i.Total == 0:
		i.UserID, i.Entry = fresh[0].UserID, a.Entry
	}
	created := a.Now.UTC().Truncate(time.Millisecond)
	if last := len(i.Entries) - 1; last >= 0 && created.Before(i.Entries[last].CreatedAt) {
		created = i.Entries[last].CreatedAt
	}
	for _, n := range fresh {
		i.Entries = append(i.Entries, Entry{EventID: n.EventID, Type: n.Type, OccurredAt: n.OccurredAt, CreatedAt: created, Data: n.Data})
	}
	i.Total += len(fresh)
	return nil
}

// fresh are the notices that are not in the inbox, each once.
func (i *Inbox) fresh(notices []Notice, a Attempt) ([]Notice, error) {
	var fresh, unchecked []Notice
	for _, n := range notices {
		same := func(o Notice) bool { return o.EventID == n.EventID }
		if slices.ContainsFunc(i.Entries, func(e Entry) bool { return e.EventID == n.EventID }) || slices.ContainsFunc(fresh, same) {
			continue
		}
		fresh = append(fresh, n)
		if i.Segments > a.Segments && !n.OccurredAt.After(i.ArchivedUntil) {
			unchecked = append(unchecked, n)
		}
	}
	if len(unchecked) > 0 {
		return nil, &UncheckedError{Segments: i.Segments, Notices: unchecked}
	}
	return fresh, nil
}

// Sealable returns the entries that Seal moves to the archive next, or nil when the head is short. Before Seal each of
// them has to be in its guard.
func (i *Inbox) Sealable() []Entry {
	if len(i.Entries) < sealAt {
		return nil
	}
	return i.Entries[:SegmentSize]
}

// Seal moves the oldest entries to the given archive segment under the inbox's key. It returns document.ErrUnchanged
// when that segment exists already.
func (i *Inbox) Seal(key string, segment int) error {
	moved := i.Sealable()
	if i.Segments != segment || moved == nil {
		return document.ErrUnchanged
	}
	i.Archive(SegmentKey(key, segment), moved)
	i.Segments++
	i.countArchived(moved)
	for _, e := range moved {
		if e.OccurredAt.After(i.ArchivedUntil) {
			i.ArchivedUntil = e.OccurredAt
		}
	}
	i.Entries = append([]Entry(nil), i.Entries[SegmentSize:]...)
	return nil
}

// SegmentKey is the key of the n-th (from 0) archive segment of the inbox under key; it holds a JSON array of
// SegmentSize entries, oldest first.
func SegmentKey(key string, n int) string { return key + "/" + strconv.Itoa(n) }
