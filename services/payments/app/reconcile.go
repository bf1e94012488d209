package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"caravan/internal/clock"
	"caravan/internal/correlation"
	"caravan/internal/document"
	"caravan/internal/feed"
	"caravan/services/payments/domain"
)

const (
	// reconcilerID is the key of the reconciler's progress document.
	reconcilerID = "deposits"
	// feedPage is about how many index keys one read of the feed covers.
	feedPage = 400
	// maxPending bounds the deposits carried from pass to pass; with more the reconciler stays where it is in the feed.
	maxPending = 1024
	// absentFor is how long a deposit that was entered and not written is looked for: a sidecar that stood still may write
	// it long after its request was given up. maxAbsent bounds how many are.
	absentFor = 10 * time.Minute
	maxAbsent = 1024
	// requestMargin is what a request takes beside the bank's answer.
	requestMargin = time.Second
	// maxUnanswered is how many questions in a row the bank may leave open before a pass leaves it alone.
	maxUnanswered = 3
)

// Reconciler ends the deposits that a crash, or a silent bank, left pending. It learns of them from payments' own feed:
// the index entry was written before the deposit was, so none can be lost.
type Reconciler struct {
	deposits *Deposits
	feed     *feed.Reader
	progress *document.Repository[progress, *progress]
	clock    clock.Clock
	log      *slog.Logger
	every    time.Duration
}

// progress is where the reconciler stands.
type progress struct {
	document.Root
	// Settled is the place in the feed up to which every deposit is ended or among Pending or Absent.
	Settled string `json:"settled"`
	// Pending are ids of deposits that the bank gave no answer about yet.
	Pending []string `json:"pending,omitempty"`
	// Absent are ids of deposits that were entered in the feed and not written yet, and since when they are missed.
	Absent map[string]time.Time `json:"absent,omitempty"`
}

// NewReconciler makes a Reconciler that passes through the feed every so often.
func NewReconciler(deposits *Deposits, reader *feed.Reader, store document.Store, opts document.Options, log *slog.Logger, every time.Duration) *Reconciler {
	return &Reconciler{
		deposits: deposits, feed: reader, clock: opts.Clock, log: log, every: every,
		progress: document.NewRepository[progress](store, document.Options{Prefix: "reconciler/", Clock: opts.Clock, IDs: opts.IDs}),
	}
}

// Run passes through the feed until ctx ends.
func (r *Reconciler) Run(ctx context.Context) error {
	for {
		if err := r.Pass(ctx); err != nil && ctx.Err() == nil {
			r.log.WarnContext(ctx, "reconciling deposits failed; it goes on from the same place", "error", err)
		}
		if err := r.clock.Sleep(ctx, r.every); err != nil {
			return nil // the service stops
		}
	}
}

