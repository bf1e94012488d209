package audit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"caravan/internal/document"
	"caravan/internal/feed"
	"caravan/services/payments/app"
	"caravan/services/payments/contract"
	"caravan/services/payments/domain"
)

// pendingLimit is the age from which a deposit that is still pending is a finding.
const pendingLimit = 15 * time.Minute

// checkBooked checks the deposits among postings against the requests and the answers of the bank.
func (p *pageAudit) checkBooked(ctx context.Context, account *domain.Account, postings []domain.Posting) error {
	p.Counts["postings"] += int64(len(postings))
	p.booked.Check(&p.Results, account.UserID, postings)
	var ids []string
	for _, posting := range postings {
		if posting.Kind == domain.KindDeposit {
			ids = append(ids, posting.Operation)
		}
	}
	deposits, err := p.Deposits.Documents.GetMany(ctx, ids...)
	if err != nil {
		return fmt.Errorf("reading deposits: %w", err)
	}
	for _, posting := range postings {
		if posting.Kind != domain.KindDeposit {
			continue
		}
		p.deposit(account, posting, deposits[posting.Operation])
		answer, err := p.Bank.Outcome(ctx, posting.Operation)
		if err != nil && !errors.Is(err, app.ErrUnknownCharge) {
			return fmt.Errorf("asking the bank: %w", err)
		}
		p.deposited(err == nil && answer.Paid, posting.Operation, "booked, but for the bank it is paid=%t, known=%t", answer.Paid, err == nil)
	}
	return nil
}

// deposit checks one posting against its deposit document, nil if there is none.
func (p *pageAudit) deposit(account *domain.Account, posting domain.Posting, deposit *domain.Deposit) {
	switch {
	case deposit == nil:
		p.deposited(false, posting.Operation, "booked, but never requested")
	case deposit.UserID != account.UserID:
		p.deposited(false, posting.Operation, "booked for a user who did not request it")
	case deposit.Amount.Amount != posting.Amount || deposit.Amount.Currency != account.Currency:
		p.deposited(false, posting.Operation, "booked %d %s, requested %d %s",
			posting.Amount, account.Currency, deposit.Amount.Amount, deposit.Amount.Currency)
	default:
		p.deposited(deposit.Status != domain.DepositDeclined, posting.Operation, "booked, but marked as declined")
	}
}

// deposited checks that the records of a deposit agree.
func (p *pageAudit) deposited(agrees bool, depositID, format string, args ...any) {
	p.Check(agrees, contract.InvariantDeposit, domain.DepositPrefix+depositID, format, args...)
}

// charges checks the next part of the report of the bank: what the bank took is booked exactly once.
func (p *pageAudit) charges(ctx context.Context, at position) error {
	charged, next, err := p.Bank.Report(ctx, at.Bank, chargesPerPage)
	if err != nil {
		return fmt.Errorf("reading the bank's report: %w", err)
	}
	ids := make([]string, len(charged))
	for i, c := range charged {
		ids[i] = c.OperationID
	}
	deposits, err := p.Deposits.Documents.GetMany(ctx, ids...)
	if err != nil {
		return fmt.Errorf("reading deposits: %w", err)
	}
	for _, c := range charged {
		p.Counts["charges"]++
		if c.Paid {
			p.Counts["charged."+c.Amount.Currency] += c.Amount.Amount
		}
		if err := p.charge(ctx, c, deposits[c.OperationID]); err != nil {
			return err
		}
	}
	if at.Bank = next; next == "" {
		at.Feed = feed.Cursor{}.String()
	}
	p.continueAt(at)
	return nil
}

// charge checks one charge against its deposit.
func (p *pageAudit) charge(ctx context.Context, c app.Charged, deposit *domain.Deposit) error {
	if deposit == nil {
		p.deposited(!c.Paid, c.OperationID, "the bank took %s, but nobody requested it", c.Amount)
		return nil
	}
	p.deposited(deposit.Amount == c.Amount, c.OperationID, "the bank took %s, the user requested %s", c.Amount, deposit.Amount)
	if deposit.Status == domain.DepositPending {
		p.Counts["pendingDeposits"]++
		return nil
	}
	p.deposited(c.Paid == (deposit.Status == domain.DepositSucceeded), c.OperationID, "the bank says paid=%t, the deposit is %s", c.Paid, deposit.Status)
	return p.once(ctx, c, deposit)
}

// once checks that an ended deposit is booked exactly once if it was paid, and not at all if it was not.
func (p *pageAudit) once(ctx context.Context, c app.Charged, deposit *domain.Deposit) error {
	account, err := p.Ledger.Accounts.Get(ctx, deposit.UserID)
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
	err = p.Ledger.Walk(ctx, account, within, func(_ domain.Place, s domain.Segment) bool { count(s.Postings); return true })
	if err != nil && !errors.Is(err, document.ErrArchive) { // the check of the account reports it
		return fmt.Errorf("searching for deposit %s: %w", deposit.ID, err)
	}
	want := map[bool]int{true: 1, false: 0}[c.Paid]
	p.deposited(times == want, c.OperationID, "booked %d times, should be %d", times, want)
	return nil
}

// requests checks the next part of all requested deposits, by the feed.
func (p *pageAudit) requests(ctx context.Context, at position) error {
	from, err := feed.ParseCursor(at.Feed)
	if err != nil {
		return err
	}
	keys, err := p.Feed.Keys(ctx, from, keysPerPage, -p.Feed.Ahead())
	if err != nil {
		return fmt.Errorf("reading the feed: %w", err)
	}
	for _, bucket := range keys.Buckets {
		if err := p.asked(ctx, bucket.Keys); err != nil {
			return err
		}
	}
	if at.Feed = keys.Next.String(); !keys.End {
		p.continueAt(at)
	}
	return nil
}

// asked checks the deposits among some keys of the feed.
func (p *pageAudit) asked(ctx context.Context, keys []string) error {
	var ids []string
	for _, key := range keys {
		if id, ok := strings.CutPrefix(key, domain.DepositPrefix); ok {
			ids = append(ids, id)
		}
	}
	deposits, err := p.Deposits.Documents.GetMany(ctx, ids...)
	if err != nil {
		return fmt.Errorf("reading deposits: %w", err)
	}
	now := p.Clock.Now()
	for id, d := range deposits {
		key := p.Deposits.Documents.Key(id)
		p.Counts["deposits"]++
		p.Trail.Head(&p.Results, key, id, &d.Root)
		p.Check(d.ID == id && id == app.DepositID(d.UserID, d.Key), contract.InvariantDepositKey, key, "its user and key make it %s", app.DepositID(d.UserID, d.Key))
		p.Check(d.Status != domain.DepositPending || now.Sub(d.CreatedAt) <= pendingLimit, contract.InvariantPending, key,
			"pending since %s", d.CreatedAt.Format(time.RFC3339))
		if err := p.ended(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// ended checks that a deposit ended with the answer of the bank. If a failed attempt were recorded as an answer, every repeat
// of its key would get that answer.
func (p *pageAudit) ended(ctx context.Context, d *domain.Deposit) error {
	if d.Status == domain.DepositPending {
		return nil
	}
	answer, err := p.Bank.Outcome(ctx, d.ID)
	if err != nil && !errors.Is(err, app.ErrUnknownCharge) {
		return fmt.Errorf("asking the bank: %w", err)
	}
	p.deposited(err == nil && answer.Paid == (d.Status == domain.DepositSucceeded), d.ID, "%s (%s), but for the bank it is paid=%t, known=%t",
		d.Status, d.Reason, answer.Paid, err == nil)
	return nil
}
