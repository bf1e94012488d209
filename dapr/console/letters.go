package main

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"caravan/dapr/client"
	"caravan/internal/id"
)

// Limits of the page of dead letters.
const (
	shownLetters = 100
	shownBatches = 10
	maxFilter    = 200 // bytes of one member of a filter
	maxPerSecond = 100
	batchEvery   = time.Second
)

// letterFilter chooses dead letters. The text "open" is the default status.
type letterFilter struct {
	Status, Consumer, Topic, Type, Reason string
}

var letterStates = []string{"open", "replayed", "discarded"}

// readFilter reads a filter from a query or a form.
func readFilter(values url.Values) (letterFilter, error) {
	f := letterFilter{
		Status: cmp.Or(values.Get("status"), "open"), Consumer: values.Get("consumer"), Topic: values.Get("topic"),
		Type: values.Get("type"), Reason: values.Get("reason"),
	}
	if !slices.Contains(letterStates, f.Status) {
		return letterFilter{Status: "open"}, errors.New("there is no such state of dead letters")
	}
	for _, text := range []*string{&f.Consumer, &f.Topic, &f.Type, &f.Reason} {
		*text = strings.TrimSpace(*text)
		if len(*text) > maxFilter {
			return letterFilter{Status: "open"}, errors.New("a filter has at most " + strconv.Itoa(maxFilter) + " bytes")
		}
	}
	return f, nil
}

// Query is the filter as the query of a page.
func (f letterFilter) Query() string {
	values := url.Values{}
	for name, value := range map[string]string{"status": f.Status, "consumer": f.Consumer, "topic": f.Topic, "type": f.Type, "reason": f.Reason} {
		if value != "" {
			values.Set(name, value)
		}
	}
	return values.Encode()
}

// letterPage is what a person reads of dead letters.
type letterPage struct {
	filter  letterFilter
	letters source[letterList]
	batches source[[]client.DeadLetterBatch]
}

type letterList struct {
	Items []client.DeadLetter
	More  bool
}

// lettersView is what the page shows at one time.
type lettersView struct {
	Now     time.Time
	CSRF    string
	Filter  letterFilter
	States  []string
	Problem string
	Letters reading[letterList]
	Batches []batchView
	Running reading[[]client.DeadLetterBatch]
}

// batchView is a batch with its progress.
type batchView struct {
	client.DeadLetterBatch
	Total int // letters to handle; 0 if that is unknown
	By    string
}

// Handled is how many letters are done.
func (b batchView) Handled() int { return b.Done + b.DeadLetterBatch.Failed }

func (s *server) letterReads(sess *session, p *letterPage) []func(context.Context) {
	return []func(context.Context){
		func(ctx context.Context) {
			p.letters.refresh(ctx, s.clock, gatewayEvery, callTimeout, func(ctx context.Context) (letterList, error) {
				list, err := sess.staff.OpsListDeadLetters(ctx, client.OpsListDeadLettersParams{
					Status: client.DeadLetterStatus(p.filter.Status), Consumer: p.filter.Consumer, Topic: p.filter.Topic, Type: p.filter.Type,
					Reason: p.filter.Reason, Limit: shownLetters,
				})
				return letterList{list.Items, list.Next != ""}, sess.watch(err)
			})
		},
		func(ctx context.Context) {
			p.batches.refresh(ctx, s.clock, batchEvery, callTimeout, func(ctx context.Context) ([]client.DeadLetterBatch, error) {
				list, err := sess.staff.OpsListReplays(ctx, client.OpsListReplaysParams{Limit: shownBatches})
				return list.Items, sess.watch(err)
			})
		},
	}
}

func (s *server) viewLetters(sess *session, p *letterPage) lettersView {
	v := lettersView{Now: s.clock.Now(), CSRF: sess.csrf, Filter: p.filter, States: letterStates, Letters: p.letters.now(), Running: p.batches.now()}
	sess.mu.Lock()
	defer sess.mu.Unlock()
	for _, b := range v.Running.Value {
		v.Batches = append(v.Batches, batchView{b, sess.started[b.ID], b.RequestedBy})
	}
	return v
}

// letterFragments are the parts of the page that change.
var letterFragments = []string{"letter-list", "batches"}

