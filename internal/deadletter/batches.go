package deadletter

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"caravan/internal/document"
	"caravan/internal/id"
)

// activeID is the id of the one ActiveBatches.
const activeID = "all"

// BatchRequest asks for all open letters that a filter selects to be replayed or discarded.
type BatchRequest struct {
	Kind   BatchKind
	Filter Filter
	// PerSecond is the most letters a second, 1 to PerSecondMax.
	PerSecond int
	Reason    string
	// By is the member of staff, Key is their Idempotency-Key, and Fingerprint identifies the request.
	By, Key, Fingerprint string
}

// StartBatch accepts a batch; a BatchWorker of any replica then runs it. A repeat with the same key returns the
// existing batch. Errors: ErrOperation for a key that was used with another request; ErrTooManyBatches.
//
// The batch becomes active before its document is written, so that a crash cannot leave a batch without a worker.
func (q *Queue) StartBatch(ctx context.Context, r BatchRequest) (*Batch, error) {
	r.Filter.Status = StatusOpen
	request := Batch{
		ID: id.Derive("dead-letter-batch", r.By, r.Key), Kind: r.Kind, Filter: r.Filter, PerSecond: r.PerSecond, Reason: r.Reason,
		RequestedBy: r.By, Fingerprint: r.Fingerprint,
	}
	known, err := q.batches.GetMany(ctx, request.ID)
	if err != nil {
		return nil, fmt.Errorf("starting a batch: %w", err)
	}
	if known[request.ID] == nil {
		if err := q.enterBatch(ctx, request.ID); err != nil {
			return nil, err
		}
		if request.Entry, err = q.announce(ctx, q.batchEntries, listed{ID: request.ID}); err != nil {
			return nil, err
		}
	}
	fresh := false
	batch, err := q.batches.Update(ctx, request.ID, func(b *Batch) error {
		err := b.Start(request, q.Clock.Now())
		fresh = err == nil
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("starting a batch: %w", err)
	}
	if fresh {
		q.auditBatch(ctx, "started", r.By, batch)
	}
	return batch, q.ensureActive(ctx, batch)
}

func (q *Queue) enterBatch(ctx context.Context, batchID string) error {
	_, err := q.active.Update(ctx, activeID, func(a *ActiveBatches) error { return a.Enter(batchID, q.Clock.Now()) })
	if err != nil {
		return fmt.Errorf("adding a batch to the active ones: %w", err)
	}
	return nil
}

func (q *Queue) leaveBatch(ctx context.Context, batchID string) error {
	_, err := q.active.Update(ctx, activeID, func(a *ActiveBatches) error { return a.Leave(batchID) })
	if err != nil {
		return fmt.Errorf("removing a batch from the active ones: %w", err)
	}
	return nil
}

// ensureActive adds a running batch to the active ones again if it is missing. That happens when its document was
// written after batchLate.
func (q *Queue) ensureActive(ctx context.Context, batch *Batch) error {
	if batch.Status != BatchRunning {
		return nil
	}
	active, err := q.activeBatches(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(active, func(a ActiveBatch) bool { return a.ID == batch.ID }) {
		return nil
	}
	return q.enterBatch(ctx, batch.ID)
}

func (q *Queue) activeBatches(ctx context.Context) ([]ActiveBatch, error) {
	docs, err := q.active.GetMany(ctx, activeID)
	if err != nil {
		return nil, fmt.Errorf("reading the active batches: %w", err)
	}
	if docs[activeID] == nil {
		return nil, nil
	}
	return docs[activeID].Batches, nil
}

// ShowBatch reads a batch of a kind. Errors: document.ErrNotFound.
func (q *Queue) ShowBatch(ctx context.Context, kind BatchKind, batchID string) (*Batch, error) {
	if !id.Valid(batchID) {
		return nil, document.ErrNotFound
	}
	batch, err := q.batches.Get(ctx, batchID)
	if err != nil {
		return nil, fmt.Errorf("reading a batch: %w", err)
	}
	if batch.Kind != kind {
		return nil, document.ErrNotFound
	}
	return batch, q.ensureActive(ctx, batch)
}

// ListBatches returns batches of a kind, newest first, and the cursor of the next page or "". A page has at most limit
// batches, and may have fewer although more follow.
func (q *Queue) ListBatches(ctx context.Context, kind BatchKind, cursor string, limit int) ([]*Batch, string, error) {
	batches, next, err := document.Listed(ctx, q.batchEntries, everything, cursor, limit, q.batches,
		listed.id, func(b *Batch, e listed) bool { return b.Entry == e.Entry && b.Kind == kind })
	if err != nil {
		return nil, "", fmt.Errorf("listing batches: %w", err)
	}
	return slices.DeleteFunc(batches, func(b *Batch) bool { return b == nil }), next, nil
}

// CancelBatch stops a batch within about a second; its results so far remain. A repeat changes nothing. Errors:
// document.ErrNotFound; ErrBatchEnded.
func (q *Queue) CancelBatch(ctx context.Context, kind BatchKind, batchID, by string) (*Batch, error) {
	if _, err := q.ShowBatch(ctx, kind, batchID); err != nil && !errors.Is(err, ErrTooManyBatches) {
		return nil, err
	}
	changed := false
	batch, err := q.batches.Update(ctx, batchID, func(b *Batch) error {
		err := b.Cancel(by, q.Clock.Now())
		changed = err == nil
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cancelling a batch: %w", err)
	}
	if changed {
		q.auditBatch(ctx, "cancelled", by, batch)
	}
	return batch, nil
}

// auditBatch writes an audit line to the log.
func (q *Queue) auditBatch(ctx context.Context, what, by string, b *Batch) {
	q.Log.InfoContext(ctx, "audit", "action", "dead_letters."+string(b.Kind)+"_"+what, "actor", by, "reason", b.Reason, "batch", b.ID,
		"filter", b.Filter, "per_second", b.PerSecond, "scanned", b.Scanned, "done", b.Done, "failed", b.Failed)
}
