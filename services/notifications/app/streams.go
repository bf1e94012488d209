package app

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"caravan/internal/event"
	"caravan/services/notifications/contract"
	"caravan/services/notifications/domain"
)

const (
	// ordersWaiting is how many order statuses wait for a client that is slow. With more its stream ends.
	ordersWaiting = 64
	// firstLook and lastLook are the pauses before an inbox is read for an event that was heard of and is not in it yet. The
	// replica that consumes the event writes the inbox within about a second.
	firstLook = 10 * time.Millisecond
	lastLook  = 2 * time.Second
	// sweepEvery is how often users are looked for whose inbox should be read again.
	sweepEvery = 500 * time.Millisecond
)

var (
	// ErrTooManyStreams says that a user has as many streams as one user may have.
	ErrTooManyStreams = errors.New("the user has too many streams")
	// ErrNoRoom says that this replica has as many streams as it may have.
	ErrNoRoom = errors.New("this replica has too many streams")
)

// StreamOptions configure Streams.
type StreamOptions struct {
	// PerUser and PerReplica bound the open streams.
	PerUser, PerReplica int
	// Refresh is the time between two reads of the inbox of each connected user while events are heard of. It finds those that were
	// missed. Poll is that time while they are not heard of.
	Refresh, Poll time.Duration
	// Heartbeat is the time between two signs of life to each client.
	Heartbeat time.Duration
	// Hold is how long a status of an order waits for an earlier one that was not heard of yet.
	Hold time.Duration
}

// StreamMeter counts what clients do not get.
type StreamMeter interface {
	// Dropped counts a stream that ended because its client was too slow.
	Dropped()
	// LeftOut counts a status that came too late to be sent in order.
	LeftOut()
}

// Streams are the open streams of this replica. It learns of new notifications from events, and reads them from the inbox: so
// every stream has the order of the inbox, whichever replica stored the notification. Order statuses come from the events alone.
type Streams struct {
	inboxes *Inboxes
	wishes  *Preferences
	opts    StreamOptions
	meter   StreamMeter
	kick    chan struct{} // an inbox has to be read soon
	hold    chan struct{} // a status waits for an earlier one
	changed chan struct{} // the first stream was opened

	mu    sync.Mutex
	users map[string]*watched
	soon  map[string]*watched    // those of users whose inbox lacks an event that was heard of
	held  map[*statuses]*watched // those with statuses that wait
	count int
	deaf  int       // topics of which nothing is heard
	swept time.Time // when users were looked for whose inbox should be read again
}

// watched is a user with open streams.
type watched struct {
	streams  []*Stream
	total    int                  // of the inbox as it was last read
	expected map[string]bool      // ids of events that were heard of and not seen in the inbox
	look     time.Time            // when to read the inbox for these
	pause    time.Duration        // before that
	refresh  time.Time            // when to read the inbox in any case
	read     time.Time            // when it was read
	statuses map[string]*statuses // by order
	orders   []string             // those in statuses, oldest first
}

// NewStreams makes Streams. They work while Run runs.
func NewStreams(inboxes *Inboxes, wishes *Preferences, meter StreamMeter, opts StreamOptions) *Streams {
	return &Streams{
		inboxes: inboxes, wishes: wishes, opts: opts, meter: meter, kick: make(chan struct{}, 1), hold: make(chan struct{}, 1), changed: make(chan struct{}, 1),
		users: make(map[string]*watched), soon: make(map[string]*watched), held: make(map[*statuses]*watched), deaf: len(contract.Producers()),
	}
}

// Count is how many streams are open.
func (h *Streams) Count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count
}

// add registers a stream.
func (h *Streams) add(s *Stream) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	w := h.users[s.userID]
	switch {
	case w != nil && len(w.streams) >= h.opts.PerUser:
		return ErrTooManyStreams
	case h.count >= h.opts.PerReplica:
		return ErrNoRoom
	case w == nil:
		w = &watched{total: -1, refresh: h.inboxes.Clock.Now().Add(h.interval()), expected: make(map[string]bool), statuses: make(map[string]*statuses)}
		h.users[s.userID] = w
	}
	s.beatAt = h.inboxes.Clock.Now().Add(h.opts.Heartbeat)
	w.streams = append(w.streams, s)
	h.count++
	if h.count == 1 {
		signal(h.changed)
		signal(h.kick)
	}
	return nil
}

// remove forgets a stream.
func (h *Streams) remove(s *Stream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w := h.users[s.userID]
	w.streams = slices.DeleteFunc(w.streams, func(o *Stream) bool { return o == s })
	h.count--
	if len(w.streams) == 0 {
		delete(h.users, s.userID)
		delete(h.soon, s.userID)
	}
}

// Take hears of an event. It may lose, repeat or reorder them.
func (h *Streams) Take(e event.Event) {
	if status, ok := domain.ReadStatus(e); ok {
		h.tell(status)
	}
	if !domain.Notifiable(e.Type) {
		return
	}
	notice, err := domain.Read(e)
	if err != nil {
		return // its consumer deals with it
	}
	for _, userID := range h.concerned(notice) {
		h.expect(notice.For(userID))
	}
}

