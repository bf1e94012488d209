package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"caravan/internal/document"
	"caravan/services/payments/domain"
)

// errSegmentMissing means that a document which the head points to is not there: money records were lost.
var errSegmentMissing = errors.New("archive segment is missing")

// wanted names what an archive search looks for: an order's hold or a deposit's posting, by its own instant.
type wanted struct {
	order   string
	deposit string
	instant time.Time
}

// search looks into the archive of an account. Segments whose time range excludes the instant are never read, so the
// cost is about the logarithm of their number.
func (l *Ledger) search(ctx context.Context, userID string, of wanted) (domain.Past, error) {
	account, err := l.accounts.Get(ctx, userID)
	if err != nil {
		return domain.Past{}, fmt.Errorf("reading account: %w", err)
	}
	past := domain.Past{Count: account.Archived.Count}
	within := func(r domain.Ref) bool { return r.Covers(of.instant) }
	err = l.walk(ctx, account, within, func(_ string, s domain.Segment) bool {
		if h, ok := s.Holds[of.order]; ok {
			past.Hold = &h
			return false
		}
		for i, p := range s.Postings {
			if p.Kind == domain.KindDeposit && p.Operation == of.deposit {
				past.Posting = &s.Postings[i]
				return false
			}
		}
		return true
	})
	return past, err
}

// walk visits the archive segments of an account from the youngest to the oldest, leaving out the subtrees that within
// excludes, until visit returns false.
func (l *Ledger) walk(ctx context.Context, account *domain.Account, within func(domain.Ref) bool, visit func(key string, s domain.Segment) bool) error {
	var open []domain.Ref // the next to visit is the last
	for i := len(account.Archived.Trees) - 1; i >= 0; i-- {
		open = append(open, account.Archived.Trees[i])
	}
	for len(open) > 0 {
		ref := open[len(open)-1]
		open = open[:len(open)-1]
		if !within(ref) {
			continue
		}
		var segment domain.Segment
		found, err := document.ReadArchive(ctx, l.store, &account.Root, ref.Key, &segment)
		if err != nil {
			return err
		}
		if !found {
			return fmt.Errorf("%w: %s", errSegmentMissing, ref.Key)
		}
		if !visit(ref.Key, segment) {
			return nil
		}
		if segment.Older != nil {
			open = append(open, *segment.Older, *segment.Younger)
		}
	}
	return nil
}
