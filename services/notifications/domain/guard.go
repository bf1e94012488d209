package domain

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"time"

	"caravan/internal/document"
)

// NotificationID is the id of the notification that tells a user of an event in the app. It begins with the time of the
// event, so that the guard of an archived one is found by it, and is otherwise a hash: a UUID of version 8 (RFC 9562,
// 5.8). Other channels would derive other ids: there is one delivery per event, channel and person.
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

// GuardID is the id of the guard that has a notification of a user once it is archived. notificationID must be a UUID.
func GuardID(userID, notificationID string) string {
	// The first 48 bits are the milliseconds; the form was checked, so they parse.
	milliseconds, _ := strconv.ParseUint(notificationID[:8]+notificationID[9:13], 16, 64)
	return userID + "/" + strconv.FormatUint(milliseconds/60_000, 10)
}

// Guard has the archived notifications of one user whose events are of one minute. It proves that these events were
// taken, and holds what may still change about them. A minute bounds its size: by what one person can do in it.
type Guard struct {
	document.Root
	// Entries are the archived notifications by id.
	Entries map[string]Archived `json:"entries"`
}

// Archived is what a guard knows of one notification.
type Archived struct {
	// Segment is the archive segment that the entry is in.
	Segment int `json:"segment"`
	// ReadAt is when it was read, if that was after it was archived.
	ReadAt time.Time `json:"readAt,omitzero"`
}

// Record writes down that the entries of these notifications move to a segment.
func (g *Guard) Record(notificationIDs []string, segment int) error {
	changed := false
	for _, n := range notificationIDs {
		if _, known := g.Entries[n]; known {
			continue
		}
		if g.Entries == nil {
			g.Entries = make(map[string]Archived)
		}
		g.Entries[n] = Archived{Segment: segment}
		changed = true
	}
	if !changed {
		return document.ErrUnchanged
	}
	return nil
}

// MarkRead notes when an archived notification was read first. It returns document.ErrNotFound when there is none.
func (g *Guard) MarkRead(notificationID string, now time.Time) error {
	a, known := g.Entries[notificationID]
	switch {
	case !known:
		return document.ErrNotFound
	case !a.ReadAt.IsZero():
		return document.ErrUnchanged
	}
	a.ReadAt = now.UTC().Truncate(time.Millisecond)
	g.Entries[notificationID] = a
	return nil
}
