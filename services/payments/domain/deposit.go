package domain

import (
	"errors"
	"time"

	"caravan/internal/document"
	"caravan/internal/money"
)

// DepositPrefix starts the key of every deposit document; the deposit's id follows.
const DepositPrefix = "deposit/"

var (
	// ErrKeyReused is returned when an Idempotency-Key was used before for another request.
	ErrKeyReused = errors.New("the Idempotency-Key was used for another request")
	// ErrNoDeposit is returned when the user has no such deposit.
	ErrNoDeposit = errors.New("no such deposit")
)

// DepositStatus is the status of a deposit.
type DepositStatus string

// A deposit starts pending. It ends once, when the answer of the bank is known and, if it paid, the money is booked.
const (
	DepositPending   DepositStatus = "pending"
	DepositSucceeded DepositStatus = "succeeded"
	DepositDeclined  DepositStatus = "declined"
)

// Deposit is a request to move money from a bank into a wallet. It is stored before the bank is called, so that a charge is
// known after a crash.
type Deposit struct {
	document.Root
	ID     string `json:"id"`
	UserID string `json:"userId"`
	// Key is the Idempotency-Key of the request. The id follows from it and the user.
	Key    string      `json:"key"`
	Amount money.Money `json:"amount"`
	// Source is the bank's token for the payer.
	Source string `json:"source"`
	// Fingerprint is the digest of the request's body: the same Idempotency-Key with another body is refused.
	Fingerprint string        `json:"fingerprint"`
	Status      DepositStatus `json:"status"`
	// Reason of a decline, as the bank states it.
	Reason string `json:"reason,omitempty"`
	// CreatedAt is the time of the first request. The posting has it as Since.
	CreatedAt time.Time `json:"createdAt"`
	EndedAt   time.Time `json:"endedAt,omitzero"`
}

// Request makes the deposit, once. It reports false for a repeat of the same request. Its error is ErrKeyReused when the same
// id was used for another request.
func (d *Deposit) Request(asked Deposit) (bool, error) {
	if d.ID == "" {
		root := d.Root
		*d = asked
		d.Root, d.Status = root, DepositPending
		return true, nil
	}
	if d.UserID != asked.UserID || d.Fingerprint != asked.Fingerprint {
		return false, ErrKeyReused
	}
	return false, nil
}

// End records the final answer of the bank. Only the first call has an effect.
func (d *Deposit) End(status DepositStatus, reason string, now time.Time) bool {
	if d.Status != DepositPending {
		return false
	}
	d.Status, d.Reason, d.EndedAt = status, reason, now
	return true
}
