package domain

import (
	"math/bits"
	"slices"
	"time"

	"caravan/internal/document"
)

// countedSegments is for how many of the newest archive segments an inbox knows what is unread. Older entries do not count as
// unread, so that the document stays small.
const countedSegments = 25

// CountedEntries is how many of the newest entries at least count in Unread.
const CountedEntries = countedSegments * SegmentSize

// Unread is how many of the newest entries the user has neither read nor deleted. It needs nothing but the inbox.
func (i *Inbox) Unread() int {
	count := 0
	for _, e := range i.Entries {
		if e.Unread() {
			count++
		}
	}
	for _, set := range i.UnreadArchived {
		count += bits.OnesCount32(set)
	}
	return count
}

// ArchivedEntries is how many entries are in the archive.
func (i *Inbox) ArchivedEntries() int { return i.Segments * SegmentSize }

// MarkRead records when a notification in the head was first read. It returns ErrNotInHead for one that is not there, and
// document.ErrNotFound for one that was deleted.
func (i *Inbox) MarkRead(notificationID string, now time.Time) error {
	e := i.inHead(notificationID)
	switch {
	case e == nil:
		return ErrNotInHead
	case !e.DeletedAt.IsZero():
		return document.ErrNotFound
	case !e.ReadAt.IsZero():
		return document.ErrUnchanged
	}
	e.ReadAt = now.UTC().Truncate(time.Millisecond)
	return nil
}

// MarkAllRead marks the entries up to a position as read; the oldest entry has the position 1. It returns
// document.ErrUnchanged if all of them are.
func (i *Inbox) MarkAllRead(upTo int, now time.Time) error {
	now = now.UTC().Truncate(time.Millisecond)
	archived := i.ArchivedEntries()
	changed := false
	for n := range i.Entries {
		if e := &i.Entries[n]; archived+n < upTo && e.Unread() {
			e.ReadAt, changed = now, true
		}
	}
	if end := min(upTo, archived); end > i.ReadUpTo {
		i.ReadUpTo, i.ReadUpToAt, changed = end, now, true
		first := (i.Segments - len(i.UnreadArchived)) * SegmentSize // position of the first entry that counts, less one
		for n := range i.UnreadArchived {
			i.UnreadArchived[n] &^= 1<<min(max(end-first-n*SegmentSize, 0), SegmentSize) - 1
		}
	}
	if !changed {
		return document.ErrUnchanged
	}
	return nil
}

// Delete makes a notification in the head a tombstone, which keeps its event from being stored again. It returns ErrNotInHead for
// one that is not there.
func (i *Inbox) Delete(notificationID string, now time.Time) error {
	e := i.inHead(notificationID)
	switch {
	case e == nil:
		return ErrNotInHead
	case !e.DeletedAt.IsZero():
		return document.ErrUnchanged
	}
	e.DeletedAt, e.Data = now.UTC().Truncate(time.Millisecond), Data{}
	return nil
}

// Counts reports whether an entry of a segment may count as unread.
func (i *Inbox) Counts(segment int) bool {
	n := i.counted(segment)
	return n >= 0 && i.UnreadArchived[n] != 0
}

// CountsEntry reports whether an entry of a segment counts as unread.
func (i *Inbox) CountsEntry(segment, index int) bool {
	return i.Counts(segment) && i.UnreadArchived[i.counted(segment)]&(1<<index) != 0
}

// Discount records that an entry in the archive does not count as unread any more. It returns document.ErrUnchanged if it did not.
func (i *Inbox) Discount(segment, index int) error {
	if !i.CountsEntry(segment, index) {
		return document.ErrUnchanged
	}
	i.UnreadArchived[i.counted(segment)] &^= 1 << index
	return nil
}

// counted is the place of a segment in UnreadArchived, or -1.
func (i *Inbox) counted(segment int) int {
	n := segment - (i.Segments - len(i.UnreadArchived))
	if n < 0 || n >= len(i.UnreadArchived) {
		return -1
	}
	return n
}

// countArchived records which entries of a new segment are unread.
func (i *Inbox) countArchived(entries []Entry) {
	var set uint32
	for n, e := range entries {
		if e.Unread() {
			set |= 1 << n
		}
	}
	i.UnreadArchived = append(i.UnreadArchived, set)
	if extra := len(i.UnreadArchived) - countedSegments; extra > 0 {
		i.UnreadArchived = slices.Clone(i.UnreadArchived[extra:])
	}
}

// inHead returns an entry of the head, or nil.
func (i *Inbox) inHead(notificationID string) *Entry {
	for n := range i.Entries {
		if e := &i.Entries[n]; e.NotificationID(i.UserID) == notificationID {
			return e
		}
	}
	return nil
}
