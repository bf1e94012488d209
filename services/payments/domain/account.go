// Package domain holds the rules of a wallet: what may be held, captured, voided, refunded and deposited, and how every
// movement is booked twice.
//
// It is pure: no clock, no randomness, no input or output. Time and ids are arguments, and so is what the archive contains,
// as [Past].
package domain

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"caravan/internal/document"
	"caravan/internal/money"
	"caravan/services/payments/contract"
)

// AccountPrefix starts the key of every account document; the user's id follows.
const AccountPrefix = "account/"

// Counter-accounts of postings. They are not wallets.
const (
	// CounterBank is the account of the test bank, from which deposits come.
	CounterBank = "bank:test"
	// CounterSales is the account of the shop, which gets captures and pays refunds.
	CounterSales = "merchant:sales"
)

// Bounds of one account document. They are far above what a normal wallet needs.
const (
	// MaxActiveHolds is the largest number of holds that wait for capture or void at the same time.
	MaxActiveHolds = 512
	// MaxRefunds is the largest number of refunds of one order.
	MaxRefunds = 100
)

var (
	// ErrOperationReused is returned when an order, refund or deposit id was used before with another amount.
	ErrOperationReused = errors.New("the operation id was used with another amount")
	// ErrNotAuthorized is returned when the order of a capture holds nothing and was never voided.
	ErrNotAuthorized = errors.New("the order was never authorized")
	// ErrTooManyHolds is returned when MaxActiveHolds are open. It is temporary: holds end.
	ErrTooManyHolds = errors.New("the wallet has too many open holds")
	// ErrTooManyRefunds is returned when the order has MaxRefunds refunds.
	ErrTooManyRefunds = errors.New("the order has too many refunds")
	// ErrAmount is returned when an amount is negative, or zero where money must move.
	ErrAmount = errors.New("the amount is out of range")
	// ErrArchive is returned when the archive may contain the answer: search it and pass the result as Past.
	ErrArchive = errors.New("the archive must be searched")
	// ErrNotOpen is returned when the operation needs an account and it does not exist: open it first.
	ErrNotOpen = errors.New("the account is not open")
)

// State is the state of a hold.
type State string

// A hold starts authorized, or voided as a tombstone, and ends captured or voided.
const (
	Authorized State = "authorized"
	Captured   State = "captured"
	Voided     State = "voided"
)

// Hold is the money of one order, which is held first and then captured or released. Amounts are minor units of the account's
// currency. A hold itself moves no money, so it is not a posting.
type Hold struct {
	State State `json:"state"`
	// Amount is the authorized amount. It is 0 for the tombstone of an order that was voided before it was authorized.
	Amount   int64 `json:"amount,omitempty"`
	Captured int64 `json:"captured,omitempty"`
	// Posting is the sequence of the posting of the capture.
	Posting  int64 `json:"posting,omitempty"`
	Refunded int64 `json:"refunded,omitempty"`
	// Refunds are the amounts by refund id; they add up to Refunded.
	Refunds map[string]int64 `json:"refunds,omitempty"`
	// PlacedAt is the time of the order, the same in all its commands.
	PlacedAt time.Time `json:"placedAt"`
	// Reason says why an order never held anything: contract.RefusedFunds or contract.VoidedByOrder. Only tombstones have one,
	// and older tombstones have none.
	Reason string `json:"reason,omitempty"`
	// Wanted is the amount that a refused order asked for, and Available is the amount that was available.
	Wanted    int64 `json:"wanted,omitempty"`
	Available int64 `json:"available,omitempty"`
}

// refused reports whether the hold is the tombstone of an order for which the account had not enough money.
func (h Hold) refused() bool { return h.State == Voided && h.Reason == contract.RefusedFunds }

// Finished reports whether the hold only changes by a refund.
func (h Hold) Finished() bool { return h.State != Authorized }

// Kind says what a posting books.
type Kind string

// Kinds of postings.
const (
	KindDeposit Kind = "deposit"
	KindCapture Kind = "capture"
	KindRefund  Kind = "refund"
)

// Posting is one movement of money between the account and a counter-account.
type Posting struct {
	// Sequence counts the postings of one account from 1 without gaps.
	Sequence int64 `json:"sequence"`
	Kind     Kind  `json:"kind"`
	// Operation is the id of the deposit, order or refund. It is unique within its kind.
	Operation string `json:"operation"`
	// OrderID is set for captures and refunds.
	OrderID string `json:"orderId,omitempty"`
	// Amount is the signed change of the account's balance; the counter-account changes by the opposite.
	Amount         int64  `json:"amount"`
	CounterAccount string `json:"counterAccount"`
	// At is when it was booked.
	At time.Time `json:"at"`
	// Since is the time of the request for a deposit. A repeat has the same time, so the posting is found in the archive.
	Since time.Time `json:"since,omitzero"`
}

// Books are the sums over all postings up to a point.
type Books struct {
	// Balance is the sum of all amounts.
	Balance int64 `json:"balance"`
	// Counters are the balances of the counter-accounts with this account. Balance plus all of them is zero.
	Counters map[string]int64 `json:"counters,omitempty"`
}

