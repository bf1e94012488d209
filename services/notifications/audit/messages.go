package audit

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"caravan/internal/audit"
	"caravan/internal/event"
	"caravan/internal/feed"
	"caravan/internal/page"
	"caravan/services/notifications/app"
	"caravan/services/notifications/contract"
	"caravan/services/notifications/domain"
)

const (
	// keysPerPage is about how many keys of the feed one page reads, and threadsPerRead bounds one bulk read of threads.
	keysPerPage    = 400
	threadsPerRead = 100
	// segmentsPerPage bounds the segments of timelines that one page reads. Threads are short and have none.
	segmentsPerPage = 64
	// firstEntry is how long after its first message the first entry of a thread in the feed may be. The thread is checked there.
	firstEntry = 5 * time.Minute
	// pulledAfter is more than the clocks of services differ, plus the time from an event until its entry in the feed.
	pulledAfter = time.Minute
	// idle is how long a message that is due may wait for an attempt.
	idle = 2 * time.Minute
)

// messageInvariants are those of messages.
var messageInvariants = slices.Concat([]string{
	contract.InvariantMessage, contract.InvariantOneMessage, contract.InvariantThread, contract.InvariantMessageState,
	contract.InvariantSentOnce, contract.InvariantMessageOrder, contract.InvariantWishes, contract.InvariantMessageEnd,
}, feed.TrailInvariants)

// Messages is what the audit reads of the messages outside the app. It follows the table of kinds and the channels that are on.
type Messages struct {
	Outbox      *app.Outbox
	Preferences *app.Preferences
	Devices     *app.PushSubscriptions
	History     *app.ChannelHistory
	Reader      *feed.Reader
	Trail       feed.Trail
}

// read reads a part of the index, and reports whether it is complete.
func (m *Messages) read(ctx context.Context, again bool) (ready bool, err error) {
	if again {
		m.Trail.Coverage.Restart()
	}
	if ready, err = m.Trail.Coverage.Extend(ctx); err != nil {
		return false, fmt.Errorf("auditing: %w", err)
	}
	return ready, nil
}

// threads checks the threads of the next part of the feed.
func (a *pageUnderWay) threads(ctx context.Context, at *position) error {
	from, err := feed.ParseCursor(at.Feed)
	if err != nil {
		return err
	}
	m := a.messages
	keys, err := m.Reader.Keys(ctx, from, keysPerPage, -m.Reader.Ahead())
	if err != nil {
		return fmt.Errorf("reading the feed of messages: %w", err)
	}
	entered := make(map[string]feed.Bucket)
	var ids []string
	for _, b := range keys.Buckets {
		for _, threadID := range app.ThreadIDs(b.Keys) {
			if _, known := entered[threadID]; !known {
				entered[threadID] = b.Bucket
				ids = append(ids, threadID)
			}
		}
	}
	for part := range slices.Chunk(ids, threadsPerRead) {
		threads, err := m.Outbox.Threads.GetMany(ctx, part...)
		if err != nil {
			return fmt.Errorf("reading messages: %w", err)
		}
		if err := a.checkThreads(ctx, part, threads, entered); err != nil {
			return err
		}
	}
	if at.Feed = keys.Next.String(); !keys.End {
		a.Next = page.Encode(at)
	}
	return nil
}

// checkThreads checks those of some threads whose first entry in the feed this is.
func (a *pageUnderWay) checkThreads(ctx context.Context, ids []string, threads map[string]*domain.Thread, entered map[string]feed.Bucket) error {
	var users []string
	for _, threadID := range ids {
		t := threads[threadID]
		if t == nil || len(t.Deliveries) > 0 && time.Unix(int64(entered[threadID]), 0).Sub(t.Deliveries[0].CreatedAt) >= firstEntry {
			delete(threads, threadID)
			continue
		}
		users = append(users, t.UserID)
	}
	slices.Sort(users)
	wishes, err := a.messages.Preferences.OfMany(ctx, slices.Compact(users)...)
	if err != nil {
		return err
	}
	for _, threadID := range ids {
		if t := threads[threadID]; t != nil {
			if err := a.thread(ctx, threadID, t, wishes[t.UserID]); err != nil {
				return err
			}
		}
	}
	return nil
}

// thread checks one thread.
func (a *pageUnderWay) thread(ctx context.Context, threadID string, t *domain.Thread, wishes *domain.Preferences) error {
	m := a.messages
	rules, key, now := m.Outbox.Driver.Rules, m.Outbox.Threads.Key(threadID), m.Outbox.Clock.Now()
	domain.AuditThread(&a.Results, key, threadID, t, rules.Skew)
	domain.AuditWishes(&a.Results, threadID, t, wishes)
	m.Trail.Head(&a.Results, key, threadID, &t.Root)
	segments := segmentsPerPage
	if _, err := m.Trail.Segments(ctx, &a.Results, key, threadID, &t.Root, 0, &segments, nil); err != nil {
		return err
	}
	steady := m.Outbox.Driver.Steady(idle)
	for i, d := range t.Deliveries {
		a.Counts["messages."+string(t.Channel)+"."+string(d.State)]++
		if m.Outbox.Takes(d.Type) {
			a.Messages = append(a.Messages, contract.Delivery{EventID: d.EventID, UserID: t.UserID, OccurredAt: d.OccurredAt})
		}
		if !d.State.Ended() {
			due := t.DueAt(i, rules.Skew)
			a.Check(!steady || now.Sub(due) <= idle, contract.InvariantMessageEnd, domain.DeliveryID(threadID, i), "is %s and due since %s",
				d.State, due.Format(time.RFC3339))
		}
	}
	return nil
}