// concerned returns the users whom a notice may be for. An event for those with a permission names none: it may be for each
// connected user who has it. One who is not in its audience after all has the inbox read for nothing, a few times.
func (h *Streams) concerned(n domain.Notice) []string {
	switch {
	case n.Audience == nil:
		return []string{n.UserID}
	case n.Audience.Permission == "":
		return n.Audience.Users
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var users []string
	for userID, w := range h.users {
		if slices.ContainsFunc(w.streams, func(s *Stream) bool { return slices.Contains(s.permissions, n.Audience.Permission) }) {
			users = append(users, userID)
		}
	}
	return users
}

// expect lets the inbox of a connected user be read soon.
func (h *Streams) expect(n domain.Notice) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w := h.users[n.UserID]
	if w == nil {
		return
	}
	w.expected[n.EventID] = true
	look := h.inboxes.Clock.Now().Add(firstLook)
	if h.soon[n.UserID] == nil || look.Before(w.look) {
		w.look = look
	}
	w.pause = firstLook
	h.soon[n.UserID] = w
	signal(h.kick)
}

// hear counts a topic of which events are heard from now on, or no longer. What was missed in between is read from the inboxes.
func (h *Streams) hear(heard bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if heard {
		h.deaf--
	} else {
		h.deaf++
	}
	now := h.inboxes.Clock.Now()
	for _, w := range h.users {
		w.refresh = now
	}
	h.swept = time.Time{}
	signal(h.kick)
}

// interval is the time between two reads of an inbox.
func (h *Streams) interval() time.Duration {
	if h.deaf > 0 {
		return h.opts.Poll
	}
	return h.opts.Refresh
}

// beat has each stream send a sign of life if it is time. It returns how many streams there are.
func (h *Streams) beat() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.inboxes.Clock.Now()
	for _, w := range h.users {
		for _, s := range w.streams {
			if !s.beatAt.After(now) {
				s.beatAt = now.Add(h.opts.Heartbeat)
				signal(s.alive)
			}
		}
	}
	return h.count
}

// Run reads inboxes and passes statuses on that have waited, until ctx ends.
func (h *Streams) Run(ctx context.Context) error {
	var releasing sync.WaitGroup
	releasing.Go(func() { h.release(ctx) })
	defer releasing.Wait()
	for {
		due, next := h.due()
		for part := range slices.Chunk(due, inboxesPerLook) {
			if err := h.look(ctx, part); err != nil {
				if ctx.Err() == nil {
					h.inboxes.Log.WarnContext(ctx, "inboxes of connected users cannot be read; they are read again", "error", err)
				}
				break
			}
		}
		if !h.pause(ctx, h.kick, next) {
			return nil
		}
	}
}

// look reads inboxes, and the preferences of users whose inbox has grown: a notification is shown by the wishes of its time.
func (h *Streams) look(ctx context.Context, userIDs []string) error {
	inboxes, err := h.inboxes.GetMany(ctx, userIDs...)
	if err != nil {
		return err
	}
	preferences := make(map[string]*domain.Preferences)
	if grown := h.grown(inboxes); len(grown) > 0 {
		if preferences, err = h.wishes.OfMany(ctx, grown...); err != nil {
			return err
		}
	}
	for userID, inbox := range inboxes {
		h.show(userID, inbox, preferences[userID])
	}
	return nil
}

// grown are the users whose inboxes have grown since they were read last.
func (h *Streams) grown(inboxes map[string]*domain.Inbox) (userIDs []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for userID, inbox := range inboxes {
		if w := h.users[userID]; w != nil && w.total != inbox.Total {
			userIDs = append(userIDs, userID)
		}
	}
	return userIDs
}

// pause waits for a signal, at most for d, and without a limit if d is 0. It returns false when ctx ends.
func (h *Streams) pause(ctx context.Context, signal <-chan struct{}, d time.Duration) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var slept chan struct{}
	if d > 0 {
		slept = make(chan struct{})
		go func() {
			_ = h.inboxes.Clock.Sleep(ctx, d)
			close(slept)
		}()
	}
	select {
	case <-signal:
	case <-slept:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// inboxesPerLook bounds one bulk read.
const inboxesPerLook = 50

// due returns the users whose inboxes are to be read now, and how long to wait after that: see pause.
func (h *Streams) due() (users []string, next time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.count == 0 {
		return nil, 0
	}
	now := h.inboxes.Clock.Now()
	next = sweepEvery
	for userID, w := range h.soon {
		if w.look.After(now) {
			next = min(next, w.look.Sub(now))
			continue
		}
		users = append(users, userID)
		w.read = now
		if w.pause *= 2; w.pause > lastLook { // the next refresh will find it
			clear(w.expected)
			delete(h.soon, userID)
			continue
		}
		w.look = now.Add(w.pause)
		next = min(next, w.pause)
	}
	if now.Sub(h.swept) < sweepEvery {
		return users, next
	}
	h.swept = now
	for userID, w := range h.users {
		if w.refresh.After(now) {
			continue
		}
		w.refresh = now.Add(h.interval())
		if !w.read.Equal(now) {
			users = append(users, userID)
			w.read = now
		}
	}
	return users, next
}

// show gives an inbox to the streams of its user, if it has grown. Without preferences it had not.
func (h *Streams) show(userID string, inbox *domain.Inbox, preferences *domain.Preferences) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w := h.users[userID]
	if w == nil {
		return
	}
	if len(w.expected) > 0 {
		for _, e := range inbox.Entries {
			delete(w.expected, e.EventID)
		}
		if len(w.expected) == 0 {
			delete(h.soon, userID)
		}
	}
	if inbox.Total == w.total || preferences == nil {
		return
	}
	w.total = inbox.Total
	for _, s := range w.streams {
		s.news.Store(&news{inbox, preferences})
		signal(s.grown)
	}
}

// signal wakes who waits for c, now or later.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
