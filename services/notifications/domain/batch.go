package domain

import (
	"errors"
	"time"

	"caravan/internal/document"
)

// BatchKind is what a Batch does with each letter.
type BatchKind string

// The kinds of batches.
const (
	BatchReplay  BatchKind = "replay"
	BatchDiscard BatchKind = "discard"
)

// BatchStatus is how far a Batch has come.
type BatchStatus string

// A batch runs until it has been through all letters, or is cancelled; both are final.
const (
	BatchRunning   BatchStatus = "running"
	BatchFinished  BatchStatus = "finished"
	BatchCancelled BatchStatus = "cancelled"
)

// Bounds of a Batch.
const (
	// PerSecondMax is the highest rate of a batch, in letters a second.
	PerSecondMax = 100
	// failuresKept is how many failures a batch shows.
	failuresKept = 20
)

var (
	// ErrBatchEnded refuses what only a running batch can take.
	ErrBatchEnded = errors.New("the batch has ended")
	// ErrBatchTaken says that another worker has the batch.
	ErrBatchTaken = errors.New("another worker has the batch")
)

// Batch replays or discards all open letters that a filter chooses, at a bounded rate. It walks the list of letters from
// the newest that was there when it was asked for to the oldest.
//
// Any replica can work on it, one at a time: whoever has claimed it, until it lets the claim lapse. The letters remember
// what a batch did to them, under its id, so that a successor, which starts from the last place that was written, does
// nothing twice and counts everything once.
type Batch struct {
	document.Root
	ID   string    `json:"id"`
	Kind BatchKind `json:"kind"`
	// Entry is the entry of the registry that announces this document.
	Entry       string       `json:"entry"`
	Filter      LetterFilter `json:"filter"`
	PerSecond   int          `json:"perSecond"`
	Reason      string       `json:"reason,omitempty"`
	RequestedBy string       `json:"requestedBy"`
	RequestedAt time.Time    `json:"requestedAt"`
	// Fingerprint identifies the request, so that its key with another request is noticed.
	Fingerprint string      `json:"fingerprint"`
	Status      BatchStatus `json:"status"`
	// EndedAt and EndedBy tell of the end; a batch that finished has nobody.
	EndedAt time.Time `json:"endedAt,omitzero"`
	EndedBy string    `json:"endedBy,omitempty"`

	Progress
	// Cursor is where the walk goes on.
	Cursor string `json:"cursor,omitempty"`
	// Worker has the batch until Lease, unless it says so again.
	Worker string    `json:"worker,omitempty"`
	Lease  time.Time `json:"lease,omitzero"`
}

// Progress counts what a batch has done.
type Progress struct {
	// Scanned counts the letters looked at, Done those that were replayed or discarded, and Failed those whose replay
	// failed; the latter stay open.
	Scanned int `json:"scanned"`
	Done    int `json:"done"`
	Failed  int `json:"failed"`
	// Failures are the newest failures.
	Failures []BatchFailure `json:"failures,omitempty"`
}

// BatchFailure is a letter that a batch could not replay.
type BatchFailure struct {
	Letter string `json:"letter"`
	Reason string `json:"reason"`
}

// Add adds the progress of a stretch.
func (p *Progress) Add(more Progress) {
	p.Scanned += more.Scanned
	p.Done += more.Done
	p.Failed += more.Failed
	p.Failures = append(p.Failures, more.Failures...)
	if surplus := len(p.Failures) - failuresKept; surplus > 0 {
		p.Failures = append([]BatchFailure(nil), p.Failures[surplus:]...)
	}
}

// Start makes the batch of a request, or recognises a repeat of it. Errors: ErrOperation.
func (b *Batch) Start(request Batch, now time.Time) error {
	if b.Exists() {
		if b.Fingerprint != request.Fingerprint {
			return ErrOperation
		}
		return document.ErrUnchanged
	}
	request.Root, request.Status, request.RequestedAt = b.Root, BatchRunning, now.UTC()
	*b = request
	return nil
}

// Claim gives the batch to a worker for some time, or extends its claim. Errors: ErrBatchEnded; ErrBatchTaken while
// another worker has it; document.ErrNotFound.
func (b *Batch) Claim(worker string, now time.Time, lease time.Duration) error {
	switch {
	case !b.Exists():
		return document.ErrNotFound
	case b.Status != BatchRunning:
		return ErrBatchEnded
	case b.Worker != worker && now.Before(b.Lease):
		return ErrBatchTaken
	}
	b.Worker, b.Lease = worker, now.Add(lease).UTC()
	return nil
}

// Advance notes what the worker that has the batch did, and where the walk goes on; "" is the end. It extends the
// worker's claim. What was done is counted after a cancellation too. Errors: ErrBatchTaken when the batch went to
// another worker meanwhile, which then has done or will do the same.
func (b *Batch) Advance(worker string, more Progress, cursor string, now time.Time, lease time.Duration) error {
	switch {
	case !b.Exists():
		return document.ErrNotFound
	case b.Worker != worker:
		return ErrBatchTaken
	case b.Status == BatchFinished:
		return document.ErrUnchanged
	}
	b.Add(more)
	b.Cursor, b.Lease = cursor, now.Add(lease).UTC()
	if b.Status == BatchCancelled {
		b.Worker = "" // whose work is done
	} else if cursor == "" {
		b.Status, b.EndedAt, b.Worker = BatchFinished, now.UTC(), ""
	}
	return nil
}

// Cancel stops the batch; what it did stays done. Doing so again changes nothing. Errors: ErrBatchEnded for one that
// has finished; document.ErrNotFound.
func (b *Batch) Cancel(by string, now time.Time) error {
	switch {
	case !b.Exists():
		return document.ErrNotFound
	case b.Status == BatchCancelled:
		return document.ErrUnchanged
	case b.Status == BatchFinished:
		return ErrBatchEnded
	}
	b.Status, b.EndedBy, b.EndedAt = BatchCancelled, by, now.UTC()
	return nil
}

// activeMax is the largest number of batches that run at a time.
const activeMax = 8

// ErrTooManyBatches refuses a batch while activeMax of them run.
var ErrTooManyBatches = errors.New("too many batches are running")

// ActiveBatches names the batches that run, for those who work on them: a store cannot be asked.
type ActiveBatches struct {
	document.Root
	Batches []ActiveBatch `json:"batches"`
}

// ActiveBatch is one batch that runs, or is about to be written since At.
type ActiveBatch struct {
	ID string    `json:"id"`
	At time.Time `json:"at"`
}

// Enter names a batch. Errors: ErrTooManyBatches.
func (a *ActiveBatches) Enter(id string, now time.Time) error {
	for _, b := range a.Batches {
		if b.ID == id {
			return document.ErrUnchanged
		}
	}
	if len(a.Batches) >= activeMax {
		return ErrTooManyBatches
	}
	a.Batches = append(a.Batches, ActiveBatch{ID: id, At: now.UTC()})
	return nil
}

// Leave forgets a batch.
func (a *ActiveBatches) Leave(id string) error {
	for i, b := range a.Batches {
		if b.ID == id {
			a.Batches = append(a.Batches[:i:i], a.Batches[i+1:]...)
			return nil
		}
	}
	return document.ErrUnchanged
}