// expected is a message that an event must have.
type expected struct {
	notice  domain.Notice
	channel domain.Channel
	thread  string
}

// sent checks that events have their messages, and that the feed leads to these.
func (a *Audit) sent(ctx context.Context, events []contract.EventRef, into *audit.Results) error {
	must, err := a.messages.expected(ctx, a.inboxes, events)
	if err != nil || len(must) == 0 {
		return err
	}
	byID := make(map[string]*domain.Thread)
	for part := range slices.Chunk(threadsOf(must), threadsPerRead) {
		threads, err := a.messages.Outbox.Threads.GetMany(ctx, part...)
		if err != nil {
			return fmt.Errorf("reading messages: %w", err)
		}
		for threadID, t := range threads {
			byID[threadID] = t
			a.messages.Trail.Coverage.Check(into, a.messages.Outbox.Threads.Key(threadID), t.Timeline)
		}
	}
	missing := slices.DeleteFunc(slices.Clone(must), func(e expected) bool { t := byID[e.thread]; return t != nil && t.Explains(e.notice) })
	var ids []string
	for _, e := range missing {
		ids = append(ids, e.notice.EventID)
	}
	letters, err := a.letters.Statuses(ctx, ids...)
	if err != nil {
		return err
	}
	into.Count(contract.InvariantMessage, int64(len(must)-len(missing)))
	for _, e := range missing {
		letter := string(letters[e.notice.EventID])
		into.Check(letter == contract.LetterOpen || letter == contract.LetterDiscarded, contract.InvariantMessage, e.notice.EventID,
			"has no message to %s by %s", e.notice.UserID, e.channel)
	}
	return nil
}

func threadsOf(must []expected) []string {
	ids := make([]string, len(must))
	for i, e := range must {
		ids[i] = e.thread
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// expected are the messages that events must have by now: those that were handled for certain while their channel was on. One that the
// person can switch is expected if they want it and have changed nothing since the event.
func (m *Messages) expected(ctx context.Context, inboxes *app.Inboxes, events []contract.EventRef) ([]expected, error) {
	on, err := m.History.Since(ctx)
	if err != nil {
		return nil, err
	}
	pulled, err := pulledUntil(ctx, inboxes)
	if err != nil {
		return nil, err
	}
	var notices []domain.Notice
	for _, e := range events {
		n, err := domain.Read(event.Event{ID: e.EventID, Type: e.Type, Subject: e.Subject, Time: e.OccurredAt, Data: e.Data})
		if err == nil && n.OccurredAt.Add(pulledAfter).Before(pulled(e.EventID)) {
			if e.UserID != "" {
				n = n.For(e.UserID)
			}
			notices = append(notices, n)
		}
	}
	if notices, err = toEach(ctx, inboxes, notices); err != nil {
		return nil, err
	}
	var all []expected
	var users []string
	for _, n := range notices {
		kind, _ := domain.KindOf(n.Type)
		for _, channel := range m.Outbox.Channels {
			if !kind.Offers(channel) || !on(kind, channel, n.OccurredAt) {
				continue
			}
			if reached, err := m.reached(ctx, n, channel); err != nil {
				return nil, err
			} else if !reached {
				continue
			}
			all = append(all, expected{n, channel, domain.ThreadID(channel, n)})
			users = append(users, n.UserID)
		}
	}
	slices.Sort(users)
	wishes, err := m.Preferences.OfMany(ctx, slices.Compact(users)...)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(e expected) bool {
		kind, _ := domain.KindOf(e.notice.Type)
		theirs := wishes[e.notice.UserID]
		return !kind.Fixed(e.channel) && !(theirs.Before(e.notice.OccurredAt) && theirs.Wants(kind, e.channel))
	}), nil
}

// reached reports whether a channel is known to have reached a person when something occurred: a push message needs a device.
func (m *Messages) reached(ctx context.Context, n domain.Notice, channel domain.Channel) (bool, error) {
	if channel != domain.Push {
		return true, nil
	}
	reached, err := m.Devices.AnySince(ctx, n.UserID, n.OccurredAt.Add(-pulledAfter))
	if err != nil {
		return false, fmt.Errorf("auditing: %w", err)
	}
	return reached, nil
}

// toEach returns a notice for each of those whom a notice is for. One to all who have a permission is for those whom it was decided to
// reach.
func toEach(ctx context.Context, inboxes *app.Inboxes, notices []domain.Notice) ([]domain.Notice, error) {
	var ids []string
	for _, n := range notices {
		if n.UserID == "" {
			ids = append(ids, n.EventID)
		}
	}
	if len(ids) == 0 {
		return notices, nil
	}
	decided, err := inboxes.Decided(ctx, ids...)
	if err != nil {
		return nil, err
	}
	var all []domain.Notice
	for _, n := range notices {
		if n.UserID != "" {
			all = append(all, n)
			continue
		}
		for _, userID := range decided[n.EventID] {
			all = append(all, n.For(userID))
		}
	}
	return all, nil
}

// pulledUntil returns until when the feed of the service of an event has been handled.
func pulledUntil(ctx context.Context, inboxes *app.Inboxes) (func(eventID string) time.Time, error) {
	until := make(map[string]time.Time)
	for _, producer := range contract.Producers() {
		stored, err := feed.StoredCursor(ctx, inboxes.Store, producer)
		if err != nil {
			return nil, fmt.Errorf("auditing: %w", err)
		}
		if at, err := feed.ParseCursor(stored); err == nil && stored != "" {
			until[producer] = time.Unix(int64(at.Bucket), 0)
		}
	}
	return func(eventID string) time.Time {
		producer, _, _ := strings.Cut(eventID, "/")
		return until[producer]
	}, nil
}
