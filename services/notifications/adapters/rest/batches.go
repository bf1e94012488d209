package rest

import (
	"errors"
	"net/http"
	"time"

	"caravan/internal/page"
	"caravan/internal/problem"
	"caravan/internal/request"
	"caravan/internal/service"
	"caravan/services/notifications/app"
	"caravan/services/notifications/domain"
	users "caravan/services/users/contract"
)

// The rates of batches that name none, in letters a second. A discard costs no more than a write.
const (
	defaultReplays  = 10
	defaultDiscards = domain.PerSecondMax
)

// filter chooses dead letters, on the wire.
type filter struct {
	Consumer string    `json:"consumer,omitempty" validate:"line,max=64"`
	Topic    string    `json:"topic,omitempty" validate:"line,max=200"`
	Type     string    `json:"type,omitempty" validate:"line,max=200"`
	Reason   string    `json:"reason,omitempty" validate:"line,max=200"`
	Since    time.Time `json:"since,omitzero"`
	Until    time.Time `json:"until,omitzero"`
}

func (f filter) domain() domain.LetterFilter {
	return domain.LetterFilter{Consumer: f.Consumer, Topic: f.Topic, Type: f.Type, Reason: f.Reason, Since: f.Since.UTC(), Until: f.Until.UTC()}
}

// The bodies of the requests for a batch. The filter has to be there, so that nobody replays all by leaving it out.
type (
	replayAll struct {
		Filter    *filter `json:"filter" validate:"required"`
		PerSecond *int    `json:"perSecond,omitempty" validate:"omitempty,min=1,max=100"`
		Reason    string  `json:"reason,omitempty" validate:"line,max=500"`
	}
	discardAll struct {
		Filter    *filter `json:"filter" validate:"required"`
		PerSecond *int    `json:"perSecond,omitempty" validate:"omitempty,min=1,max=100"`
		Reason    string  `json:"reason" validate:"required,line,max=500"`
	}
)

// Batch is a batch of dead letters on the wire.
type Batch struct {
	ID string `json:"id"`
	// Action is replay or discard, Status running, finished or cancelled.
	Action      string    `json:"action"`
	Status      string    `json:"status"`
	Filter      filter    `json:"filter"`
	PerSecond   int       `json:"perSecond"`
	Reason      string    `json:"reason,omitempty"`
	RequestedBy string    `json:"requestedBy"`
	RequestedAt time.Time `json:"requestedAt"`
	// Scanned, Done and Failed count letters: looked at, replayed or discarded, and those that still cannot be handled.
	Scanned  int       `json:"scanned"`
	Done     int       `json:"done"`
	Failed   int       `json:"failed"`
	Failures []Failure `json:"failures"`
	EndedAt  time.Time `json:"endedAt,omitzero"`
	EndedBy  string    `json:"endedBy,omitempty"`
}

// Failure is a letter that could not be replayed.
type Failure struct {
	ID     string `json:"id"`
	Reason string `json:"reason"`
}

// Batches serves the batches of one kind.
type Batches struct {
	app  *app.Notifications
	kind domain.BatchKind
	path string // of the batches of this kind, for Location
}

// Batches makes the handlers of a kind of batches, which are found under a path.
func (h *Handlers) Batches(kind domain.BatchKind, path string) Batches {
	return Batches{h.app, kind, path}
}

// Start answers POST /v1/ops/dead-letters/replay and /discard.
func (b Batches) Start(w http.ResponseWriter, r *http.Request) error {
	caller, err := service.Require(r, users.PermissionOpsWrite)
	if err != nil {
		return err
	}
	asked := app.BatchRequest{Kind: b.kind, By: caller.Subject}
	if asked.Key, err = request.IdempotencyKey(r); err != nil {
		return err
	}
	if err := b.read(w, r, &asked); err != nil {
		return err
	}
	batch, err := b.app.StartBatch(r.Context(), asked)
	if err != nil {
		return batchProblem(err)
	}
	w.Header().Set("Location", b.path+"/"+batch.ID)
	request.Respond(w, http.StatusAccepted, showBatch(batch))
	return nil
}

