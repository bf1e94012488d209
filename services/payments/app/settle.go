package app

import (
	"context"
	"errors"
	"fmt"

	"caravan/internal/document"
	"caravan/services/payments/contract"
	"caravan/services/payments/domain"
)

// Run asks the bank again, soon, about deposits whose request ended without an answer, until ctx ends.
func (d *Deposits) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case depositID := <-d.unanswered:
			deposit, err := d.deposits.Get(ctx, depositID)
			if err == nil && deposit.Status == domain.DepositPending {
				_, err = d.settle(causeOf(ctx, deposit), deposit, true)
			}
			if err != nil {
				d.log.WarnContext(ctx, "settling a deposit failed, the reconciler goes on", "deposit", depositID, "error", err)
			}
		}
	}
}

// settle brings a pending deposit to its end: it learns the bank's answer, books what was paid, and only then marks the
// deposit. Each step may be repeated. known tells that the bank may have been called before.
//
// Without an answer from the bank the deposit is returned as it is, pending.
func (d *Deposits) settle(ctx context.Context, deposit *domain.Deposit, known bool) (*domain.Deposit, error) {
	answer, err := d.ask(ctx, deposit, known)
	if err != nil {
		d.log.WarnContext(ctx, "the bank's answer is not known, the deposit stays pending", "deposit", deposit.ID, "error", err)
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
	ended, err := d.deposits.Update(ctx, deposit.ID, func(doc *domain.Deposit) error {
		if !doc.End(status, answer.Reason, now) {
			return document.ErrUnchanged
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("ending deposit %s: %w", deposit.ID, err)
	}
	return ended, nil
}

// ask learns the bank's answer. A deposit that the bank may know is asked about first, which never moves money.
func (d *Deposits) ask(ctx context.Context, deposit *domain.Deposit, known bool) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, d.patience)
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
