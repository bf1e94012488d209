package app

import (
	"context"
	"errors"

	"caravan/internal/money"
)

// ErrUnknownCharge is returned when the bank does not know an operation.
var ErrUnknownCharge = errors.New("the bank does not know this charge")

// Charge asks a bank for money.
type Charge struct {
	// OperationID makes it idempotent: one operation is charged at most once.
	OperationID string `json:"operationId"`
	// Source is the bank's token for the payer.
	Source string      `json:"source"`
	Amount money.Money `json:"amount"`
}

// Answer is the bank's final answer to a charge.
type Answer struct {
	Paid bool `json:"paid"`
	// Reason of a decline as the bank states it; empty if paid.
	Reason string `json:"reason,omitempty"`
}

// Charged is one line of the bank's own report.
type Charged struct {
	Charge
	Answer
}

// Bank is the bank that deposits come from. An error of Charge or Outcome other than ErrUnknownCharge means that the answer
// is not known, and never that the charge was declined.
type Bank interface {
	// Charge takes the money, or repeats the first answer if the operation is known.
	Charge(ctx context.Context, c Charge) (Answer, error)
	// Outcome returns the answer to an operation. Its error is ErrUnknownCharge if the operation never arrived.
	Outcome(ctx context.Context, operationID string) (Answer, error)
	// Report lists the charges that the bank has recorded, for audits. The cursor is empty at the start and at the end.
	Report(ctx context.Context, cursor string, limit int) ([]Charged, string, error)
}
