package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"caravan/internal/document"
	"caravan/services/payments/domain"
)

// pendingLimit is the age from which a deposit that is still pending is a finding.
const pendingLimit = 15 * time.Minute

// booked checks the deposits among postings against what was asked for and what the bank says.
func (a *Audit) booked(ctx context.Context, p *auditPage, account *domain.Account, postings []domain.Posting) error {
	p.Counts["postings"] += int64(len(postings))
	var ids []string
	for _, posting := range postings {
		if posting.Kind == domain.KindDeposit {
			ids = append(ids, posting.Operation)
		}
	}
	deposits, err := a.deposits.deposits.GetMany(ctx, ids...)
	if err != nil {
		return fmt.Errorf("reading deposits: %w", err)
	}
	for _, posting := range postings {
		if posting.Kind != domain.KindDeposit {
			continue
		}
		p.deposit(account, posting, deposits[posting.Operation])
		answer, err := a.bank.Outcome(ctx, posting.Operation)
		switch {
		case errors.Is(err, ErrUnknownCharge):
			p.blame(posting.Operation, "booked, but the bank knows no such charge")
		case err != nil:
			return fmt.Errorf("asking the bank: %w", err)
		case !answer.Paid:
			p.blame(posting.Operation, "booked, but the bank declined it")
		}
	}
	return nil
}

// deposit checks one posting against its deposit document, nil if there is none.
func (p *auditPage) deposit(account *domain.Account, posting domain.Posting, deposit *domain.Deposit) {
	switch {
	case deposit == nil:
		p.blame(posting.Operation, "booked, but never asked for")
	case deposit.UserID != account.UserID:
		p.blame(posting.Operation, "booked for another user than the one who asked")
	case deposit.Amount.Amount != posting.Amount || deposit.Amount.Currency != account.Currency:
		p.blame(posting.Operation, "booked %d %s, asked for %d %s",
			posting.Amount, account.Currency, deposit.Amount.Amount, deposit.Amount.Currency)
	case deposit.Status == domain.DepositDeclined:
		p.blame(posting.Operation, "booked, but marked as declined")
	}
}

func (p *auditPage) blame(depositID, format string, args ...any) {
	p.find(domain.Finding{
		Invariant: domain.InvariantDeposit, Key: domain.DepositPrefix + depositID, Detail: fmt.Sprintf(format, args...),
	})
}

// charges checks the next part of the bank's report: what the bank took is booked, exactly once.
func (a *Audit) charges(ctx context.Context, p *auditPage, at auditPlace) error {
	charged, next, err := a.bank.Report(ctx, at.Bank, auditCharges)
	if err != nil {
		return fmt.Errorf("reading the bank's report: %w", err)
	}
	ids := make([]string, len(charged))
	for i, c := range charged {
		ids[i] = c.OperationID
	}
	deposits, err := a.deposits.deposits.GetMany(ctx, ids...)
	if err != nil {
		return fmt.Errorf("reading deposits: %w", err)
	}
	for _, c := range charged {
		p.Counts["charges"]++
		if c.Paid {
			p.Counts["charged."+c.Amount.Currency] += c.Amount.Amount
		}
		if err := a.charge(ctx, p, c, deposits[c.OperationID]); err != nil {
			return err
		}
	}
	if next != "" {
		at.Bank = next
		p.goOn(at)
	}
	return nil
}

// charge checks one charge against its deposit.
func (a *Audit) charge(ctx context.Context, p *auditPage, c Charged, deposit *domain.Deposit) error {
	switch {
	case deposit == nil:
		if c.Paid {
			p.blame(c.OperationID, "the bank took %s, but nobody asked for it", c.Amount)
		}
		return nil
	case deposit.Amount != c.Amount:
		p.blame(c.OperationID, "the bank was asked for %s, the user asked for %s", c.Amount, deposit.Amount)
	case deposit.Status == domain.DepositPending:
		p.Counts["pendingDeposits"]++
		if age := a.deposits.clock.Now().Sub(deposit.CreatedAt); age > pendingLimit {
			p.blame(c.OperationID, "pending since %s", deposit.CreatedAt.Format(time.RFC3339))
		}
		return nil
	case c.Paid != (deposit.Status == domain.DepositSucceeded):
		p.blame(c.OperationID, "the bank says paid=%t, the deposit is %s", c.Paid, deposit.Status)
	}
	return a.once(ctx, p, c, deposit)
}

// once checks that an ended deposit is booked exactly once if it was paid, and not at all if it was not.
func (a *Audit) once(ctx context.Context, p *auditPage, c Charged, deposit *domain.Deposit) error {
	account, err := a.ledger.accounts.Get(ctx, deposit.UserID)
	if errors.Is(err, document.ErrNotFound) {
		account, err = new(domain.Account), nil
	}
	if err != nil {
		return fmt.Errorf("reading the account of deposit %s: %w", deposit.ID, err)
	}
	times := 0
	count := func(postings []domain.Posting) {
		for _, posting := range postings {
			if posting.Kind == domain.KindDeposit && posting.Operation == deposit.ID {
				times++
			}
		}
	}
	count(account.Postings)
	within := func(r domain.Ref) bool { return r.Covers(deposit.CreatedAt) }
	err = a.ledger.walk(ctx, account, within, func(_ string, s domain.Segment) bool { count(s.Postings); return true })
	if err != nil && !errors.Is(err, errSegmentMissing) { // which the account's own check reports
		return fmt.Errorf("searching for deposit %s: %w", deposit.ID, err)
	}
	if want := map[bool]int{true: 1, false: 0}[c.Paid]; times != want {
		p.blame(c.OperationID, "booked %d times, should be %d", times, want)
	}
	return nil
}
