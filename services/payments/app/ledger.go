// Package app holds the use cases of payments, one file each, and the worker that ends deposits.
package app

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"caravan/internal/clock"
	"caravan/internal/document"
	"caravan/internal/id"
	"caravan/services/payments/contract"
	"caravan/services/payments/domain"
)

// Shards is the number of lists that together contain every account, so that many accounts can be opened at the same time.
const Shards = 16

// registrySegment is the number of accounts in one document of such a list.
const registrySegment = 50

// Ledger is the accounts of all users. Each posting contains its counter-account, so the ledger needs no other documents.
type Ledger struct {
	Accounts *document.Repository[domain.Account, *domain.Account]

	store    document.Store
	registry *document.Chain[registered]
	clock    clock.Clock
	ids      id.Source
	currency string
	limits   domain.Limits
}

// registered is an entry in the list of accounts. The account refers to its entry. So an entry that a crash left behind, or
// a second one, is recognized as not valid.
type registered struct {
	UserID string `json:"userId"`
	Entry  string `json:"entry"`
}

// NewLedger makes a Ledger over the accounts in store. opts has the events, clock and ids of the accounts; the prefix is set
// here. currency is that of new wallets (ISO 4217).
func NewLedger(store document.Store, opts document.Options, currency string, limits domain.Limits) *Ledger {
	opts.Prefix, opts.KeepEvents = domain.AccountPrefix, document.TimelineSegment
	expectsWrite := func(a *domain.Account) bool { return a.Held > 0 } // a capture or void follows an authorize
	return &Ledger{
		Accounts: document.NewRepository[domain.Account](store, opts).Warm(expectsWrite),
		store:    store,
		registry: document.NewChain[registered](store, "accounts/", registrySegment, opts),
		clock:    opts.Clock, ids: opts.IDs, currency: currency, limits: limits,
	}
}

// Memo returns a Ledger that reads each document of the archives once. See document.Memo.
func (l *Ledger) Memo() *Ledger {
	m := *l
	m.store = document.NewMemo(l.store)
	return &m
}

// Page reads a page of one list of accounts, 0 to Shards-1, and the cursor of the next page, which is empty at the end. It has
// one element for each entry, which is nil if the entry is not valid.
func (l *Ledger) Page(ctx context.Context, shard int, cursor string, limit int) ([]*domain.Account, string, error) {
	accounts, next, err := document.Listed(ctx, l.registry, strconv.Itoa(shard), cursor, limit, l.Accounts,
		func(e registered) string { return e.UserID }, func(a *domain.Account, e registered) bool { return a.Entry == e.Entry })
	if err != nil {
		return nil, "", fmt.Errorf("reading the list of accounts: %w", err)
	}
	return accounts, next, nil
}

// operate applies one operation to an account. It opens the account or searches its archive when the operation needs that.
// of is what to search for in the archive.
func (l *Ledger) operate(ctx context.Context, userID string, of wanted, apply func(*domain.Account, domain.Past) (domain.Result, error)) (domain.Result, error) {
	var past domain.Past
	for {
		result, err := l.attempt(ctx, userID, past, apply)
		switch {
		case errors.Is(err, domain.ErrNotOpen):
			_, err = l.open(ctx, userID)
		case errors.Is(err, domain.ErrArchive):
			past, err = l.search(ctx, userID, of)
		default:
			return result, err
		}
		if err != nil {
			return domain.Result{}, err
		}
	}
}

// command applies an operation about an order to its account.
func (l *Ledger) command(ctx context.Context, what, userID string, order domain.Order, apply func(*domain.Account, domain.Past) (domain.Result, error)) (contract.Result, error) {
	result, err := l.operate(ctx, userID, wanted{order: order.ID, instant: order.PlacedAt}, apply)
	if err != nil {
		return contract.Result{}, fmt.Errorf("%s order %s: %w", what, order.ID, err)
	}
	return contract.Result{Outcome: result.Outcome}, nil
}

// attempt is one compare-and-swap of an operation.
func (l *Ledger) attempt(ctx context.Context, userID string, past domain.Past, apply func(*domain.Account, domain.Past) (domain.Result, error)) (domain.Result, error) {
	var result domain.Result
	_, err := l.Accounts.Update(ctx, userID, func(a *domain.Account) error {
		var err error
		if result, err = apply(a, past); err != nil {
			return err
		}
		if !result.Changed {
			return document.ErrUnchanged
		}
		a.Trim(l.limits)
		return nil
	})
	if err != nil {
		return domain.Result{}, err // an update that continues after ctx may still write to result
	}
	return result, nil
}

// open returns the account of a user, and creates it if there is none. Its entry in the list is written first, so that the
// audit sees every account.
func (l *Ledger) open(ctx context.Context, userID string) (*domain.Account, error) {
	account, err := l.Accounts.Get(ctx, userID)
	if !errors.Is(err, document.ErrNotFound) {
		return account, err
	}
	entry := l.ids.New()
	if err := l.registry.Prepend(ctx, document.Shard(userID, Shards), entry, registered{UserID: userID, Entry: entry}); err != nil {
		return nil, fmt.Errorf("registering account: %w", err)
	}
	account, err = l.Accounts.Update(ctx, userID, func(a *domain.Account) error {
		if !a.Open(userID, l.currency, entry) {
			return document.ErrUnchanged
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("opening account: %w", err)
	}
	return account, nil
}
