package app

import (
	"context"
	"errors"
	"fmt"

	"caravan/internal/document"
	"caravan/internal/money"
	"caravan/internal/page"
	"caravan/internal/problem"
	"caravan/services/payments/domain"
)

// Entry is one posting as its owner sees it.
type Entry struct {
	domain.Posting
	// Money is the posting's signed amount with its currency.
	Money money.Money
}

// historyPosition is the content of a cursor: postings with lower sequences are still to come. It stays right while
// postings are added or move to the archive.
type historyPosition struct {
	Before int64 `json:"b"`
}

// History returns up to limit postings of a user, the youngest first, and the cursor of the next page or "".
func (l *Ledger) History(ctx context.Context, userID, cursor string, limit int) ([]Entry, string, error) {
	account, err := l.accounts.Get(ctx, userID)
	if errors.Is(err, document.ErrNotFound) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("reading wallet: %w", err)
	}
	at := historyPosition{Before: account.Posted + 1}
	if err := page.Decode(cursor, &at); err != nil {
		return nil, "", err
	}
	if at.Before < 1 {
		return nil, "", problem.Invalid(problem.FieldError{Field: "cursor", Code: "cursor", Message: "is not a cursor of this list"})
	}
	h := history{before: at.Before, limit: limit, currency: account.Currency}
	h.take(account.Postings)
	if !h.full() {
		below := func(p domain.Part) bool { return p.First < h.before }
		err = l.walk(ctx, account, below, func(_ domain.Place, s domain.Segment) bool {
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
	return h.entries, page.Encode(historyPosition{Before: h.before}), nil
}

// history collects a page.
type history struct {
	before   int64
	limit    int
	currency string
	entries  []Entry
}

func (h *history) full() bool { return len(h.entries) >= h.limit }

// take adds postings, which come oldest first, from their end.
func (h *history) take(postings []domain.Posting) {
	for i := len(postings) - 1; i >= 0 && !h.full(); i-- {
		if p := postings[i]; p.Sequence < h.before {
			h.entries = append(h.entries, Entry{Posting: p, Money: money.New(p.Amount, h.currency)})
			h.before = p.Sequence
		}
	}
}