// Post returns the books after one more posting.
func (b Books) Post(p Posting) Books {
	counters := maps.Clone(b.Counters)
	if counters == nil {
		counters = make(map[string]int64, 2)
	}
	counters[p.CounterAccount] -= p.Amount
	return Books{Balance: b.Balance + p.Amount, Counters: counters}
}

// Sum is Balance plus all counter-accounts: zero if every posting was booked twice.
func (b Books) Sum() int64 {
	sum := b.Balance
	for _, amount := range b.Counters {
		sum += amount
	}
	return sum
}

// Equal compares the sums. A counter-account at zero equals one that was never used.
func (b Books) Equal(o Books) bool {
	for name, amount := range b.Counters {
		if o.Counters[name] != amount {
			return false
		}
	}
	for name, amount := range o.Counters {
		if b.Counters[name] != amount {
			return false
		}
	}
	return b.Balance == o.Balance
}

// String writes the totals in a stable order.
func (b Books) String() string {
	parts := []string{fmt.Sprintf("balance %d", b.Balance)}
	for _, name := range slices.Sorted(maps.Keys(b.Counters)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, b.Counters[name]))
	}
	return strings.Join(parts, ", ")
}

// Account is the wallet of one user: one document, one compare-and-swap, one currency.
type Account struct {
	document.Root
	UserID string `json:"userId"`
	// Currency of every amount in the document (ISO 4217).
	Currency string `json:"currency"`
	// Entry is the id of the entry in the list of accounts that belongs to this account.
	Entry string `json:"entry"`
	// Books are the totals of all postings, including archived ones.
	Books Books `json:"books"`
	// Held is the sum of the authorized holds. The available amount is the balance minus Held.
	Held int64 `json:"held"`
	// Holds by order id: all active ones and the youngest finished ones.
	Holds map[string]Hold `json:"holds,omitempty"`
	// Posted is the sequence of the youngest posting.
	Posted int64 `json:"posted"`
	// Postings are the youngest postings, oldest first.
	Postings []Posting `json:"postings,omitempty"`
	// Archived refers to all older holds and postings.
	Archived Archive `json:"archived"`
}

// Order is the order of a command.
type Order struct {
	ID       string
	PlacedAt time.Time
}

// Result is the result of an operation on an account.
type Result struct {
	// Outcome answers a command. It is one of the contract.
	Outcome string
	// Changed is set if the operation changed the account. It is not set for a repeat, and for a refusal without a tombstone.
	Changed bool
}

// Open creates the account, once. entry is its entry in the list of accounts.
func (a *Account) Open(userID, currency, entry string) bool {
	if a.Currency != "" {
		return false
	}
	a.UserID, a.Currency, a.Entry = userID, currency, entry
	return true
}

// Balance is the money in the account.
func (a *Account) Balance() money.Money { return money.New(a.Books.Balance, a.Currency) }

// Available is the money that can still be held.
func (a *Account) Available() money.Money { return money.New(a.Books.Balance-a.Held, a.Currency) }

// hold finds the hold of an order in the account or, if the order is old enough, in past.
func (a *Account) hold(order Order, past Past) (Hold, bool, error) {
	if h, ok := a.Holds[order.ID]; ok {
		return h, true, nil
	}
	if !a.Archived.covers(order.PlacedAt) {
		return Hold{}, false, nil
	}
	if past.Count != a.Archived.Count {
		return Hold{}, false, ErrArchive
	}
	if past.Hold == nil {
		return Hold{}, false, nil
	}
	return *past.Hold, true, nil
}

// keep stores a hold. A refund also stores a hold from the archive: from then on the account has the valid version.
func (a *Account) keep(orderID string, h Hold) {
	if a.Holds == nil {
		a.Holds = make(map[string]Hold)
	}
	a.Holds[orderID] = h
}

// movable checks that the balance and every sum stay in range after a posting of amount against counter.
func (a *Account) movable(amount int64, counter string) error {
	if _, err := a.Balance().Add(money.New(amount, a.Currency)); err != nil {
		return fmt.Errorf("booking %d: %w", amount, err)
	}
	if _, err := money.New(a.Books.Counters[counter], a.Currency).Sub(money.New(amount, a.Currency)); err != nil {
		return fmt.Errorf("booking %d against %s: %w", amount, counter, err)
	}
	return nil
}

// post books one movement that movable has checked, and returns its sequence.
func (a *Account) post(p Posting) int64 {
	a.Posted++
	p.Sequence = a.Posted
	a.Postings = append(a.Postings, p)
	a.Books = a.Books.Post(p)
	return p.Sequence
}

// active counts the holds that wait for capture or void.
func (a *Account) active() int {
	n := 0
	for _, h := range a.Holds {
		if !h.Finished() {
			n++
		}
	}
	return n
}

// finished lists the orders whose holds have ended, the oldest first.
func (a *Account) finished() []string {
	var ids []string
	for id, h := range a.Holds {
		if h.Finished() {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(x, y string) int {
		if c := a.Holds[x].PlacedAt.Compare(a.Holds[y].PlacedAt); c != 0 {
			return c
		}
		if x < y {
			return -1
		}
		return 1
	})
	return ids
}
