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
	// maxPending bounds the deposits that are carried from pass to pass. With more, the position in the feed does not change.
	maxPending = 1024
	// absentFor is how long a deposit that has an entry in the feed is searched for if it is not there: a frozen sidecar may
	// write it long after the end of its request. maxAbsent bounds how many are searched for.
	absentFor = 10 * time.Minute
	maxAbsent = 1024
	// requestMargin is the time that a request takes in addition to the answer of the bank.
	requestMargin = time.Second
	// maxUnanswered is how many questions in a row the bank may leave unanswered before a pass stops asking.
	maxUnanswered = 3
)

// Reconciler is the worker that ends deposits without an answer of the bank. It asks the bank again soon after the request.
// After a crash it finds the deposits in the feed of payments: the entry in the feed is written before the deposit, so none
// can be lost.
type Reconciler struct {
	deposits *Deposits
	feed     *feed.Reader
	progress *document.Repository[progress, *progress]
	clock    clock.Clock
	log      *slog.Logger
	every    time.Duration
}

// progress is the progress of the reconciler.
type progress struct {
	document.Root
	// Settled is the position in the feed up to which every deposit is ended or is in Pending or Absent.
	Settled string `json:"settled"`
	// Pending are ids of deposits that the bank has not answered yet.
	Pending []string `json:"pending,omitempty"`
	// Absent are ids of deposits that have an entry in the feed and are not written yet, with the time of the first search.
	Absent map[string]time.Time `json:"absent,omitempty"`
}

// NewReconciler makes a Reconciler that reads the feed at an interval.
func NewReconciler(deposits *Deposits, reader *feed.Reader, store document.Store, opts document.Options, log *slog.Logger, every time.Duration) *Reconciler {
	return &Reconciler{
		deposits: deposits, feed: reader, clock: opts.Clock, log: log, every: every,
		progress: document.NewRepository[progress](store, document.Options{Prefix: "reconciler/", Clock: opts.Clock, IDs: opts.IDs}),
	}
}

// Run ends deposits until ctx ends.
func (r *Reconciler) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := r.Pass(ctx); err != nil && ctx.Err() == nil {
			r.log.WarnContext(ctx, "Ending deposits failed. The next pass continues at the same position.", "error", err)
		}
		r.answerUntilNextPass(ctx)
	}
	return nil
}

// answerUntilNextPass asks the bank again about deposits whose request ended without an answer, until the next pass is due.
func (r *Reconciler) answerUntilNextPass(ctx context.Context) {
	waiting, due := context.WithCancel(ctx)
	defer due()
	go func() {
		defer due()
		_ = r.clock.Sleep(waiting, r.every) // it only fails when waiting has ended
	}()
	for {
		select {
		case <-waiting.Done():
			return
		case depositID := <-r.deposits.unanswered:
			deposit, err := r.deposits.Documents.Get(ctx, depositID)
			if err == nil && deposit.Status == domain.DepositPending {
				_, err = r.deposits.settle(causeOf(ctx, deposit), deposit, true)
			}
			if err != nil {
				r.log.WarnContext(ctx, "Ending a deposit failed. The next pass tries again.", "deposit", depositID, "error", err)
			}
		}
	}
}

// Pass tries once to end every deposit that was left pending.
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

// missed are the absent deposits that may still be written, with the time of the first search.
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

// fresh lists the deposits that were entered in the feed after the given position, and the position up to which the feed is
// final.
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
		// What becomes final during this pass was read before it was final.
		final = final && !keys.Settled.Before(keys.Next)
		if keys.End || keys.Next == from || len(ids) >= maxPending {
			return ids, settled, nil
		}
		from = keys.Next
	}
}

// settleAll tries to end each deposit. It returns those that are still pending, and those that do not exist.
func (r *Reconciler) settleAll(ctx context.Context, ids []string) (pending, absent []string, err error) {
	unanswered := 0
	for chunk := range slices.Chunk(ids, 64) {
		docs, err := r.deposits.Documents.GetMany(ctx, chunk...)
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
			r.log.InfoContext(ctx, "A pending deposit was ended.", "deposit", id, "status", deposit.Status)
		}
	}
	return pending, absent, nil
}

// underWay reports whether the request of the deposit may still be waiting for the bank.
func (r *Reconciler) underWay(deposit *domain.Deposit) bool {
	return r.clock.Now().Sub(deposit.CreatedAt) < r.deposits.timeout+requestMargin
}

// causeOf is ctx with the correlation id and the trace of the request for the deposit.
func causeOf(ctx context.Context, deposit *domain.Deposit) context.Context {
	if len(deposit.Timeline) == 0 {
		return ctx
	}
	asked := deposit.Timeline[0]
	return correlation.Remote(ctx, asked.CorrelationID, asked.TraceParent)
}

// advance stores the progress. Another replica may have stored its own progress: what this pass has not tried is kept.
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