// read reads the body of a request for a batch of this kind.
func (b Batches) read(w http.ResponseWriter, r *http.Request, into *app.BatchRequest) error {
	var body discardAll
	perSecond := defaultDiscards
	if b.kind == domain.BatchReplay {
		var asked replayAll
		if err := request.Decode(w, r, &asked); err != nil {
			return err
		}
		body, perSecond = discardAll(asked), defaultReplays
	} else if err := request.Decode(w, r, &body); err != nil {
		return err
	}
	if body.PerSecond != nil {
		perSecond = *body.PerSecond
	}
	into.Filter, into.PerSecond, into.Reason = body.Filter.domain(), perSecond, body.Reason
	into.Fingerprint = request.Fingerprint(map[string]any{string(b.kind): body})
	return nil
}

// List answers GET /v1/ops/dead-letters/replays and /discards, newest first.
func (b Batches) List(w http.ResponseWriter, r *http.Request) error {
	if _, err := service.Require(r, users.PermissionOpsRead); err != nil {
		return err
	}
	limit, cursor, err := request.Page(r)
	if err != nil {
		return err
	}
	list, next, err := b.app.ListBatches(r.Context(), b.kind, cursor, limit)
	if err != nil {
		return err
	}
	out := page.List[Batch]{Items: make([]Batch, len(list)), Next: next}
	for i, batch := range list {
		out.Items[i] = showBatch(batch)
	}
	request.Respond(w, http.StatusOK, out)
	return nil
}

// Show answers GET /v1/ops/dead-letters/replays/{id} and /discards/{id}.
func (b Batches) Show(w http.ResponseWriter, r *http.Request) error {
	if _, err := service.Require(r, users.PermissionOpsRead); err != nil {
		return err
	}
	batch, err := b.app.ShowBatch(r.Context(), b.kind, r.PathValue("id"))
	if err != nil {
		return batchProblem(err)
	}
	request.Respond(w, http.StatusOK, showBatch(batch))
	return nil
}

// Cancel answers POST /v1/ops/dead-letters/replays/{id}/cancel and /discards/{id}/cancel.
func (b Batches) Cancel(w http.ResponseWriter, r *http.Request) error {
	caller, err := service.Require(r, users.PermissionOpsWrite)
	if err != nil {
		return err
	}
	if err := request.NoBody(w, r); err != nil {
		return err
	}
	batch, err := b.app.CancelBatch(r.Context(), b.kind, r.PathValue("id"), caller.Subject)
	if err != nil {
		return batchProblem(err)
	}
	request.Respond(w, http.StatusOK, showBatch(batch))
	return nil
}

func batchProblem(err error) error {
	switch {
	case errors.Is(err, domain.ErrOperation):
		return problem.Unprocessable("idempotency-key-reused", "This Idempotency-Key was used with another request.")
	case errors.Is(err, domain.ErrTooManyBatches):
		return problem.Conflict("too-many-batches", "So many batches are running that one of them has to end first.")
	case errors.Is(err, domain.ErrBatchEnded):
		return problem.Conflict("batch-ended", "The batch has finished and cannot be cancelled.")
	}
	return err
}

func showBatch(b *domain.Batch) Batch {
	f := b.Filter
	out := Batch{
		ID: b.ID, Action: string(b.Kind), Status: string(b.Status), PerSecond: b.PerSecond, Reason: b.Reason,
		Filter:      filter{Consumer: f.Consumer, Topic: f.Topic, Type: f.Type, Reason: f.Reason, Since: f.Since, Until: f.Until},
		RequestedBy: b.RequestedBy, RequestedAt: b.RequestedAt, Scanned: b.Scanned, Done: b.Done, Failed: b.Failed,
		Failures: make([]Failure, len(b.Failures)), EndedAt: b.EndedAt, EndedBy: b.EndedBy,
	}
	for i, f := range b.Failures {
		out.Failures[i] = Failure{ID: f.Letter, Reason: f.Reason}
	}
	return out
}