// Pass tries once to end every deposit that is left pending.
func (r *Reconciler) Pass(ctx context.Context) error {
	at, err := r.progress.Get(ctx, reconcilerID)
	if errors.Is(err, document.ErrNotFound) {
		at, err = new(progress), nil
	}
	if err != nil {
		return fmt.Errorf("reading progress: %w", err)
	}
	ids, settled := slices.AppendSeq(slices.Clone(at.Pending), maps.Keys(at.Absent)), at.Settled
	if len(at.Pending) < maxPending {
		fresh, reached, err := r.fresh(ctx, at.Settled)
		if err != nil {
			return err
		}
		ids, settled = append(ids, fresh...), reached
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	pending, absent, err := r.settleAll(ctx, ids)
	if err != nil {
		return err
	}
	missing := r.missed(absent, at.Absent)
	if settled == at.Settled && slices.Equal(pending, at.Pending) && maps.Equal(missing, at.Absent) {
		return nil
	}
	return r.advance(ctx, settled, ids, pending, missing)
}

// missed are those of the absent deposits that may still come, with when they were missed first.
func (r *Reconciler) missed(absent []string, since map[string]time.Time) map[string]time.Time {
	now := r.clock.Now().UTC()
	missing := make(map[string]time.Time)
	for _, id := range absent {
		first, known := since[id]
		if !known {
			first = now
		}
		if now.Sub(first) < absentFor && len(missing) < maxAbsent {
			missing[id] = first
		}
	}
	return missing
}

// fresh lists the deposits entered in the feed since the given place, and the place that is final by now.
func (r *Reconciler) fresh(ctx context.Context, settled string) ([]string, string, error) {
	from, err := feed.ParseCursor(settled)
	if err != nil {
		return nil, "", fmt.Errorf("reading progress: %w", err)
	}
	var ids []string
	for final := true; ; {
		keys, err := r.feed.Keys(ctx, from, feedPage, -r.feed.Ahead())
		if err != nil {
			return nil, "", fmt.Errorf("reading the feed: %w", err)
		}
		for _, bucket := range keys.Buckets {
			for _, key := range bucket.Keys {
				if id, ok := strings.CutPrefix(key, domain.DepositPrefix); ok {
					ids = append(ids, id)
				}
			}
		}
		if final && keys.Settled != (feed.Cursor{}) {
			settled = keys.Settled.String()
		}
		// What settles while this pass goes on was read before it had.
		final = final && !keys.Settled.Before(keys.Next)
		if keys.End || keys.Next == from || len(ids) >= maxPending {
			return ids, settled, nil
		}
		from = keys.Next
	}
}

// settleAll tries each deposit and returns those that are still pending, and those that are not there.
func (r *Reconciler) settleAll(ctx context.Context, ids []string) (pending, absent []string, err error) {
	unanswered := 0
	for chunk := range slices.Chunk(ids, 64) {
		docs, err := r.deposits.deposits.GetMany(ctx, chunk...)
		if err != nil {
			return nil, nil, fmt.Errorf("reading deposits: %w", err)
		}
		for _, id := range chunk {
			deposit, ok := docs[id]
			if !ok {
				absent = append(absent, id)
			}
			if !ok || deposit.Status != domain.DepositPending {
				continue
			}
			if unanswered < maxUnanswered && !r.underWay(deposit) {
				if deposit, err = r.deposits.settle(causeOf(ctx, deposit), deposit, true); err != nil {
					return nil, nil, err
				}
				unanswered++
			}
			if deposit.Status == domain.DepositPending {
				pending = append(pending, id)
				continue
			}
			unanswered = 0
			r.log.InfoContext(ctx, "a deposit left pending was settled", "deposit", id, "status", deposit.Status)
		}
	}
	return pending, absent, nil
}

// underWay tells whether the request that made the deposit may still be waiting for the bank.
func (r *Reconciler) underWay(deposit *domain.Deposit) bool {
	return r.clock.Now().Sub(deposit.CreatedAt) < r.deposits.patience+requestMargin
}

// causeOf is the context of the request that asked for the deposit: its correlation id and trace.
func causeOf(ctx context.Context, deposit *domain.Deposit) context.Context {
	if len(deposit.Timeline) == 0 {
		return ctx
	}
	asked := deposit.Timeline[0]
	return correlation.Remote(ctx, asked.CorrelationID, asked.TraceParent)
}

// advance stores the progress. Another replica may have stored its own meanwhile: what this pass has not tried stays.
func (r *Reconciler) advance(ctx context.Context, settled string, tried, pending []string, missing map[string]time.Time) error {
	to, err := feed.ParseCursor(settled)
	if err != nil {
		return fmt.Errorf("storing progress: %w", err)
	}
	_, err = r.progress.Update(ctx, reconcilerID, func(p *progress) error {
		left := slices.Clone(pending)
		for _, id := range p.Pending {
			if !slices.Contains(tried, id) {
				left = append(left, id)
			}
		}
		slices.Sort(left)
		p.Pending = slices.Compact(left)
		theirs := p.Absent
		p.Absent = maps.Clone(missing)
		for id, first := range theirs {
			if !slices.Contains(tried, id) && len(p.Absent) < maxAbsent {
				p.Absent[id] = first
			}
		}
		if at, err := feed.ParseCursor(p.Settled); err != nil || at.Before(to) {
			p.Settled = settled
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("storing progress: %w", err)
	}
	return nil
}
