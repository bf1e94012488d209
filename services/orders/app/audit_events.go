package app

import (
	"context"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"caravan/internal/audit"
	"caravan/internal/bloom"
	"caravan/internal/event"
	"caravan/internal/feed"
	notifications "caravan/services/notifications/contract"
	"caravan/services/orders/contract"
)

const (
	// noticePatience is how long an event may take to its inbox.
	noticePatience = 2 * time.Minute
	// toldOrder makes the memory for the events of all feeds 16 MiB: with ten million of them, one in a thousand inbox
	// entries of an event that never was is taken for sound.
	toldOrder = 27
	// pulledBehind is how far a feed may be behind the present before somebody has to look, and pulledPatience how long the
	// audit waits for it to move, as after a start.
	pulledBehind   = 5 * time.Minute
	pulledPatience = 2 * time.Minute
	pulledPause    = 5 * time.Second
)

// told is what the feeds of all producers told, and how far each goes.
type told struct {
	mu      sync.Mutex
	events  *bloom.Filter
	settled map[string]feed.Cursor // of the producers whose feed was read to its end
}

func (t *told) reset() {
	t.events, t.settled = bloom.New(toldOrder), make(map[string]feed.Cursor)
}

// add remembers an event and its user, and reports whether it was there before.
func (t *told) add(eventID, userID string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.events.Add(eventID + " " + userID)
}

func (t *told) has(eventID, userID string) (has, complete bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	source, _, _ := strings.Cut(eventID, "/")
	_, complete = t.settled[source]
	return t.events.Has(eventID + " " + userID), complete
}

func (t *told) read(producer string, settled feed.Cursor) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.settled[producer] = settled
}

// inboxes compares the feeds of all producers with all inboxes, in both directions.
func (w *auditWalk) inboxes(ctx context.Context) error {
	var all errgroup.Group
	for _, producer := range notifications.Producers() {
		all.Go(func() error { return w.feed(ctx, producer) })
	}
	unasked := all.Wait()
	first := true
	err := pages(ctx, w, notifications.App, notifications.PathAudit, func(p *notifications.AuditPage) error {
		w.deliveries(p.Deliveries)
		if !first {
			return nil
		}
		first = false
		return w.pulled(ctx, p.Cursors)
	})
	if unasked != nil {
		return unasked
	}
	return err
}

// recipient is the part of an event's payload that says whose inbox it goes to; all producers write it.
type recipient struct {
	UserID string `json:"userId"`
}

// feed reads a producer's feed and checks that each event that users are told of has reached its inbox.
func (w *auditWalk) feed(ctx context.Context, producer string) error {
	var refs []notifications.EventRef
	for cursor := ""; ; {
		var page feed.Response
		if err := w.ask(ctx, producer, feed.Path, feed.Request{Cursor: cursor}, &page); err != nil {
			return err
		}
		for _, e := range page.Events {
			if !notifications.Notifiable(e.Type) {
				continue
			}
			user, ok := w.recipient(e)
			if ok && !w.told.add(e.ID, user) {
				refs = append(refs, notifications.EventRef{EventID: e.ID, UserID: user, OccurredAt: e.Time})
			}
		}
		end := page.End || page.Next == cursor
		for len(refs) >= notifications.MaxEntries || end && len(refs) > 0 {
			n := min(len(refs), notifications.MaxEntries)
			if err := w.entries(ctx, producer, refs[:n]); err != nil {
				return err
			}
			refs = refs[n:]
		}
		if end {
			settled, err := feed.ParseCursor(page.Settled)
			w.told.read(producer, settled)
			return err
		}
		cursor = page.Next
	}
}

// recipient is the user that an event is for.
func (w *auditWalk) recipient(e event.Event) (string, bool) {
	var to recipient
	if err := e.Decode(&to); err != nil || to.UserID == "" {
		var own audit.Results
		own.Check(false, contract.InvariantNotice, e.ID, "does not say whom it is for")
		w.record(contract.App, own)
		return "", false
	}
	return to.UserID, true
}

