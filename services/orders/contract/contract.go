// Package contract is what other services may know of orders: the states of an
// order, the facts it publishes, and how to ask for the state of orders.
package contract

import (
	"context"
	"fmt"

	"caravan/internal/invoke"
	"caravan/internal/money"
)

// App is the Dapr app id of the orders service, and the name of its topic.
const App = "orders"

// Status is the state of an order.
type Status string

// The states of the order saga. Confirmed, Rejected, Cancelled and Refunded are
// ends; a confirmed order may still be refunded, in part or whole.
const (
	// Placed: accepted; nothing is reserved for certain yet.
	Placed Status = "placed"
	// Reserved: stock is held and the prices are locked.
	Reserved Status = "reserved"
	// Authorized: the total is held in the customer's wallet.
	Authorized Status = "authorized"
	// Capturing: past the pivot; the order only goes forward from here.
	Capturing Status = "capturing"
	// Confirmed: paid, and the units have left the stock.
	Confirmed Status = "confirmed"
	// Cancelling: what was held is being given back.
	Cancelling Status = "cancelling"
	// Cancelled: ended by the customer, by staff or by its deadline.
	Cancelled Status = "cancelled"
	// Rejected: ended by a business rule; Reason says which.
	Rejected Status = "rejected"
	// Refunding: money is on its way back to the wallet.
	Refunding Status = "refunding"
	// Refunded: the whole total is back in the wallet.
	Refunded Status = "refunded"
)

// Terminal reports whether an order in this state needs nothing more done.
func (s Status) Terminal() bool {
	return s == Confirmed || s == Rejected || s == Cancelled || s == Refunded
}

// Known reports whether s is a state of an order.
func (s Status) Known() bool {
	switch s {
	case Placed, Reserved, Authorized, Capturing, Confirmed, Cancelling, Cancelled, Rejected, Refunding, Refunded:
		return true
	}
	return false
}

// The events of an order. All are in its timeline and in the feed; those in
// Published also go to the topic.
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
	// EventRetried: staff had a waiting order tried again at once. The state stays.
	EventRetried = "orders.retried.v1"
)

// Published reports whether an event of this type is pushed to the topic: the
// ends of orders, which others act on. Each pushed event costs a write in the
// broker for every queue, so the steps on the way are left to those who pull the
// feed; a fork that wants them pushed adds them here.
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
	// Refunded is the sum of all refunds; in EventRefunded it includes the one
	// that the event tells of.
	Refunded money.Money `json:"refunded,omitzero"`
	// By is the member of staff who intervened, Note why, in their words.
	By   string `json:"by,omitempty"`
	Note string `json:"note,omitempty"`
}

// Paths of the internal calls, fixed because Dapr keys its circuit breakers by
// app and path.
const (
	// PathStatus takes StatusRequest and answers Statuses.
	PathStatus = "/internal/order-status"
)

// MaxStatusIDs bounds the ids of one StatusRequest.
const MaxStatusIDs = 200

// StatusRequest asks for the states of orders.
type StatusRequest struct {
	OrderIDs []string `json:"orderIds"`
}

// Statuses holds the states of those orders that exist.
type Statuses struct {
	Statuses map[string]Status `json:"statuses"`
}

// FetchStatuses asks orders for the states of orders; ids without an order are
// absent from the result.
func FetchStatuses(ctx context.Context, invoker invoke.Invoker, ids []string) (map[string]Status, error) {
	var out Statuses
	if err := invoker.Invoke(ctx, App, PathStatus, StatusRequest{OrderIDs: ids}, &out); err != nil {
		return nil, fmt.Errorf("asking for the states of %d orders: %w", len(ids), err)
	}
	return out.Statuses, nil
}
