// Package contract is what other services may know of payments: its commands and their outcomes, its events and the form of
// its audit.
//
// A refusal by a rule of business (not enough money, already voided) is an outcome in a successful answer, and never an error:
// the circuit breaker of Dapr counts error statuses as failures of the service. An error in an answer means that the command
// itself is wrong, see [SlugOperationReused], or that it may succeed later.
package contract

import (
	"log/slog"
	"time"

	"caravan/internal/money"
)

// App is the Dapr app id of the payments service.
const App = "payments"

// Paths of the commands. Ids are in the body and not in the path, because Dapr has one circuit breaker for each path.
const (
	PathAuthorize = "/internal/authorize"
	PathCapture   = "/internal/capture"
	PathVoid      = "/internal/void"
	PathRefund    = "/internal/refund"
	PathAudit     = "/internal/audit"
)

// Outcomes of the commands.
const (
	// OutcomeAuthorized: the amount is held for the order.
	OutcomeAuthorized = "authorized"
	// OutcomeInsufficientFunds: the wallet has not enough available money, or none in that currency. Final, also if the wallet
	// gets money later.
	OutcomeInsufficientFunds = "insufficient_funds"
	// OutcomeVoided: the hold is released, or the order was voided before its authorize. Final.
	OutcomeVoided = "voided"
	// OutcomeCaptured: the held amount has left the wallet. Final; only a refund returns money.
	OutcomeCaptured = "captured"
	// OutcomeRefunded: the amount was returned to the wallet.
	OutcomeRefunded = "refunded"
	// OutcomeExceedsCaptured: the refunds of the order would be more than it captured. Nothing is stored.
	OutcomeExceedsCaptured = "exceeds_captured"
	// OutcomeNotCaptured: this order has captured nothing, so there is nothing to refund.
	OutcomeNotCaptured = "not_captured"
)

// Problem slugs of refused commands.
const (
	// SlugOperationReused (422): the order or refund id was used before with another amount.
	SlugOperationReused = "operation-id-reused"
	// SlugNotAuthorized (409): a capture of an order that was never authorized.
	SlugNotAuthorized = "not-authorized"
	// SlugAmountOverflow (422): the sum does not fit into 63 bits.
	SlugAmountOverflow = "amount-overflow"
	// SlugAmount (422): a negative amount, or zero where money must move.
	SlugAmount = "amount-out-of-range"
	// SlugCurrency (422): the wallet holds another currency.
	SlugCurrency = "currency-mismatch"
	// SlugTooManyHolds (503): the wallet has the largest number of open holds. The command may succeed when some have ended.
	SlugTooManyHolds = "too-many-holds"
	// SlugTooManyRefunds (422): the order has the largest number of refunds.
	SlugTooManyRefunds = "too-many-refunds"
)

// Authorize holds Amount in the wallet of UserID for the order. Idempotent by OrderID.
type Authorize struct {
	OrderID string      `json:"orderId" validate:"required,plainid"`
	UserID  string      `json:"userId" validate:"required,plainid"`
	Amount  money.Money `json:"amount"`
	// PlacedAt is the time of the order, the same in every command of the order. It shows whether the order may be in the archive
	// of the wallet.
	PlacedAt time.Time `json:"placedAt" validate:"time"`
	// Early says that it is not known yet whether the order can be fulfilled. If the amount is not available, nothing is written
	// and nobody is told; a later command without Early decides.
	Early bool `json:"early,omitempty"`
}

// Capture takes the held amount of the order out of the wallet. Idempotent by OrderID.
type Capture struct {
	OrderID  string    `json:"orderId" validate:"required,plainid"`
	UserID   string    `json:"userId" validate:"required,plainid"`
	PlacedAt time.Time `json:"placedAt" validate:"time"`
}

// Void releases the hold of the order. For an unknown order it leaves a tombstone, so that a late authorize is answered voided.
// Idempotent by OrderID.
type Void struct {
	OrderID  string    `json:"orderId" validate:"required,plainid"`
	UserID   string    `json:"userId" validate:"required,plainid"`
	PlacedAt time.Time `json:"placedAt" validate:"time"`
}

// Refund returns Amount of what the order captured to the wallet. Idempotent by RefundID within the order.
type Refund struct {
	RefundID string      `json:"refundId" validate:"required,plainid"`
	OrderID  string      `json:"orderId" validate:"required,plainid"`
	UserID   string      `json:"userId" validate:"required,plainid"`
	Amount   money.Money `json:"amount"`
	PlacedAt time.Time   `json:"placedAt" validate:"time"`
}

// Result answers a command.
type Result struct {
	Outcome string `json:"outcome"`
}

// The answers to the commands.
type (
	// Authorized answers [Authorize]: authorized, insufficient_funds or voided. An order that was captured before is answered
	// authorized, because its hold was granted.
	Authorized = Result
	// Captured answers [Capture]: captured or voided.
	Captured = Result
	// Voided answers [Void]: voided or captured.
	Voided = Result
	// Refunded answers [Refund]: refunded, exceeds_captured or not_captured.
	Refunded = Result
)

// LogValue is the outcome.
func (r Result) LogValue() slog.Value { return slog.StringValue(r.Outcome) }

// LogValue names the order in a log line.
func (a Authorize) LogValue() slog.Value { return slog.StringValue(a.OrderID) }

// LogValue names the order in a log line.
func (c Capture) LogValue() slog.Value { return slog.StringValue(c.OrderID) }

// LogValue names the order in a log line.
func (v Void) LogValue() slog.Value { return slog.StringValue(v.OrderID) }

// LogValue names the order in a log line.
func (r Refund) LogValue() slog.Value { return slog.StringValue(r.OrderID) }
