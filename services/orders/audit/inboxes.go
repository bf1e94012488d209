package audit

import (
	"context"
	"slices"
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
	// noticeDeadline is how long an event may take to reach its inbox.
	noticeDeadline = 2 * time.Minute
	// eventsOrder makes the memory for the events of all feeds 16 MiB. With ten million events, one in a thousand inbox entries
	// without an event is taken for one with an event.
	eventsOrder = 27
	// pulledBehind is how far the pull of a feed may be behind the present. pulledDeadline is how long the audit waits for a
	// pull that is further behind, as after a start.
	pulledBehind   = 5 * time.Minute
	pulledDeadline = 2 * time.Minute
	pulledPause    = 5 * time.Second
)

// knownEvents are the events in the feeds of all producers, and the end of each feed.
type knownEvents struct {
	mu      *sync.Mutex
	events  *bloom.Filter
	settled map[string]feed.Cursor // of the producers whose feed was read to its end
}

func newKnownEvents() knownEvents {
	return knownEvents{mu: new(sync.Mutex), events: bloom.New(eventsOrder), settled: make(map[string]feed.Cursor)}
}

// add remembers an event and its user, and reports whether it was there before.
func (k knownEvents) add(eventID, userID string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.events.Add(eventID + " " + userID)
}

// has reports whether an event of a user, or of users whom it does not name, is in a feed, and whether the feed of its producer was read to its end.
func (k knownEvents) has(eventID, userID string) (has, complete bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	source, _, _ := strings.Cut(eventID, "/")
	_, complete = k.settled[source]
	return k.events.Has(eventID+" "+userID) || k.events.Has(eventID+" "), complete
}

// end records the end of a feed.
func (k knownEvents) end(producer string, settled feed.Cursor) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.settled[producer] = settled
}

// lag is how far a stored cursor is behind the end of a feed. It is not known for a feed that was not read or is empty.
func (k knownEvents) lag(producer, stored string) (time.Duration, bool) {
	k.mu.Lock()
	settled, ok := k.settled[producer]
	k.mu.Unlock()
	if !ok || settled == (feed.Cursor{}) {
		return 0, false
	}
	at, err := feed.ParseCursor(stored)
	if err != nil {
		at = feed.Cursor{}
	}
	return time.Duration(settled.Bucket-at.Bucket) * time.Second, true
}

