package app

import (
	"context"
	"errors"
	"fmt"

	"caravan/internal/document"
	"caravan/internal/money"
	"caravan/internal/page"
	"caravan/services/payments/domain"
)

// Entry is one posting as its owner sees it.
type Entry struct {
	domain.Posting
	// Money is the posting's signed amount with its currency.
	Money money.Money
}

// ListPostings lists the postings of a wallet.
type ListPostings struct{ *Ledger }

// postingPosition is the content of a cursor: postings with lower sequences are not listed yet. It stays valid while postings
// are added or moved to the archive.
type postingPosition struct {
	Before int64 `json:"b"`
}

// Do returns up to limit postings of a user, newest first, and the cursor of the next page, which is empty at the end.
func (u ListPostings) Do(ctx context.Context, userID, cursor string, limit int) ([]Entry, string, error) {
	account, err := u.Accounts.Get(ctx, userID)
	if errors.Is(err, document.ErrNotFound) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("reading wallet: %w", err)
	}
	at := postingPosition{Before: account.Posted + 1}
	if err := page.Decode(cursor, &at); err != nil {
		return nil, "", err
	}
	if at.Before < 1 {
		return nil, "", page.Invalid()
	}
	h := postings{before: at.Before, limit: limit, currency: account.Currency}
	h.take(account.Postings)
	if !h.full() {
		below := func(p domain.Part) bool { return p.First < h.before }
		err = u.Walk(ctx, account, below, func(_ domain.Place, s domain.Segment) bool {
			h.take(s.Postings)
			return !h.full()
		})
	}
	if err != nil {
		return nil, "", fmt.Errorf("reading archived postings: %w", err)
	}
	if h.before <= 1 || !h.full() {
		return h.entries, "", nil
	}
	return h.entries, page.Encode(postingPosition{Before: h.before}), nil
}

// postings collects a page.
type postings struct {
	before   int64
	limit    int
	currency string
	entries  []Entry
}

func (h *postings) full() bool { return len(h.entries) >= h.limit }

// take adds postings, which are given oldest first, from their end.
func (h *postings) take(given []domain.Posting) {
	for i := len(given) - 1; i >= 0 && !h.full(); i-- {
		if p := given[i]; p.Sequence < h.before {
			h.entries = append(h.entries, Entry{Posting: p, Money: money.New(p.Amount, h.currency)})
			h.before = p.Sequence
		}
	}
}
