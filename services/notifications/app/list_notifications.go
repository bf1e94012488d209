package app

import (
	"context"
	"fmt"
	"time"

	"caravan/internal/page"
	"caravan/services/notifications/domain"
)

// Notification is one entry of an inbox as its user sees it.
type Notification struct {
	ID      string
	Type    string
	Subject string
	Title   string
	Body    string
	// OccurredAt is the time of the event, CreatedAt that of the notification. ReadAt is zero while it is unread.
	OccurredAt, CreatedAt, ReadAt time.Time
	Data                          domain.Data
}

// ListNotifications lists the inbox of a user.
type ListNotifications struct{ *Inboxes }

// Query asks for a page of a user's inbox.
type Query struct {
	UserID string
	Cursor string
	// Limit is the largest number of notifications wanted; at least 1.
	Limit int
	// Unread leaves out what was read.
	Unread bool
}

// inboxPosition is the content of a cursor: entries with a lower index, counted from the oldest, are still to come.
// Inboxes grow at the other end, so it stays valid.
type inboxPosition struct {
	Before int `json:"b"`
}

// segmentsPerPage bounds how much of the archive one page reads. So a page of unread notifications may be short or even empty
// and still have a next one.
const segmentsPerPage = 8

// Do returns notifications of a user, newest first, and the cursor of the next page or "".
func (u ListNotifications) Do(ctx context.Context, q Query) ([]Notification, string, error) {
	inboxes, err := u.inboxes.GetMany(ctx, q.UserID)
	if err != nil {
		return nil, "", fmt.Errorf("reading inbox: %w", err)
	}
	inbox, ok := inboxes[q.UserID]
	at := inboxPosition{}
	if ok {
		at.Before = ArchivedEntries(inbox) + len(inbox.Entries)
	}
	total := at.Before
	if err := page.Decode(q.Cursor, &at); err != nil {
		return nil, "", err
	}
	at.Before = min(max(at.Before, 0), total)
	var list []Notification
	for segments := 0; at.Before > 0 && len(list) < q.Limit && segments <= segmentsPerPage; segments++ {
		entries, first, err := u.stretch(ctx, inbox, at.Before)
		if err != nil {
			return nil, "", err
		}
		for at.Before > first && len(list) < q.Limit {
			at.Before--
			if e := entries[at.Before-first]; !q.Unread || e.ReadAt.IsZero() {
				list = append(list, show(q.UserID, e))
			}
		}
	}
	if at.Before == 0 {
		return list, "", nil
	}
	return list, page.Encode(at), nil
}

// stretch returns the head or the archive segment that has the entry before an index, and the index of its first entry.
func (u ListNotifications) stretch(ctx context.Context, inbox *domain.Inbox, before int) ([]domain.Entry, int, error) {
	if before > ArchivedEntries(inbox) {
		return inbox.Entries, ArchivedEntries(inbox), nil
	}
	number := (before - 1) / domain.SegmentSize
	entries, err := u.Segment(ctx, inbox, number)
	if err != nil {
		return nil, 0, err
	}
	if err := u.addMarks(ctx, inbox.UserID, entries); err != nil {
		return nil, 0, err
	}
	return entries, number * domain.SegmentSize, nil
}

// addMarks sets ReadAt of archived entries that were read after they were archived.
func (u ListNotifications) addMarks(ctx context.Context, userID string, entries []domain.Entry) error {
	ids := make([]string, len(entries))
	for i, e := range entries {
		ids[i] = e.NotificationID(userID)
	}
	archived, err := u.Archived(ctx, userID, ids)
	if err != nil {
		return err
	}
	for i := range entries {
		if entries[i].ReadAt.IsZero() {
			entries[i].ReadAt = archived[ids[i]].ReadAt
		}
	}
	return nil
}

func show(userID string, e domain.Entry) Notification {
	title, body := domain.Text(e.Type, e.Data)
	return Notification{
		ID: e.NotificationID(userID), Type: e.Type, Subject: e.Subject(), Title: title, Body: body,
		OccurredAt: e.OccurredAt, CreatedAt: e.CreatedAt, ReadAt: e.ReadAt, Data: e.Data,
	}
}
