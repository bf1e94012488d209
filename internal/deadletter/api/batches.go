package api

import (
	"errors"
	"net/http"
	"time"

	"caravan/internal/deadletter"
	"caravan/internal/problem"
	"caravan/internal/request"
)

// The default rates of batches, in letters per second. A discard costs one write.
const (
	defaultReplays  = 10
	defaultDiscards = deadletter.PerSecondMax
)

// filter selects dead letters, on the wire.
type filter struct {
	Consumer string    `json:"consumer,omitempty" validate:"line,max=64"`
	Topic    string    `json:"topic,omitempty" validate:"line,max=200"`
	Type     string    `json:"type,omitempty" validate:"line,max=200"`
	Reason   string    `json:"reason,omitempty" validate:"line,max=200"`
	Since    time.Time `json:"since,omitzero"`
	Until    time.Time `json:"until,omitzero"`
}

func (f filter) domain() deadletter.Filter {
	return deadletter.Filter{Consumer: f.Consumer, Topic: f.Topic, Type: f.Type, Reason: f.Reason, Since: f.Since.UTC(), Until: f.Until.UTC()}
}

// These are the bodies of the requests for a batch. The filter is required, so that nobody replays all by accident.
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
	// Scanned counts the letters examined, Done those replayed or discarded, and Failed those that failed again.
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

// start answers POST /v1/ops/dead-letters/replay and /discard.
func (b batches) start(r *http.Request, by string) (request.Answer, error) {
	key, err := request.IdempotencyKey(r)
	if err != nil {
		return request.Answer{}, err
	}
	asked := deadletter.BatchRequest{Kind: b.kind, By: by, Key: key}
	if err := b.read(r, &asked); err != nil {
		return request.Answer{}, err
	}
	batch, err := b.queue.StartBatch(r.Context(), asked)
	if err != nil {
		return request.Answer{}, batchProblem(err)
	}
	return request.Accepted(b.path+"/"+batch.ID, showBatch(batch)), nil
}

// read reads the body of a request for a batch of this kind.
func (b batches) read(r *http.Request, into *deadletter.BatchRequest) error {
	var body discardAll
	perSecond := defaultDiscards
	if b.kind == deadletter.BatchReplay {
		var asked replayAll
		if err := request.Decode(r, &asked); err != nil {
			return err
		}
		body, perSecond = discardAll(asked), defaultReplays
	} else if err := request.Decode(r, &body); err != nil {
		return err
	}
	if body.PerSecond != nil {
		perSecond = *body.PerSecond
	}
	into.Filter, into.PerSecond, into.Reason = body.Filter.domain(), perSecond, body.Reason
	into.Fingerprint = request.Fingerprint(map[string]any{string(b.kind): body})
	return nil
}

// list answers GET /v1/ops/dead-letters/replays and /discards, newest first.
func (b batches) list(r *http.Request, _ string) (request.Answer, error) {
	return request.List(r, func(cursor string, limit int) ([]*deadletter.Batch, string, error) {
		return b.queue.ListBatches(r.Context(), b.kind, cursor, limit)
	}, showBatch)
}

// show answers GET /v1/ops/dead-letters/replays/{id} and /discards/{id}.
func (b batches) show(r *http.Request, _ string) (request.Answer, error) {
	batch, err := b.queue.ShowBatch(r.Context(), b.kind, r.PathValue("id"))
	if err != nil {
		return request.Answer{}, batchProblem(err)
	}
	return request.OK(showBatch(batch)), nil
}

// cancel answers POST /v1/ops/dead-letters/replays/{id}/cancel and /discards/{id}/cancel.
func (b batches) cancel(r *http.Request, by string) (request.Answer, error) {
	if err := request.NoBody(r); err != nil {
		return request.Answer{}, err
	}
	batch, err := b.queue.CancelBatch(r.Context(), b.kind, r.PathValue("id"), by)
	if err != nil {
		return request.Answer{}, batchProblem(err)
	}
	return request.OK(showBatch(batch)), nil
}

func batchProblem(err error) error {
	switch {
	case errors.Is(err, deadletter.ErrOperation):
		return problem.ReusedKey()
	case errors.Is(err, deadletter.ErrTooManyBatches):
		return problem.Conflict("too-many-batches", "Too many batches are running. Wait until one of them has ended.")
	case errors.Is(err, deadletter.ErrBatchEnded):
		return problem.Conflict("batch-ended", "The batch has finished and cannot be cancelled.")
	}
	return err
}

func showBatch(b *deadletter.Batch) Batch {
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
