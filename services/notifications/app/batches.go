package app

import (
	"context"
	"errors"
	"fmt"

	"caravan/internal/document"
	"caravan/internal/id"
	"caravan/services/notifications/domain"
)

// activeID is the id of the one domain.ActiveBatches.
const activeID = "all"

// BatchRequest asks for all open letters that a filter chooses to be replayed or discarded.
type BatchRequest struct {
	Kind   domain.BatchKind
	Filter domain.LetterFilter
	// PerSecond is the most letters a second, 1 to domain.PerSecondMax.
	PerSecond int
	Reason    string
	// By is the member of staff, Key their Idempotency-Key, and Fingerprint identifies the request.
	By, Key, Fingerprint string
}

// StartBatch accepts a batch, which BatchWorkers of any replica then carry out. A repeat with the same key returns the
// batch as it is. Errors: domain.ErrOperation for a key that came with another request; domain.ErrTooManyBatches.
//
// The batch is named among the active ones before it is written, so that no crash leaves one that nobody works on.
func (n *Notifications) StartBatch(ctx context.Context, r BatchRequest) (*domain.Batch, error) {
	r.Filter.Status = domain.LetterOpen
	request := domain.Batch{
		ID: id.Derive("dead-letter-batch", r.By, r.Key), Kind: r.Kind, Filter: r.Filter, PerSecond: r.PerSecond, Reason: r.Reason,
		RequestedBy: r.By, Fingerprint: r.Fingerprint,
	}
	known, err := n.batches.GetMany(ctx, request.ID)
	if err != nil {
		return nil, fmt.Errorf("starting a batch: %w", err)
	}
	if known[request.ID] == nil {
		if err := n.enterBatch(ctx, request.ID); err != nil {
			return nil, err
		}
		if request.Entry, err = n.batched.announce(ctx, listed{ID: request.ID}); err != nil {
			return nil, err
		}
	}
	fresh := false
	batch, err := n.batches.Update(ctx, request.ID, func(b *domain.Batch) error {
		err := b.Start(request, n.Clock.Now())
		fresh = err == nil
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("starting a batch: %w", err)
	}
	if fresh {
		n.auditBatch(ctx, "started", r.By, batch)
	}
	return batch, n.ensureActive(ctx, batch)
}

func (n *Notifications) enterBatch(ctx context.Context, batchID string) error {
	_, err := n.active.Update(ctx, activeID, func(a *domain.ActiveBatches) error { return a.Enter(batchID, n.Clock.Now()) })
	if err != nil {
		return fmt.Errorf("naming a batch among the active ones: %w", err)
	}
	return nil
}

func (n *Notifications) leaveBatch(ctx context.Context, batchID string) error {
	_, err := n.active.Update(ctx, activeID, func(a *domain.ActiveBatches) error { return a.Leave(batchID) })
	if err != nil {
		return fmt.Errorf("taking a batch from the active ones: %w", err)
	}
	return nil
}

// ensureActive names a running batch again that is not named any more: its document may have been written late, after
// it was given up.
func (n *Notifications) ensureActive(ctx context.Context, batch *domain.Batch) error {
	if batch.Status != domain.BatchRunning {
		return nil
	}
	active, err := n.activeBatches(ctx)
	if err != nil {
		return err
	}
	for _, a := range active {
		if a.ID == batch.ID {
			return nil
		}
	}
	return n.enterBatch(ctx, batch.ID)
}

func (n *Notifications) activeBatches(ctx context.Context) ([]domain.ActiveBatch, error) {
	docs, err := n.active.GetMany(ctx, activeID)
	if err != nil {
		return nil, fmt.Errorf("reading the active batches: %w", err)
	}
	if docs[activeID] == nil {
		return nil, nil
	}
	return docs[activeID].Batches, nil
}

// ShowBatch reads a batch of a kind. Errors: document.ErrNotFound.
func (n *Notifications) ShowBatch(ctx context.Context, kind domain.BatchKind, batchID string) (*domain.Batch, error) {
	if !id.Valid(batchID) {
		return nil, document.ErrNotFound
	}
	batch, err := n.batches.Get(ctx, batchID)
	if err != nil {
		return nil, fmt.Errorf("reading a batch: %w", err)
	}
	if batch.Kind != kind {
		return nil, document.ErrNotFound
	}
	return batch, n.ensureActive(ctx, batch)
}

// ListBatches returns batches of a kind, newest first, and the cursor of the next page or "". A page has up to limit of
// them, and may have fewer although more follow.
func (n *Notifications) ListBatches(ctx context.Context, kind domain.BatchKind, cursor string, limit int) ([]*domain.Batch, string, error) {
	entries, next, err := n.batched.page(ctx, cursor, limit)
	if err != nil {
		return nil, "", fmt.Errorf("listing batches: %w", err)
	}
	ids := make([]string, len(entries))
	for i, e := range entries {
		ids[i] = e.ID
	}
	batches, err := n.batches.GetMany(ctx, ids...)
	if err != nil {
		return nil, "", fmt.Errorf("listing batches: %w", err)
	}
	list := make([]*domain.Batch, 0, len(entries))
	for _, e := range entries {
		if b := batches[e.ID]; b != nil && b.Entry == e.Entry && b.Kind == kind {
			list = append(list, b)
		}
	}
	return list, next, nil
}

// CancelBatch stops a batch within about a second; what it did stays done. Doing so again changes nothing. Errors:
// document.ErrNotFound; domain.ErrBatchEnded.
func (n *Notifications) CancelBatch(ctx context.Context, kind domain.BatchKind, batchID, by string) (*domain.Batch, error) {
	if _, err := n.ShowBatch(ctx, kind, batchID); err != nil && !errors.Is(err, domain.ErrTooManyBatches) {
		return nil, err
	}
	changed := false
	batch, err := n.batches.Update(ctx, batchID, func(b *domain.Batch) error {
		err := b.Cancel(by, n.Clock.Now())
		changed = err == nil
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cancelling a batch: %w", err)
	}
	if changed {
		n.auditBatch(ctx, "cancelled", by, batch)
	}
	return batch, nil
}

// auditBatch leaves the trace that an audit follows.
func (n *Notifications) auditBatch(ctx context.Context, what, by string, b *domain.Batch) {
	n.Log.InfoContext(ctx, "audit", "action", "dead_letters."+string(b.Kind)+"_"+what, "actor", by, "reason", b.Reason, "batch", b.ID,
		"filter", b.Filter, "per_second", b.PerSecond, "scanned", b.Scanned, "done", b.Done, "failed", b.Failed)
}
