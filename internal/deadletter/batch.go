package deadletter

import (
	"errors"
	"slices"
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

// BatchStatus is the state of a Batch.
type BatchStatus string

// A batch runs until it has processed all letters or is cancelled; both are final.
const (
	BatchRunning   BatchStatus = "running"
	BatchFinished  BatchStatus = "finished"
	BatchCancelled BatchStatus = "cancelled"
)

// Limits of a Batch.
const (
	// PerSecondMax is the highest rate of a batch, in letters a second.
	PerSecondMax = 100
	// failuresKept is how many failures a batch shows.
	failuresKept = 20
)

var (
	// ErrBatchEnded is returned for a batch that is no longer running.
	ErrBatchEnded = errors.New("the batch has ended")
	// ErrBatchTaken is returned when another worker has claimed the batch.
	ErrBatchTaken = errors.New("another worker has the batch")
)

// Batch replays or discards all open letters that a filter selects, at a limited rate. It walks the list of letters from the
// newest at the time of the request to the oldest.
//
// Any replica can work on it, one at a time: the replica that has claimed it, until the claim expires. The history of a
// letter records what a batch did to it, under the batch's id. So the next worker, which continues from the last stored
// cursor, repeats no action and counts everything once.
type Batch struct {
	document.Root
	ID   string    `json:"id"`
	Kind BatchKind `json:"kind"`
	// Entry is the list entry of this document.
	Entry       string    `json:"entry"`
	Filter      Filter    `json:"filter"`
	PerSecond   int       `json:"perSecond"`
	Reason      string    `json:"reason,omitempty"`
	RequestedBy string    `json:"requestedBy"`
	RequestedAt time.Time `json:"requestedAt"`
	// Fingerprint identifies the request, so that a reuse of its key for another request is detected.
	Fingerprint string      `json:"fingerprint"`
	Status      BatchStatus `json:"status"`
	// EndedAt is when the batch ended. EndedBy is who cancelled it, "" if it finished.
	EndedAt time.Time `json:"endedAt,omitzero"`
	EndedBy string    `json:"endedBy,omitempty"`

	Progress
	// Cursor is where the walk continues.
	Cursor string `json:"cursor,omitempty"`
	// Worker is the worker with the claim on the batch. It may renew the claim until Lease.
	Worker string    `json:"worker,omitempty"`
	Lease  time.Time `json:"lease,omitzero"`
}

// Progress counts what a batch has done.
type Progress struct {
	// Scanned counts the letters that were examined, Done those that were replayed or discarded, and Failed those whose
	// replay failed. A failed letter stays open.
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

// Add adds further progress.
func (p *Progress) Add(more Progress) {
	p.Scanned += more.Scanned
	p.Done += more.Done
	p.Failed += more.Failed
	p.Failures = append(p.Failures, more.Failures...)
	if surplus := len(p.Failures) - failuresKept; surplus > 0 {
		p.Failures = append([]BatchFailure(nil), p.Failures[surplus:]...)
	}
}

// Start creates the batch of a request, or recognises a repeat of the request. Errors: ErrOperation.
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

// Claim claims the batch for a worker, or renews the claim. Errors: ErrBatchEnded; ErrBatchTaken while another worker
// has the claim; document.ErrNotFound.
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

// Advance records the progress of the worker with the claim, and the next cursor; "" is the end. It renews the claim.
// It also counts progress after a cancellation. Errors: ErrBatchTaken when another worker has claimed the batch
// meanwhile: that worker has done the same or will do it.
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
		b.Worker = "" // no work is left
	} else if cursor == "" {
		b.Status, b.EndedAt, b.Worker = BatchFinished, now.UTC(), ""
	}
	return nil
}

// Cancel stops the batch; its results so far remain. A repeat changes nothing. Errors: ErrBatchEnded for a batch that
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

// ErrTooManyBatches is returned for a new batch while activeMax of them run.
var ErrTooManyBatches = errors.New("too many batches are running")

// ActiveBatches lists the running batches for the workers, because a store cannot be searched.
type ActiveBatches struct {
	document.Root
	Batches []ActiveBatch `json:"batches"`
}

// ActiveBatch is a batch that runs, or whose document is about to be written. At is when it was added.
type ActiveBatch struct {
	ID string    `json:"id"`
	At time.Time `json:"at"`
}

// Enter adds a batch. Errors: ErrTooManyBatches.
func (a *ActiveBatches) Enter(id string, now time.Time) error {
	if a.has(id) {
		return document.ErrUnchanged
	}
	if len(a.Batches) >= activeMax {
		return ErrTooManyBatches
	}
	a.Batches = append(a.Batches, ActiveBatch{ID: id, At: now.UTC()})
	return nil
}

// Leave removes a batch.
func (a *ActiveBatches) Leave(id string) error {
	if !a.has(id) {
		return document.ErrUnchanged
	}
	a.Batches = slices.DeleteFunc(slices.Clone(a.Batches), func(b ActiveBatch) bool { return b.ID == id })
	return nil
}

func (a *ActiveBatches) has(id string) bool {
	return slices.ContainsFunc(a.Batches, func(b ActiveBatch) bool { return b.ID == id })
}
