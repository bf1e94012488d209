package app

import (
	"context"
	"fmt"
	"slices"
	"time"

	"caravan/internal/document"
	"caravan/services/payments/domain"
)

// wanted names what an archive search looks for: an order's hold or a deposit's posting, by its own instant.
type wanted struct {
	order   string
	deposit string
	instant time.Time
}

// search looks into the archive of an account. Segments whose time range excludes the instant are never read, so the
// cost is about the logarithm of their number.
func (l *Ledger) search(ctx context.Context, userID string, of wanted) (domain.Past, error) {
	account, err := l.Accounts.Get(ctx, userID)
	if err != nil {
		return domain.Past{}, fmt.Errorf("reading account: %w", err)
	}
	past := domain.Past{Count: account.Archived.Count}
	within := func(p domain.Part) bool { return p.Covers(of.instant) }
	err = l.Walk(ctx, account, within, func(_ domain.Place, s domain.Segment) bool {
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

// Walk visits the archive segments of an account from the youngest to the oldest, leaving out the parts that within
// excludes, until visit returns false. Its error is document.ErrArchive when one is missing or cannot be read.
func (l *Ledger) Walk(ctx context.Context, account *domain.Account, within func(domain.Part) bool, visit func(at domain.Place, s domain.Segment) bool) error {
	more := true
	prefix := domain.ArchivePrefix(account.UserID)
	tree := document.Walk[domain.Span]{
		Store: l.store, Prefix: prefix, Root: &account.Root, NewestFirst: true,
		Within: func(r document.Ref[domain.Span], _ int) bool { return within(account.Archived.Part(r)) },
	}
	err := document.Leaves(ctx, &account.Archived.Tree, tree, func(r document.Ref[domain.Span], s domain.Segment) bool {
		more = visit(domain.Place{Key: document.TreeKey(prefix, 0, r.First), Sum: r.Summary.Sum}, s)
		return more
	})
	if err != nil || !more {
		return err
	}
	return l.walkList(ctx, account, within, visit)
}

// walkList is Walk for the segments of accounts that are older than the tree.
func (l *Ledger) walkList(ctx context.Context, account *domain.Account, within func(domain.Part) bool, visit func(at domain.Place, s domain.Segment) bool) error {
	open := slices.Clone(account.Archived.Trees)
	slices.Reverse(open) // the next to visit is the last
	for len(open) > 0 {
		ref := open[len(open)-1]
		open = open[:len(open)-1]
		if !within(ref.Part()) {
			continue
		}
		var segment domain.Segment
		found, err := document.ReadArchive(ctx, l.store, &account.Root, ref.Key, &segment)
		if err != nil {
			return err
		}
		if !found {
			return fmt.Errorf("%w: %s is missing", document.ErrArchive, ref.Key)
		}
		if !visit(domain.Place{Key: ref.Key}, segment) {
			return nil
		}
		if segment.Older != nil {
			open = append(open, *segment.Older, *segment.Younger)
		}
	}
	return nil
}
