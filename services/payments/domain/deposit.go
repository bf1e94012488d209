package domain

import (
	"time"

	"caravan/internal/document"
	"caravan/internal/money"
)

// DepositPrefix starts the key of every deposit document; the deposit's id follows.
const DepositPrefix = "deposit/"

// DepositStatus is where a deposit stands.
type DepositStatus string

// A deposit starts pending and ends once, when the bank's answer is known and, if it paid, booked.
const (
	DepositPending   DepositStatus = "pending"
	DepositSucceeded DepositStatus = "succeeded"
	DepositDeclined  DepositStatus = "declined"
)

// Deposit is a request to move money from a bank into a wallet. It is stored before the bank is called, so that no crash
// can leave a charge that nobody remembers.
type Deposit struct {
	document.Root
	ID     string `json:"id"`
	UserID string `json:"userId"`
	// Key is the Idempotency-Key it was asked for with, from which and the user its id follows.
	Key    string      `json:"key"`
	Amount money.Money `json:"amount"`
	// Source is the bank's token for where the money comes from.
	Source string `json:"source"`
	// Fingerprint is the digest of the request's body: the same Idempotency-Key with another body is refused.
	Fingerprint string        `json:"fingerprint"`
	Status      DepositStatus `json:"status"`
	// Reason of a decline, in the bank's words.
	Reason string `json:"reason,omitempty"`
	// CreatedAt is when it was first asked for; the posting carries it as Since.
	CreatedAt time.Time `json:"createdAt"`
	EndedAt   time.Time `json:"endedAt,omitzero"`
}

// Request makes the deposit, once. It reports false for the repeat of the same request and fails with
// ErrOperationReused when the same id was used for another one.
func (d *Deposit) Request(asked Deposit) (bool, error) {
	if d.ID == "" {
		root := d.Root
		*d = asked
		d.Root, d.Status = root, DepositPending
		return true, nil
	}
	if d.UserID != asked.UserID || d.Fingerprint != asked.Fingerprint {
		return false, ErrOperationReused
	}
	return false, nil
}

// End records the bank's final answer, once; the first one stands.
func (d *Deposit) End(status DepositStatus, reason string, now time.Time) bool {
	if d.Status != DepositPending {
		return false
	}
	d.Status, d.Reason, d.EndedAt = status, reason, now
	return true
}
