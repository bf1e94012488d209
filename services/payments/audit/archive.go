package audit

import (
	"context"
	"errors"
	"fmt"

	"caravan/internal/document"
	"caravan/services/payments/contract"
	"caravan/services/payments/domain"
)

// archive checks the archive of an account below the segment from (0 for all of it), as far as the page allows. It returns the
// segment from which to continue, or 0 at the end. seen are orders that were found in a younger version.
func (p *pageAudit) archive(ctx context.Context, account *domain.Account, from int64, seen map[string]bool) (int64, error) {
	w := archiveWalk{page: p, account: account, from: from, expected: account.Archived.Count, following: account.Archived.Books, seen: seen}
	if from > 0 {
		w.expected = from
	}
	within := func(p domain.Part) bool { return from == 0 || p.Oldest <= from }
	err := p.Ledger.Walk(ctx, account, within, func(at domain.Place, s domain.Segment) bool { return w.visit(ctx, at, s) })
	switch {
	case errors.Is(err, document.ErrArchive):
		p.Check(false, contract.InvariantArchive, domain.AccountPrefix+account.UserID, "%v", err)
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("reading archive: %w", err)
	}
	return w.stopped, w.err
}

// archiveWalk walks down the archive of one account.
type archiveWalk struct {
	page      *pageAudit
	account   *domain.Account
	from      int64
	expected  int64 // the number of the next segment
	following domain.Books
	seen      map[string]bool
	stopped   int64
	err       error
}

// visit checks one segment; false ends the walk.
func (w *archiveWalk) visit(ctx context.Context, at domain.Place, s domain.Segment) bool {
	p := w.page
	if w.from > 0 && s.Number > w.from {
		return true // only on the way to the position
	}
	p.Check(s.Number == w.expected, contract.InvariantArchive, at.Key, "segment %d is at the place of %d", s.Number, w.expected)
	w.expected = s.Number - 1
	if s.Number == w.from {
		w.following = s.Opening // checked on the page before
		return true
	}
	CheckSegment(&p.Results, w.account.UserID, at, s, w.following)
	w.following = s.Opening
	p.orders(w.account, s.Holds, w.seen)
	p.Counts["segments"]++
	if w.err = p.checkBooked(ctx, w.account, s.Postings); w.err != nil {
		return false
	}
	if p.segments--; p.segments <= 0 && s.Number > 1 {
		w.stopped = s.Number
		return false
	}
	return true
}
