package domain

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"strconv"
	"time"

	"caravan/internal/document"
)

// NotificationID is the id of the in-app notification of an event for a user. It is a UUID of version 8 (RFC 9562, 5.8): the
// time of the event, by which the guard of an archived notification is found, and a hash. Other channels would derive other
// ids: there is one delivery per event, channel and person.
func NotificationID(userID, eventID string, occurredAt time.Time) string {
	sum := sha256.Sum256([]byte("in-app\x00" + userID + "\x00" + eventID))
	raw := sum[:16]
	var at [8]byte
	binary.BigEndian.PutUint64(at[:], uint64(occurredAt.UnixMilli()))
	copy(raw, at[2:])
	raw[6] = raw[6]&0x0f | 0x80 // version
	raw[8] = raw[8]&0x3f | 0x80 // variant
	text := hex.EncodeToString(raw)
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}

// NotificationID is the id of the entry in the inbox of a user.
func (e Entry) NotificationID(userID string) string {
	return NotificationID(userID, e.EventID, e.OccurredAt)
}

// NotificationID is the id that the notice has as a notification.
func (n Notice) NotificationID() string { return NotificationID(n.UserID, n.EventID, n.OccurredAt) }

// guardMost is how many notifications the guard of a minute has. Those of one more are in guards of five seconds each. Only a person
// with many notifications in a minute has these: a guard is written again for every SegmentSize entries, so it must stay small.
const guardMost = 256

// GuardID is the id of the guard that has a notification of a user once it is archived. notificationID must be a UUID.
func GuardID(userID, notificationID string) string { return guardID(userID, notificationID, 60_000) }

// SpareGuardID is the id of the guard that has it if that of GuardID is full. The two never collide, because the numbers of
// minutes have fewer digits.
func SpareGuardID(userID, notificationID string) string {
	return guardID(userID, notificationID, 5_000)
}

func guardID(userID, notificationID string, period uint64) string {
	// The first 48 bits are the milliseconds; the form was checked, so they parse.
	milliseconds, _ := strconv.ParseUint(notificationID[:8]+notificationID[9:13], 16, 64)
	return userID + "/" + strconv.FormatUint(milliseconds/period, 10)
}

// Guard has the archived notifications of one user whose events happened in one minute, or in five seconds. It proves that these
// events are stored, and holds what may still change about them.
type Guard struct {
	document.Root
	// Entries are the archived notifications by id.
	Entries map[string]Archived `json:"entries"`
}

// Archived is what a guard has of one notification.
type Archived struct {
	// Segment is the archive segment that the entry is in.
	Segment int `json:"segment"`
	// ReadAt is when it was read, if it was read after it was archived.
	ReadAt time.Time `json:"readAt,omitzero"`
	// DeletedAt is when it was deleted, if it was deleted after it was archived.
	DeletedAt time.Time `json:"deletedAt,omitzero"`
}

// Entry is what the guard has of a notification. g may be nil.
func (g *Guard) Entry(notificationID string) (a Archived, known bool) {
	if g == nil {
		return Archived{}, false
	}
	a, known = g.Entries[notificationID]
	return a, known
}

// Full reports whether other notifications of its time are in spare guards. g may be nil.
func (g *Guard) Full() bool { return g != nil && len(g.Entries) >= guardMost }

// Record records that the entries of these notifications move to a segment. Those for which the guard has no room are the rest, for
// which the spare guard is. It returns document.ErrUnchanged if it changes nothing.
func (g *Guard) Record(notificationIDs []string, segment int) (rest []string, err error) {
	return g.record(notificationIDs, segment, guardMost)
}

// RecordSpare is Record for a spare guard, which has room for all.
func (g *Guard) RecordSpare(notificationIDs []string, segment int) error {
	_, err := g.record(notificationIDs, segment, math.MaxInt)
	return err
}

func (g *Guard) record(notificationIDs []string, segment, most int) (rest []string, err error) {
	err = document.ErrUnchanged
	for _, n := range notificationIDs {
		if _, known := g.Entries[n]; known {
			continue
		}
		if len(g.Entries) >= most {
			rest = append(rest, n)
			continue
		}
		if g.Entries == nil {
			g.Entries = make(map[string]Archived)
		}
		g.Entries[n], err = Archived{Segment: segment}, nil
	}
	return rest, err
}

// MarkRead records when an archived notification was first read. It returns document.ErrNotFound if there is none or it was
// deleted.
func (g *Guard) MarkRead(notificationID string, now time.Time) error {
	a, known := g.Entries[notificationID]
	switch {
	case !known, !a.DeletedAt.IsZero():
		return document.ErrNotFound
	case !a.ReadAt.IsZero():
		return document.ErrUnchanged
	}
	a.ReadAt = now.UTC().Truncate(time.Millisecond)
	g.Entries[notificationID] = a
	return nil
}

// Delete records that an archived notification was deleted. It returns document.ErrNotFound if there is none.
func (g *Guard) Delete(notificationID string, now time.Time) error {
	a, known := g.Entries[notificationID]
	switch {
	case !known:
		return document.ErrNotFound
	case !a.DeletedAt.IsZero():
		return document.ErrUnchanged
	}
	a.DeletedAt = now.UTC().Truncate(time.Millisecond)
	g.Entries[notificationID] = a
	return nil
}