func (s *server) showLetters(w http.ResponseWriter, r *http.Request, sess *session) {
	filter, wrong := readFilter(r.URL.Query())
	p := &letterPage{filter: filter}
	readAll(r.Context(), firstView, s.letterReads(sess, p))
	if sess.over() {
		s.askToSignIn(w, r)
		return
	}
	v := s.viewLetters(sess, p)
	if wrong != nil {
		v.Problem = wrong.Error()
	}
	s.page(w, r, sess, http.StatusOK, "letters", "Dead letters", v)
}

func (s *server) streamLetters(w http.ResponseWriter, r *http.Request, sess *session) {
	filter, _ := readFilter(r.URL.Query()) // the page says what is wrong
	p := &letterPage{filter: filter}
	s.stream(w, r, sess, live{
		refresh: s.letterReads(sess, p),
		show: func() ([]fragment, error) {
			if l := p.letters.now(); !l.Known() && l.Problem == "" {
				return nil, nil // the page has what it was loaded with
			}
			return fragments(s.viewLetters(sess, p), letterFragments...)
		},
	})
}

// replayLetters starts a batch for the open letters of a filter.
func (s *server) replayLetters(w http.ResponseWriter, r *http.Request, sess *session) {
	filter, err := readFilter(r.PostForm)
	perSecond, wrong := strconv.Atoi(cmp.Or(r.PostFormValue("perSecond"), "10"))
	why := strings.TrimSpace(r.PostFormValue("why"))
	if err != nil || wrong != nil || perSecond < 1 || perSecond > maxPerSecond || len(why) > maxReason {
		s.fail(w, r, http.StatusBadRequest, "The filter, the rate (1 to 100 a second) or the reason is not valid.")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), actionTimeout)
	defer cancel()
	count, err := sess.staff.OpsListDeadLetters(ctx, client.OpsListDeadLettersParams{
		Status: client.DeadLetterStatusOpen, Consumer: filter.Consumer, Topic: filter.Topic, Type: filter.Type, Reason: filter.Reason, Limit: shownLetters,
	})
	if err == nil {
		var batch client.DeadLetterBatch
		batch, err = sess.staff.OpsReplayDeadLetters(ctx, id.Random{}.New(), client.DeadLetterBatchReplay{
			Filter:    client.DeadLetterFilter{Consumer: filter.Consumer, Topic: filter.Topic, Type: filter.Type, Reason: filter.Reason},
			PerSecond: perSecond, Reason: why,
		})
		if err == nil && count.Next == "" {
			sess.remember(batch.ID, len(count.Items))
		}
	}
	s.finish(w, r, sess, "/letters?"+filter.Query(), "The batch runs.", err)
}

// again reports whether a later attempt to handle a letter failed too.
func again(l client.DeadLetter) bool {
	return l.Status == client.DeadLetterStatusOpen && l.LastAttemptAt.After(l.FirstSeen)
}

// remember keeps how many letters a batch has to handle, for its progress.
func (sess *session) remember(batch string, total int) {
	const most = 100
	sess.mu.Lock()
	defer sess.mu.Unlock()
	if len(sess.started) >= most {
		clear(sess.started)
	}
	sess.started[batch] = total
}

func (s *server) actOnLetter(w http.ResponseWriter, r *http.Request, sess *session) {
	letter, why := r.PathValue("id"), strings.TrimSpace(r.PostFormValue("reason"))
	back := localPath(r.PostFormValue("back"))
	if !searchable(letter) || len(why) > maxReason {
		s.fail(w, r, http.StatusBadRequest, "The id of the letter or the reason is not valid.")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), actionTimeout)
	defer cancel()
	var done string
	var err error
	switch r.PathValue("action") {
	case "replay":
		done = "The letter was handled."
		_, err = sess.staff.OpsReplayDeadLetter(ctx, letter, id.Random{}.New(), client.DeadLetterReplay{Reason: why})
	case "discard":
		done = "The letter is discarded."
		_, err = sess.staff.OpsDiscardDeadLetter(ctx, letter, id.Random{}.New(), client.DeadLetterDiscard{Reason: cmp.Or(why, "Discarded from the console.")})
	default:
		s.fail(w, r, http.StatusNotFound, "There is no such action.")
		return
	}
	s.finish(w, r, sess, back, done, err)
}

func (s *server) cancelBatch(w http.ResponseWriter, r *http.Request, sess *session) {
	batch := r.PathValue("id")
	if !searchable(batch) {
		s.fail(w, r, http.StatusBadRequest, "The id of the batch is not valid.")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), actionTimeout)
	defer cancel()
	_, err := sess.staff.OpsCancelReplay(ctx, batch)
	s.finish(w, r, sess, "/letters", "The batch stops.", err)
}
