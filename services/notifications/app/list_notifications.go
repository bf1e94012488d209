package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"caravan/internal/document"
	"caravan/internal/page"
	"caravan/services/notifications/domain"
)

// Notification is one entry of an inbox as its user sees it.
type Notification struct {
	ID string
	// Position is its place in the inbox. The oldest has 1; a deleted one keeps its place.
	Position int
	Type     string
	Subject  string
	Title    string
	Body     string
	// OccurredAt is the time of the event, CreatedAt that of the notification. ReadAt is zero while it is unread.
	OccurredAt, CreatedAt, ReadAt time.Time
	Data                          domain.Data
}

// ListNotifications lists the inbox of a user, in the user's language and without the kinds that the user switched off in the app.
type ListNotifications struct {
	*Inboxes
	Preferences *Preferences
}

// Query asks for a page of a user's inbox.
type Query struct {
	UserID string
	Cursor string
	// Limit is the largest number of notifications wanted; at least 1.
	Limit int
	// Unread leaves out what was read.
	Unread bool
}

// Page is a part of an inbox, newest first.
type Page struct {
	Notifications []Notification
	// Next is the cursor of the next page, or "".
	Next string
	// Unread is how many of the newest notifications in the whole inbox are unread; see domain.Inbox.
	Unread int
}

// inboxPosition is the content of a cursor: entries with a lower index, counted from the oldest, are still to come.
// Inboxes grow at the other end, so it stays valid.
type inboxPosition struct {
	Before int `json:"b"`
}

// segmentsPerPage bounds how much of the archive one page reads. So a page of unread notifications, or of a user who switched kinds
// off, may be short or even empty and still have a next one.
const segmentsPerPage = 8

// Do returns notifications of a user.
func (u ListNotifications) Do(ctx context.Context, q Query) (Page, error) {
	inbox, preferences, err := u.read(ctx, q.UserID)
	if err != nil {
		return Page{}, err
	}
	at, listed := inboxPosition{}, Page{}
	if inbox != nil {
		at.Before = inbox.ArchivedEntries() + len(inbox.Entries)
		if listed.Unread, err = u.unread(ctx, inbox, preferences); err != nil {
			return Page{}, err
		}
	}
	total := at.Before
	if err := page.Decode(q.Cursor, &at); err != nil {
		return Page{}, err
	}
	at.Before = min(max(at.Before, 0), total)
	for segments := 0; at.Before > 0 && len(listed.Notifications) < q.Limit && segments <= segmentsPerPage; segments++ {
		if q.Unread && at.Before <= inbox.ReadUpTo {
			return listed, nil // all that is older was read
		}
		entries, first, err := u.stretch(ctx, inbox, at.Before)
		if err != nil {
			return Page{}, err
		}
		for at.Before > first && len(listed.Notifications) < q.Limit {
			at.Before--
			if e := entries[at.Before-first]; e.DeletedAt.IsZero() && (!q.Unread || e.ReadAt.IsZero()) && shows(preferences, e) {
				shown, err := show(q.UserID, at.Before+1, e, preferences.Language())
				if err != nil {
					return Page{}, err
				}
				listed.Notifications = append(listed.Notifications, shown)
			}
		}
	}
	if at.Before > 0 {
		listed.Next = page.Encode(at)
	}
	return listed, nil
}

// read reads the inbox of a user, or nil, and the preferences, in one read of the store.
func (u ListNotifications) read(ctx context.Context, userID string) (*domain.Inbox, *domain.Preferences, error) {
	records, err := u.Store.Get(ctx, u.inboxes.Key(userID), u.Preferences.documents.Key(userID))
	if err != nil {
		return nil, nil, fmt.Errorf("reading inbox: %w", err)
	}
	preferences, err := u.Preferences.documents.Among(records, userID)
	if preferences, err = orDefaults(userID, preferences, err); err != nil {
		return nil, nil, err
	}
	inbox, err := u.inboxes.Among(records, userID)
	if err != nil && !errors.Is(err, document.ErrNotFound) {
		return nil, nil, fmt.Errorf("reading inbox: %w", err)
	}
	return inbox, preferences, nil
}

// unread counts the unread notifications of an inbox that the user wants to see. It reads the archive only for a user who switched
// kinds off in the app.
func (u ListNotifications) unread(ctx context.Context, inbox *domain.Inbox, p *domain.Preferences) (int, error) {
	count := inbox.Unread()
	if count == 0 || !p.Hides() {
		return count, nil
	}
	for _, e := range inbox.Entries {
		if e.Unread() && !shows(p, e) {
			count--
		}
	}
	for segment := range inbox.Segments {
		if !inbox.Counts(segment) {
			continue
		}
		entries, err := u.Segment(ctx, inbox, segment)
		if err != nil {
			return 0, err
		}
		for index, e := range entries {
			if inbox.CountsEntry(segment, index) && !shows(p, e) {
				count--
			}
		}
	}
	return count, nil
}

// stretch returns the head or the archive segment that has the entry before an index, and the index of its first entry.
func (s *Inboxes) stretch(ctx context.Context, inbox *domain.Inbox, before int) ([]domain.Entry, int, error) {
	if before > inbox.ArchivedEntries() {
		return inbox.Entries, inbox.ArchivedEntries(), nil
	}
	number := (before - 1) / domain.SegmentSize
	entries, err := s.Segment(ctx, inbox, number)
	if err != nil {
		return nil, 0, err
	}
	if err := s.addMarks(ctx, inbox, number*domain.SegmentSize, entries); err != nil {
		return nil, 0, err
	}
	return entries, number * domain.SegmentSize, nil
}

// addMarks adds to archived entries what happened to them after they were archived. first is the index of the first one.
func (s *Inboxes) addMarks(ctx context.Context, inbox *domain.Inbox, first int, entries []domain.Entry) error {
	ids := make([]string, len(entries))
	for i, e := range entries {
		ids[i] = e.NotificationID(inbox.UserID)
	}
	archived, err := s.Archived(ctx, inbox.UserID, ids)
	if err != nil {
		return err
	}
	for i := range entries {
		e, later := &entries[i], archived[ids[i]]
		if e.DeletedAt.IsZero() {
			e.DeletedAt = later.DeletedAt
		}
		if e.ReadAt.IsZero() {
			e.ReadAt = later.ReadAt
		}
		if first+i < inbox.ReadUpTo && (e.ReadAt.IsZero() || inbox.ReadUpToAt.Before(e.ReadAt)) {
			e.ReadAt = inbox.ReadUpToAt
		}
	}
	return nil
}

// shows reports whether the user wants to see an entry. One of a type that this version does not know cannot be switched off.
func shows(p *domain.Preferences, e domain.Entry) bool {
	k, known := domain.KindOf(e.Type)
	return !known || p.Wants(k, domain.InApp)
}

func show(userID string, position int, e domain.Entry, locale domain.Locale) (Notification, error) {
	text, err := domain.RenderEntry(e.Type, locale, e.Data)
	if err != nil {
		return Notification{}, fmt.Errorf("showing %s: %w", e.EventID, err)
	}
	return Notification{
		ID: e.NotificationID(userID), Position: position, Type: e.Type, Subject: e.Subject(), Title: text.Title, Body: text.Body,
		OccurredAt: e.OccurredAt, CreatedAt: e.CreatedAt, ReadAt: e.ReadAt, Data: e.Data,
	}, nil
}
