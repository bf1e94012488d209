package app

import (
	"context"
	"errors"

	"caravan/internal/money"
)

// ErrUnknownCharge means that the bank never heard of an operation.
var ErrUnknownCharge = errors.New("the bank does not know this charge")

// Charge asks a bank for money.
type Charge struct {
	// OperationID makes it idempotent: one operation is charged at most once, whatever is repeated.
	OperationID string `json:"operationId"`
	// Source is the bank's token for the payer.
	Source string      `json:"source"`
	Amount money.Money `json:"amount"`
}

// Answer is the bank's final word on a charge.
type Answer struct {
	Paid bool `json:"paid"`
	// Reason of a decline, in the bank's words; empty if paid.
	Reason string `json:"reason,omitempty"`
}

// Charged is one line of the bank's own report.
type Charged struct {
	Charge
	Answer
}

// Bank is the port to where deposits come from. An error of Charge or Outcome other than ErrUnknownCharge means that the
// answer is not known, never that the charge was declined.
type Bank interface {
	// Charge takes the money, or answers as before when the operation is known.
	Charge(ctx context.Context, c Charge) (Answer, error)
	// Outcome tells what became of an operation; ErrUnknownCharge if it never arrived.
	Outcome(ctx context.Context, operationID string) (Answer, error)
	// Report lists what the bank has on record, for audits; the cursor is empty at first and at the end.
	Report(ctx context.Context, cursor string, limit int) ([]Charged, string, error)
}
