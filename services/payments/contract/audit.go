package contract

import (
	"time"

	"caravan/internal/audit"
)

// The invariants that the audit of payments checks.
const (
	// InvariantZeroSum: the balance of an account and its counter-accounts add up to zero.
	InvariantZeroSum = "ledger-zero-sum"
	// InvariantBalance: the balance is what the postings lead to.
	InvariantBalance = "balance-is-sum-of-postings"
	// InvariantHeld: the held amount is the sum of the authorized holds.
	InvariantHeld = "held-is-sum-of-holds"
	// InvariantAvailable: the held amount is not more than the balance.
	InvariantAvailable = "available-not-negative"
	// InvariantHold: no order captures more than was authorized, or without being captured.
	InvariantHold = "captured-within-authorized"
	// InvariantRefusal: an order that was refused for lack of money asked for more than was available.
	InvariantRefusal = "refused-for-want-of-money"
	// InvariantRefunds: the refunds of an order add up and stay within what it captured.
	InvariantRefunds = "refunds-within-captured"
	// InvariantPostings: the postings of an account are numbered without a gap.
	InvariantPostings = "postings-without-gap"
	// InvariantOperation: an order, refund or deposit is booked once.
	InvariantOperation = "one-posting-per-operation"
	// InvariantOrderPosting: the postings of an order are what it captured and refunded.
	InvariantOrderPosting = "order-agrees-with-postings"
	// InvariantArchive: the archive of an account has no gap, and its content is what was archived.
	InvariantArchive = "archive-complete"
	// InvariantDeposit: a deposit is booked once, for the user who requested it, if the bank took the money, and otherwise not at
	// all. It ended with the answer of the bank: without an answer it does not end.
	InvariantDeposit = "deposit-agrees-with-bank"
	// InvariantDepositKey: the id of a deposit is the one that follows from its user and Idempotency-Key.
	InvariantDepositKey = "one-deposit-per-idempotency-key"
	// InvariantPending: no deposit is pending for too long.
	InvariantPending = "deposit-comes-to-an-end"
)

// AuditPage is one page of the audit. Its counts are accounts, segments, postings, orders, charges, pendingDeposits,
// ledgerSum (always 0), and in minor units of each currency balance.EUR, held.EUR, charged.EUR (by the bank's report) and
// the counter-accounts bank:test.EUR, merchant:sales.EUR. At rest charged.EUR and bank:test.EUR add up to 0.
type AuditPage struct {
	audit.Page
	// Orders are the orders that this page found, for a comparison by the service orders. An order that was refunded long after
	// its capture may be found again in an older version: the first one is valid.
	Orders []OrderMoney `json:"orders,omitempty"`
}

// OrderMoney is what an order did to a wallet; amounts are minor units of Currency.
type OrderMoney struct {
	OrderID string `json:"orderId"`
	UserID  string `json:"userId"`
	// State is authorized, captured or voided.
	State string `json:"state"`
	// Reason says why an order never held anything: RefusedFunds or VoidedByOrder. It is empty for other orders, and for old ones.
	Reason     string `json:"reason,omitempty"`
	Currency   string `json:"currency"`
	Authorized int64  `json:"authorized"`
	Captured   int64  `json:"captured"`
	Refunded   int64  `json:"refunded"`
}

// The reasons of an [OrderMoney] that never held anything.
const (
	RefusedFunds  = "insufficient_funds"
	VoidedByOrder = "order"
)

// PathOrders takes [OrdersRequest] and answers [Orders].
const PathOrders = "/internal/audit-orders"

// OrdersRequest asks what orders did to wallets.
type OrdersRequest struct {
	Orders []OrderRef `json:"orders" validate:"max=200,dive"`
}

// OrderRef refers to an order. PlacedAt must be the same as in the commands of the order.
type OrderRef struct {
	OrderID  string    `json:"orderId" validate:"required,max=128"`
	UserID   string    `json:"userId" validate:"required,max=128"`
	PlacedAt time.Time `json:"placedAt" validate:"time"`
}

// Orders answers an [OrdersRequest]; orders that payments does not know are absent.
type Orders struct {
	Orders []OrderMoney `json:"orders"`
}