// inboxes compares the feeds of all producers with all inboxes, in both directions.
func (w *walk) inboxes(ctx context.Context) error {
	messages, err := w.beginMessages(ctx)
	if err != nil {
		return err
	}
	var all errgroup.Group
	for _, producer := range notifications.Producers() {
		all.Go(func() error { return w.feed(ctx, producer, messages) })
	}
	unasked := all.Wait()
	first := true
	err = pages(ctx, w, notifications.App, notifications.PathAudit, func(p *notifications.AuditPage) error {
		w.deliveries(p.Deliveries)
		w.messages(p.Messages)
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

// beginMessages has notifications begin its audit of messages outside the app, and returns the types of the events that may have some.
func (w *walk) beginMessages(ctx context.Context) (types []string, err error) {
	for asked := (notifications.EntriesRequest{Events: []notifications.EventRef{}, Begin: true}); ; asked.More = true {
		var answer notifications.Entries
		if err := w.ask(ctx, notifications.App, notifications.PathEntries, asked, &answer); err != nil || !answer.More {
			return answer.Types, err
		}
	}
}

// recipients is the part of an event's payload that names its users.
type recipients struct {
	UserID  string   `json:"userId"`
	UserIDs []string `json:"userIds"`
}

// feed reads a producer's feed and checks that each event of which users are notified has reached its inbox, and that those of the
// given types have their messages outside the app.
func (w *walk) feed(ctx context.Context, producer string, messages []string) error {
	var refs []notifications.EventRef
	for cursor := ""; ; {
		var page feed.Response
		if err := w.ask(ctx, producer, feed.Path, feed.Request{Cursor: cursor}, &page); err != nil {
			return err
		}
		for _, e := range page.Events {
			sent := slices.Contains(messages, e.Type)
			if !sent && !notifications.Notifiable(e.Type) {
				continue
			}
			for _, user := range w.recipients(e) {
				if w.events.add(e.ID, user) {
					continue
				}
				ref := notifications.EventRef{EventID: e.ID, UserID: user, OccurredAt: e.Time}
				if sent {
					ref.Type, ref.Subject, ref.Data = e.Type, e.Subject, e.Data
				}
				refs = append(refs, ref)
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
			w.events.end(producer, settled)
			return err
		}
		cursor = page.Next
	}
}

// recipients are the users that an event is for. An event to all who have a permission names none; it has the user "".
func (w *walk) recipients(e event.Event) []string {
	if notifications.ToStaff(e.Type) {
		return []string{""}
	}
	var to recipients
	err := e.Decode(&to)
	if err == nil && to.UserID != "" {
		return []string{to.UserID}
	}
	if err != nil || len(to.UserIDs) == 0 {
		var own audit.Results
		own.Check(false, contract.InvariantNotice, e.ID, "does not name a user")
		w.record(own)
	}
	return to.UserIDs
}

// entries checks that events are in the inboxes of their users, and have notifications check their messages. An event that cannot be
// handled is a dead letter instead.
func (w *walk) entries(ctx context.Context, producer string, refs []notifications.EventRef) error {
	var answer notifications.Entries
	if err := w.ask(ctx, notifications.App, notifications.PathEntries, notifications.EntriesRequest{Events: refs}, &answer); err != nil {
		return err
	}
	w.results.Add(notifications.App, answer.Results)
	var own audit.Results
	underWay, dead := int64(0), int64(0)
	for i, e := range refs {
		if e.Type != "" && !notifications.Notifiable(e.Type) {
			continue // it has messages only
		}
		state := notifications.EntryState{}
		if i < len(answer.Entries) {
			state = answer.Entries[i]
		}
		switch {
		case state.Times == 0 && w.started.Sub(e.OccurredAt) <= noticeDeadline:
			underWay++
		case state.Times == 0 && (state.Letter == notifications.LetterOpen || state.Letter == notifications.LetterDiscarded):
			dead++
		default:
			own.Check(state.Times == 1, contract.InvariantNotice, e.EventID, "%d entries in the inbox of %s", state.Times, e.UserID)
		}
	}
	w.record(own)
	w.results.Count(producer+".events", int64(len(refs)))
	w.results.Count(producer+".eventsUnderWay", underWay)
	w.results.Count(producer+".eventsDead", dead)
	return nil
}

// deliveries checks that the events of inbox entries are in the feeds. The feeds do not contain the youngest events yet.
func (w *walk) deliveries(deliveries []notifications.Delivery) {
	var own audit.Results
	young := int64(0)
	for _, d := range deliveries {
		has, known := w.inFeed(d)
		if !known {
			young++
			continue
		}
		own.Check(has, contract.InvariantFact, d.EventID, "is in the inbox of %s, and in no feed for this user", d.UserID)
	}
	w.record(own)
	w.results.Count("notifications.deliveriesYoung", young)
}

// messages checks that the events of messages outside the app are in the feeds. An event to all who have a permission is there without
// a user.
func (w *walk) messages(messages []notifications.Delivery) {
	var own audit.Results
	for _, m := range messages {
		has, known := w.inFeed(m)
		if !has {
			has, _ = w.inFeed(notifications.Delivery{EventID: m.EventID, OccurredAt: m.OccurredAt})
		}
		if has || known {
			own.Check(has, contract.InvariantMessageFact, m.EventID, "has a message to %s, and is in no feed for this user", m.UserID)
		}
	}
	w.record(own)
}

// inFeed reports whether an event of a user is in a feed, and whether that is known.
func (w *walk) inFeed(d notifications.Delivery) (has, known bool) {
	has, complete := w.events.has(d.EventID, d.UserID)
	return has, has || (complete || !knownProducer(d.EventID)) && w.started.Sub(d.OccurredAt) > w.Reader.Final()
}

// knownProducer reports whether an event names one of the producers as its source.
func knownProducer(eventID string) bool {
	return slices.ContainsFunc(notifications.Producers(), func(p string) bool { return strings.HasPrefix(eventID, p+"/") })
}

// pulled checks that notifications pulls the feeds. A cursor that is far from the end gets some time to move. A cursor ahead
// of the end would skip events to come.
func (w *walk) pulled(ctx context.Context, cursors map[string]string) error {
	until := w.Clock.Now().Add(pulledDeadline)
	for w.astray(cursors) && !w.Clock.Now().After(until) {
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
		if lag, ok := w.events.lag(producer, cursors[producer]); ok {
			own.Check(lag.Abs() <= pulledBehind, contract.InvariantPulled, producer, "the feed was pulled up to %q, which is %s behind", cursors[producer], lag)
		}
	}
	w.record(own)
	return nil
}

// astray reports whether the cursor of a feed is far from its end.
func (w *walk) astray(cursors map[string]string) bool {
	return slices.ContainsFunc(notifications.Producers(), func(producer string) bool {
		lag, ok := w.events.lag(producer, cursors[producer])
		return ok && lag.Abs() > pulledBehind
	})
}
