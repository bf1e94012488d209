package contract

import "caravan/internal/money"

// The events of an order. All are in its timeline and in the feed. Those for which Published returns true also go to the
// topic.
const (
	EventPlaced     = "orders.placed.v1"
	EventReserved   = "orders.reserved.v1"
	EventAuthorized = "orders.authorized.v1"
	EventCapturing  = "orders.capturing.v1"
	EventConfirmed  = "orders.confirmed.v1"
	EventCancelling = "orders.cancelling.v1"
	EventCancelled  = "orders.cancelled.v1"
	EventRejected   = "orders.rejected.v1"
	EventRefunding  = "orders.refunding.v1"
	EventRefunded   = "orders.refunded.v1"
	// EventRetried: staff retried a waiting order. The state stays the same.
	EventRetried = "orders.retried.v1"
)

// Published reports whether events of this type are published on the topic: the ends of orders, on which others act. Each
// published event costs the broker a write for every queue, so consumers that want the other events pull the feed.
func Published(typ string) bool {
	switch typ {
	case EventConfirmed, EventCancelled, EventRejected, EventRefunded:
		return true
	}
	return false
}

// Fact is the payload of every order event.
type Fact struct {
	OrderID string `json:"orderId"`
	UserID  string `json:"userId"`
	Status  Status `json:"status"`
	// Reason says why an order was rejected, cancelled or refunded.
	Reason string `json:"reason,omitempty"`
	// Total is known from EventReserved on.
	Total money.Money `json:"total,omitzero"`
	// Refunded is the sum of all refunds. In EventRefunded it includes the refund that the event is about.
	Refunded money.Money `json:"refunded,omitzero"`
	// By is the member of staff who intervened. Note is the reason they gave.
	By   string `json:"by,omitempty"`
	Note string `json:"note,omitempty"`
}