// entries checks that events are in the inboxes of their users. One that cannot be handled is a dead letter instead.
func (w *auditWalk) entries(ctx context.Context, producer string, refs []notifications.EventRef) error {
	var answer notifications.Entries
	if err := w.ask(ctx, notifications.App, notifications.PathEntries, notifications.EntriesRequest{Events: refs}, &answer); err != nil {
		return err
	}
	var own audit.Results
	underWay, dead := int64(0), int64(0)
	for i, e := range refs {
		state := notifications.EntryState{}
		if i < len(answer.Entries) {
			state = answer.Entries[i]
		}
		switch {
		case state.Times == 0 && w.started.Sub(e.OccurredAt) <= noticePatience:
			underWay++
		case state.Times == 0 && (state.Letter == notifications.LetterOpen || state.Letter == notifications.LetterDiscarded):
			dead++
		default:
			own.Check(state.Times == 1, contract.InvariantNotice, e.EventID, "%d entries in the inbox of %s", state.Times, e.UserID)
		}
	}
	w.record(contract.App, own)
	w.count(producer+".events", int64(len(refs)))
	w.count(producer+".eventsUnderWay", underWay)
	w.count(producer+".eventsDead", dead)
	return nil
}

// deliveries checks that inbox entries tell of events that are in the feeds. The feeds do not give the youngest yet.
func (w *auditWalk) deliveries(deliveries []notifications.Delivery) {
	var own audit.Results
	young := int64(0)
	for _, d := range deliveries {
		has, complete := w.told.has(d.EventID, d.UserID)
		if !has && (!complete && w.knows(d.EventID) || w.started.Sub(d.OccurredAt) <= w.Reader.Final()) {
			young++
			continue
		}
		own.Check(has, contract.InvariantFact, d.EventID, "is in the inbox of %s, and in no feed for this user", d.UserID)
	}
	w.record(contract.App, own)
	w.count("notifications.deliveriesYoung", young)
}

// knows reports whether an event names one of the producers as its source.
func (w *auditWalk) knows(eventID string) bool {
	for _, producer := range notifications.Producers() {
		if strings.HasPrefix(eventID, producer+"/") {
			return true
		}
	}
	return false
}

// pulled checks that notifications follows the feeds. A cursor that is far off gets some time to move; one that is ahead
// would pass by events to come.
func (w *auditWalk) pulled(ctx context.Context, cursors map[string]string) error {
	until := w.Clock.Now().Add(pulledPatience)
	for {
		if w.astray(cursors) == 0 || w.Clock.Now().After(until) {
			break
		}
		if err := w.Clock.Sleep(ctx, pulledPause); err != nil {
			return err
		}
		var page notifications.AuditPage
		if err := w.ask(ctx, notifications.App, notifications.PathAudit, audit.Request{}, &page); err != nil {
			return err
		}
		cursors = page.Cursors
	}
	var own audit.Results
	for _, producer := range notifications.Producers() {
		if lag, ok := w.lag(producer, cursors[producer]); ok {
			own.Check(lag.Abs() <= pulledBehind, contract.InvariantPulled, producer, "the feed was pulled up to %q, which is %s behind", cursors[producer], lag)
		}
	}
	w.record(contract.App, own)
	return nil
}

// astray counts the feeds whose cursors are far from their ends.
func (w *auditWalk) astray(cursors map[string]string) int {
	n := 0
	for _, producer := range notifications.Producers() {
		if lag, ok := w.lag(producer, cursors[producer]); ok && lag.Abs() > pulledBehind {
			n++
		}
	}
	return n
}

// lag is how far a stored cursor is behind the end of a feed; it is not known of a feed that was not read or is empty.
func (w *auditWalk) lag(producer, stored string) (time.Duration, bool) {
	w.told.mu.Lock()
	settled, ok := w.told.settled[producer]
	w.told.mu.Unlock()
	if !ok || settled == (feed.Cursor{}) {
		return 0, false
	}
	at, err := feed.ParseCursor(stored)
	if err != nil {
		at = feed.Cursor{}
	}
	return time.Duration(settled.Bucket-at.Bucket) * time.Second, true
}
