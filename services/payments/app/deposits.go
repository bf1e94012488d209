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
	"caravan/services/payments/contract"
	"caravan/services/payments/domain"
)

// Deposits are the documents of deposits, and the steps that end a deposit. The request is stored before the bank is called,
// the bank is called with the id of the deposit, and the posting is booked with the same id. So all steps can be repeated
// after a crash and have one effect.
type Deposits struct {
	Documents *document.Repository[domain.Deposit, *domain.Deposit]

	ledger  *Ledger
	bank    Bank
	clock   clock.Clock
	log     *slog.Logger
	timeout time.Duration
	// unanswered has ids of deposits that the worker should ask the bank about soon. Ids that do not fit, or are lost in a
	// crash, are found by the next pass of the worker.
	unanswered chan string
}

// NewDeposits makes Deposits. opts has the events, clock and ids of the deposits; the prefix is set here. timeout is the
// deadline of one call of the bank, after which the deposit stays pending.
func NewDeposits(ledger *Ledger, store document.Store, opts document.Options, bank Bank, log *slog.Logger, timeout time.Duration) *Deposits {
	opts.Prefix = domain.DepositPrefix
	return &Deposits{
		Documents: document.NewRepository[domain.Deposit](store, opts),
		ledger:    ledger, bank: bank, clock: opts.Clock, log: log, timeout: timeout, unanswered: make(chan string, 64),
	}
}

// DepositID is the id of the deposit that a user makes with an Idempotency-Key.
func DepositID(userID, key string) string { return id.Derive("deposit", userID, key) }

// settle ends a pending deposit: it learns the answer of the bank, books what was paid, and then ends the deposit. Each step
// may be repeated. known is set if the bank may have been called before.
//
// Without an answer from the bank the deposit is returned as it is, pending.
func (d *Deposits) settle(ctx context.Context, deposit *domain.Deposit, known bool) (*domain.Deposit, error) {
	answer, err := d.ask(ctx, deposit, known)
	if err != nil {
		d.log.WarnContext(ctx, "The bank did not answer. The deposit stays pending.", "deposit", deposit.ID, "error", err)
		return deposit, nil
	}
	status := domain.DepositDeclined
	if answer.Paid {
		status = domain.DepositSucceeded
		if err := d.credit(ctx, deposit); err != nil {
			return nil, err
		}
	}
	now := d.clock.Now()
	ended, err := d.Documents.Update(ctx, deposit.ID, func(doc *domain.Deposit) error {
		if !doc.End(status, answer.Reason, now) {
			return document.ErrUnchanged
		}
		if known && status == domain.DepositDeclined { // otherwise the user is told by the answer to the request
			doc.Emit(contract.EventDepositDeclined, now, contract.Moved{UserID: doc.UserID, DepositID: doc.ID, Amount: doc.Amount})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("ending deposit %s: %w", deposit.ID, err)
	}
	return ended, nil
}

// ask learns the answer of the bank. If the bank may know the deposit, it is asked for the outcome first, which never moves
// money.
func (d *Deposits) ask(ctx context.Context, deposit *domain.Deposit, known bool) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	if known {
		answer, err := d.bank.Outcome(ctx, deposit.ID)
		if !errors.Is(err, ErrUnknownCharge) {
			return answer, err
		}
	}
	return d.bank.Charge(ctx, Charge{OperationID: deposit.ID, Source: deposit.Source, Amount: deposit.Amount})
}

// credit books a paid deposit in the wallet, once.
func (d *Deposits) credit(ctx context.Context, deposit *domain.Deposit) error {
	now := d.clock.Now()
	of := wanted{deposit: deposit.ID, instant: deposit.CreatedAt}
	_, err := d.ledger.operate(ctx, deposit.UserID, of, func(a *domain.Account, past domain.Past) (domain.Result, error) {
		result, err := a.Credit(deposit.ID, deposit.Amount, deposit.CreatedAt, now, past)
		if result.Changed {
			a.Emit(contract.EventDeposited, now, contract.Moved{
				UserID: deposit.UserID, DepositID: deposit.ID, Amount: deposit.Amount,
			})
		}
		return result, err
	})
	if err != nil {
		return fmt.Errorf("booking deposit %s: %w", deposit.ID, err)
	}
	return nil
}
