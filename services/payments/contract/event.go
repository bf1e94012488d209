package contract

import "caravan/internal/money"

// Types of the events on the topic "payments". Their subject is the wallet, that is the user's id.
const (
	EventDeposited = "payments.deposited.v1"
	EventCaptured  = "payments.captured.v1"
	EventRefunded  = "payments.refunded.v1"
	// EventDeclined says that a wallet had not enough money for an order. Its amount is what the order asked for.
	EventDeclined = "payments.declined.v1"
	// EventDepositPending says that a deposit was accepted and the answer of the bank is not known yet. Its subject is the
	// deposit. Payments reads it from its own feed to end deposits after a crash.
	EventDepositPending = "payments.deposit_pending.v1"
	// EventDepositDeclined says that the bank declined a deposit that had been pending: its user was answered before the bank. Its
	// subject is the deposit.
	EventDepositDeclined = "payments.deposit_declined.v1"
)

// Moved is the payload of every event of payments: amounts and ids, never personal data.
type Moved struct {
	UserID    string      `json:"userId"`
	OrderID   string      `json:"orderId,omitempty"`
	RefundID  string      `json:"refundId,omitempty"`
	DepositID string      `json:"depositId,omitempty"`
	Amount    money.Money `json:"amount"`
}

// Published reports whether an event of this type is pushed to the topic. A capture is part of an order, which has events of
// its own, and no other service uses pending deposits. Both are in the feed.
func Published(typ string) bool {
	return typ == EventDeposited || typ == EventRefunded || typ == EventDeclined || typ == EventDepositDeclined
}
