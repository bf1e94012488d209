// Package app holds the use cases of payments, one file each, over the documents of package domain.
package app

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"

	"caravan/internal/clock"
	"caravan/internal/document"
	"caravan/internal/id"
	"caravan/services/payments/domain"
)

// registryShards is the number of lists that together name every account: enough that opening accounts does not queue.
const registryShards = 16

// registrySegment is the number of accounts in one document of such a list.
const registrySegment = 50

// Ledger gives the use cases their accounts. All accounts together are the ledger: every posting names its
// counter-account, so the ledger needs no other documents.
type Ledger struct {
	store    document.Store
	accounts *document.Repository[domain.Account, *domain.Account]
	registry *document.Chain[registered]
	clock    clock.Clock
	ids      id.Source
	currency string
	limits   domain.Limits
}

// registered names an account in the registry that audits walk. The account points back by Entry, so an entry that a
// crash left behind, or a second one, is recognised as void.
type registered struct {
	UserID string `json:"userId"`
	Entry  string `json:"entry"`
}

// NewLedger makes a Ledger over the accounts in store. opts give the accounts their events, clock and ids; the prefix is
// set here. currency is that of wallets opened from now on (ISO 4217).
func NewLedger(store document.Store, opts document.Options, currency string, limits domain.Limits) *Ledger {
	opts.Prefix = domain.AccountPrefix
	expectsWrite := func(a *domain.Account) bool { return a.Held > 0 } // a capture or void follows an authorize
	return &Ledger{
		store:    store,
		accounts: document.NewRepository[domain.Account](store, opts).Warm(expectsWrite),
		registry: document.NewChain[registered](store, "accounts/", registrySegment, opts),
		clock:    opts.Clock, ids: opts.IDs, currency: currency, limits: limits,
	}
}

// Accounts is the repository, for the feed of its events.
func (l *Ledger) Accounts() *document.Repository[domain.Account, *domain.Account] { return l.accounts }

// operate applies one operation to an account. It opens the account or searches its archive when the operation says that
// it needs that. of names what to look for in the archive.
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
			return result, refusal(err)
		}
		if err != nil {
			return domain.Result{}, err
		}
	}
}

// attempt is one compare-and-swap of an operation.
func (l *Ledger) attempt(ctx context.Context, userID string, past domain.Past, apply func(*domain.Account, domain.Past) (domain.Result, error)) (domain.Result, error) {
	var result domain.Result
	_, err := l.accounts.Update(ctx, userID, func(a *domain.Account) error {
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
		return domain.Result{}, err // result may still be written to by an update that outlives ctx
	}
	return result, nil
}

// open returns the account of a user, making it first if there is none. It is registered before it exists, so that no
// account can hide from an audit.
func (l *Ledger) open(ctx context.Context, userID string) (*domain.Account, error) {
	account, err := l.accounts.Get(ctx, userID)
	if !errors.Is(err, document.ErrNotFound) {
		return account, err
	}
	entry := l.ids.New()
	if err := l.registry.Prepend(ctx, shardOf(userID, registryShards), entry, registered{UserID: userID, Entry: entry}); err != nil {
		return nil, fmt.Errorf("registering account: %w", err)
	}
	account, err = l.accounts.Update(ctx, userID, func(a *domain.Account) error {
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

// shardOf spreads keys over n lists, always in the same way.
func shardOf(key string, n uint32) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key)) // a hash never fails
	return strconv.FormatUint(uint64(h.Sum32()%n), 10)
}
