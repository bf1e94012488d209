package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"caravan/internal/clock"
	"caravan/internal/document"
	"caravan/internal/id"
	"caravan/internal/money"
	"caravan/internal/problem"
	"caravan/services/payments/contract"
	"caravan/services/payments/domain"
)

// Deposits moves money from a bank into wallets. The intent is stored before the bank is called, the bank is called
// under the deposit's id, and the posting is booked under the same id: whatever crashes in between, repeating the whole
// sequence has one effect.
type Deposits struct {
	ledger   *Ledger
	deposits *document.Repository[domain.Deposit, *domain.Deposit]
	bank     Bank
	clock    clock.Clock
	log      *slog.Logger
	patience time.Duration
	// unanswered are ids of deposits to ask the bank about once more, soon. It is a hint: what does not fit, or is lost
	// in a crash, is the reconciler's.
	unanswered chan string
}

// NewDeposits makes the use case. opts give the deposits their events, clock and ids; the prefix is set here. patience
// is how long one call of the bank may take before the deposit is left pending.
func NewDeposits(ledger *Ledger, store document.Store, opts document.Options, bank Bank, log *slog.Logger, patience time.Duration) *Deposits {
	opts.Prefix = domain.DepositPrefix
	return &Deposits{
		ledger: ledger, deposits: document.NewRepository[domain.Deposit](store, opts), bank: bank,
		clock: opts.Clock, log: log, patience: patience, unanswered: make(chan string, 64),
	}
}

// Documents is the repository, for the feed of its events.
func (d *Deposits) Documents() *document.Repository[domain.Deposit, *domain.Deposit] {
	return d.deposits
}

// DepositRequest asks for a deposit.
type DepositRequest struct {
	UserID string
	// Key is the client's Idempotency-Key: with UserID it makes the deposit's id.
	Key string
	// Fingerprint is the digest of the request's body.
	Fingerprint string
	Amount      money.Money
	Source      string
}

// DepositID is the id of the deposit that a user makes under an Idempotency-Key.
func DepositID(userID, key string) string { return id.Derive("deposit", userID, key) }

// Deposit makes a deposit, or goes on with the one that the same key made before, and returns it as it stands: pending
// when the bank's answer is not known yet. The reconciler settles what is left pending.
//
// Refusals: another currency than the wallet's, and the same key with another body (both 422).
func (d *Deposits) Deposit(ctx context.Context, r DepositRequest) (*domain.Deposit, error) {
	depositID := DepositID(r.UserID, r.Key)
	deposit, err := d.deposits.Get(ctx, depositID)
	if errors.Is(err, document.ErrNotFound) {
		if err := d.matchCurrency(ctx, r); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, fmt.Errorf("reading deposit: %w", err)
	}
	known := deposit != nil
	if deposit, err = d.request(ctx, depositID, r); err != nil {
		return nil, err
	}
	if deposit.Status != domain.DepositPending {
		return deposit, nil
	}
	if deposit, err = d.settle(ctx, deposit, known); err == nil && deposit.Status == domain.DepositPending {
		select {
		case d.unanswered <- depositID:
		default:
		}
	}
	return deposit, err
}

// matchCurrency opens the wallet and refuses money that it cannot hold, before anybody is charged.
func (d *Deposits) matchCurrency(ctx context.Context, r DepositRequest) error {
	account, err := d.ledger.open(ctx, r.UserID)
	if err != nil {
		return err
	}
	if account.Currency != r.Amount.Currency {
		return problem.Unprocessable(contract.SlugCurrency, "the wallet holds "+account.Currency)
	}
	return nil
}

// request stores the intent, once.
func (d *Deposits) request(ctx context.Context, depositID string, r DepositRequest) (*domain.Deposit, error) {
	asked := domain.Deposit{
		ID: depositID, UserID: r.UserID, Key: r.Key, Amount: r.Amount, Source: r.Source, Fingerprint: r.Fingerprint, CreatedAt: d.clock.Now(),
	}
	deposit, err := d.deposits.Update(ctx, depositID, func(doc *domain.Deposit) error {
		first, err := doc.Request(asked)
		if err != nil {
			return err
		}
		if !first {
			return document.ErrUnchanged
		}
		doc.Emit(contract.EventDepositPending, asked.CreatedAt, contract.Moved{UserID: r.UserID, DepositID: depositID, Amount: r.Amount})
		return nil
	})
	if errors.Is(err, domain.ErrOperationReused) {
		return nil, problem.Unprocessable("idempotency-key-reused", "this Idempotency-Key was used with another request body")
	}
	if err != nil {
		return nil, fmt.Errorf("storing deposit: %w", err)
	}
	return deposit, nil
}

// ReadDeposit returns a user's deposit; another user's is not found.
func (d *Deposits) ReadDeposit(ctx context.Context, userID, depositID string) (*domain.Deposit, error) {
	deposit, err := d.deposits.Get(ctx, depositID)
	if errors.Is(err, document.ErrNotFound) || (err == nil && deposit.UserID != userID) {
		return nil, problem.NotFound("deposit")
	}
	if err != nil {
		return nil, fmt.Errorf("reading deposit: %w", err)
	}
	return deposit, nil
}
