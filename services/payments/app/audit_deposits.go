package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"caravan/internal/document"
	"caravan/internal/feed"
	"caravan/services/payments/contract"
	"caravan/services/payments/domain"
)

// pendingLimit is the age from which a deposit that is still pending is a finding.
const pendingLimit = 15 * time.Minute

// booked checks the deposits among postings against what was asked for and what the bank says.
func (a *Audit) booked(ctx context.Context, p *auditPage, account *domain.Account, postings []domain.Posting) error {
	p.Counts["postings"] += int64(len(postings))
	p.booked.Audit(&p.Results, account.UserID, postings)
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
		if err != nil && !errors.Is(err, ErrUnknownCharge) {
			return fmt.Errorf("asking the bank: %w", err)
		}
		p.deposited(err == nil && answer.Paid, posting.Operation, "booked, but by the bank it is paid=%t, known=%t", answer.Paid, err == nil)
	}
	return nil
}

// deposit checks one posting against its deposit document, nil if there is none.
func (p *auditPage) deposit(account *domain.Account, posting domain.Posting, deposit *domain.Deposit) {
	switch {
	case deposit == nil:
		p.deposited(false, posting.Operation, "booked, but never asked for")
	case deposit.UserID != account.UserID:
		p.deposited(false, posting.Operation, "booked for another user than the one who asked")
	case deposit.Amount.Amount != posting.Amount || deposit.Amount.Currency != account.Currency:
		p.deposited(false, posting.Operation, "booked %d %s, asked for %d %s",
			posting.Amount, account.Currency, deposit.Amount.Amount, deposit.Amount.Currency)
	default:
		p.deposited(deposit.Status != domain.DepositDeclined, posting.Operation, "booked, but marked as declined")
	}
}

// deposited checks that what was done about a deposit agrees.
func (p *auditPage) deposited(agrees bool, depositID, format string, args ...any) {
	p.Check(agrees, contract.InvariantDeposit, domain.DepositPrefix+depositID, format, args...)
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
	if at.Bank = next; next == "" {
		at.Feed = feed.Cursor{}.String()
	}
	p.goOn(at)
	return nil
}

// charge checks one charge against its deposit.
func (a *Audit) charge(ctx context.Context, p *auditPage, c Charged, deposit *domain.Deposit) error {
	if deposit == nil {
		p.deposited(!c.Paid, c.OperationID, "the bank took %s, but nobody asked for it", c.Amount)
		return nil
	}
	p.deposited(deposit.Amount == c.Amount, c.OperationID, "the bank was asked for %s, the user asked for %s", c.Amount, deposit.Amount)
	if deposit.Status == domain.DepositPending {
		p.Counts["pendingDeposits"]++
		return nil
	}
	p.deposited(c.Paid == (deposit.Status == domain.DepositSucceeded), c.OperationID, "the bank says paid=%t, the deposit is %s", c.Paid, deposit.Status)
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
	within := func(p domain.Part) bool { return p.Covers(deposit.CreatedAt) }
	err = a.ledger.walk(ctx, account, within, func(_ domain.Place, s domain.Segment) bool { count(s.Postings); return true })
	if err != nil && !errors.Is(err, document.ErrArchive) { // which the account's own check reports
		return fmt.Errorf("searching for deposit %s: %w", deposit.ID, err)
	}
	want := map[bool]int{true: 1, false: 0}[c.Paid]
	p.deposited(times == want, c.OperationID, "booked %d times, should be %d", times, want)
	return nil
}

// requests checks the next part of all deposits that were asked for, by the feed.
func (a *Audit) requests(ctx context.Context, p *auditPage, at auditPlace) error {
	from, err := feed.ParseCursor(at.Feed)
	if err != nil {
		return err
	}
	keys, err := a.feed.Keys(ctx, from, feedPage, -a.feed.Ahead())
	if err != nil {
		return fmt.Errorf("reading the feed: %w", err)
	}
	for _, bucket := range keys.Buckets {
		if err := a.asked(ctx, p, bucket.Keys); err != nil {
			return err
		}
	}
	if at.Feed = keys.Next.String(); !keys.End {
		p.goOn(at)
	}
	return nil
}

// asked checks the deposits among some keys of the feed.
func (a *Audit) asked(ctx context.Context, p *auditPage, keys []string) error {
	var ids []string
	for _, key := range keys {
		if id, ok := strings.CutPrefix(key, domain.DepositPrefix); ok {
			ids = append(ids, id)
		}
	}
	deposits, err := a.deposits.deposits.GetMany(ctx, ids...)
	if err != nil {
		return fmt.Errorf("reading deposits: %w", err)
	}
	now := a.deposits.clock.Now()
	for id, d := range deposits {
		key := a.deposits.deposits.Key(id)
		p.Counts["deposits"]++
		p.trail.Head(&p.Results, key, id, &d.Root)
		p.Check(d.ID == id && id == DepositID(d.UserID, d.Key), contract.InvariantDepositKey, key, "its user and key make it %s", DepositID(d.UserID, d.Key))
		p.Check(d.Status != domain.DepositPending || now.Sub(d.CreatedAt) <= pendingLimit, contract.InvariantPending, key,
			"pending since %s", d.CreatedAt.Format(time.RFC3339))
		if err := a.ended(ctx, p, d); err != nil {
			return err
		}
	}
	return nil
}

// ended checks that a deposit ended by the bank's answer. A failed attempt that was taken for an answer would be the
// answer to every repeat of its key.
func (a *Audit) ended(ctx context.Context, p *auditPage, d *domain.Deposit) error {
	if d.Status == domain.DepositPending {
		return nil
	}
	answer, err := a.bank.Outcome(ctx, d.ID)
	if err != nil && !errors.Is(err, ErrUnknownCharge) {
		return fmt.Errorf("asking the bank: %w", err)
	}
	p.deposited(err == nil && answer.Paid == (d.Status == domain.DepositSucceeded), d.ID, "%s (%s), but by the bank it is paid=%t, known=%t",
		d.Status, d.Reason, answer.Paid, err == nil)
	return nil
}
