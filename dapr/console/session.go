package main

import (
	"context"
	"crypto/rand"
	"slices"
	"sync"
	"time"

	"caravan/dapr/client"
	"caravan/internal/clock"
	users "caravan/services/users/contract"
)

// Limits of sessions.
const (
	maxSessions = 100
	idleLimit   = time.Hour
	ageLimit    = 12 * time.Hour
)

// session is one person who is signed in. The tokens are only here and never in the browser.
type session struct {
	id    string // the value of the cookie
	csrf  string // the token of forms
	user  string // the id
	name  string
	roles []string
	staff *client.Client
	began time.Time
	board *board

	mu      sync.Mutex
	used    time.Time
	ended   bool
	notice  *notice
	placing placing
	started map[string]int // how many letters a batch had to handle at its start
}

// notice is what the next page says about the last action.
type notice struct {
	Text   string
	Failed bool
}

// mayAct reports whether the person may break processes. All other permissions are checked by the gateway. This one cannot be: the
// gateway may be the process that is stopped.
func (sess *session) mayAct() bool {
	return slices.Contains(users.PermissionsOf(sess.roles), users.PermissionOpsWrite)
}

// end ends the session, for example because the gateway refused its token.
func (sess *session) end() {
	sess.mu.Lock()
	defer sess.mu.Unlock()
	sess.ended = true
}

// over reports whether the session has ended.
func (sess *session) over() bool {
	sess.mu.Lock()
	defer sess.mu.Unlock()
	return sess.ended
}

// watch ends the session if a call was refused, and returns the error.
func (sess *session) watch(err error) error {
	if refused(err) {
		sess.end()
	}
	return err
}

// say keeps a notice for the next page.
func (sess *session) say(n notice) {
	sess.mu.Lock()
	defer sess.mu.Unlock()
	sess.notice = &n
}

// takeNotice returns the notice once.
func (sess *session) takeNotice() *notice {
	sess.mu.Lock()
	defer sess.mu.Unlock()
	n := sess.notice
	sess.notice = nil
	return n
}

// sessions are all sessions, in memory only: a restart of the console signs everybody out.
type sessions struct {
	clock clock.Clock

	mu   sync.Mutex
	byID map[string]*session
}

func newSessions(clk clock.Clock) *sessions {
	return &sessions{clock: clk, byID: map[string]*session{}}
}

// add stores a session and gives it its id and token. If there are too many, the one that was unused longest ends.
func (all *sessions) add(sess *session) {
	now := all.clock.Now()
	sess.id, sess.csrf, sess.began, sess.used = rand.Text()+rand.Text(), rand.Text(), now, now
	sess.started = map[string]int{}
	all.mu.Lock()
	defer all.mu.Unlock()
	all.prune(now)
	for len(all.byID) >= maxSessions {
		oldest := ""
		for id, other := range all.byID {
			if oldest == "" || other.lastUsed().Before(all.byID[oldest].lastUsed()) {
				oldest = id
			}
		}
		delete(all.byID, oldest)
	}
	all.byID[sess.id] = sess
}

// find returns the session with an id, nil if there is none or it has ended.
func (all *sessions) find(id string) *session {
	now := all.clock.Now()
	all.mu.Lock()
	defer all.mu.Unlock()
	all.prune(now)
	sess := all.byID[id]
	if sess == nil {
		return nil
	}
	sess.mu.Lock()
	defer sess.mu.Unlock()
	sess.used = now
	return sess
}

func (all *sessions) remove(sess *session) {
	sess.end()
	all.mu.Lock()
	defer all.mu.Unlock()
	delete(all.byID, sess.id)
}

// prune removes sessions that have ended.
func (all *sessions) prune(now time.Time) {
	for id, sess := range all.byID {
		if sess.over() || now.Sub(sess.lastUsed()) > idleLimit || now.Sub(sess.began) > ageLimit {
			sess.end()
			delete(all.byID, id)
		}
	}
}

func (sess *session) lastUsed() time.Time {
	sess.mu.Lock()
	defer sess.mu.Unlock()
	return sess.used
}

// touch counts as use: an open page keeps its session.
func (sess *session) touch(now time.Time) {
	sess.mu.Lock()
	defer sess.mu.Unlock()
	sess.used = now
}

// within runs a call with a deadline.
func within[T any](ctx context.Context, limit time.Duration, call func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return call(ctx)
}
