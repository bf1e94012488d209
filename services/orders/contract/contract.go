// Package contract is what other services may know of orders: the states of an order, the events it publishes, and how to
// ask for the states of orders.
package contract

// App is the Dapr app id of the orders service, and the name of its topic.
const App = "orders"

// Status is the state of an order.
type Status string

// The states of the order saga. Confirmed, Rejected, Cancelled and Refunded are ends. A confirmed order may still be
// refunded, in part or whole.
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
	// Cancelling: the saga gives back what the order held.
	Cancelling Status = "cancelling"
	// Cancelled: ended by the customer, by staff or by its deadline.
	Cancelled Status = "cancelled"
	// Rejected: ended by a business rule; the reason says which.
	Rejected Status = "rejected"
	// Refunding: money is on its way back to the wallet.
	Refunding Status = "refunding"
	// Refunded: the whole total is back in the wallet.
	Refunded Status = "refunded"
)

// Terminal reports whether an order in this state has ended.
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

// Paths of the internal calls. They are fixed because Dapr keys its circuit breakers by app and path.
const (
	// PathStatus takes StatusRequest and answers Statuses.
	PathStatus = "/internal/order-status"
	// PathBreakers takes no body and answers with the circuit breakers of the calls of orders.
	PathBreakers = "/internal/breakers"
)

// MaxStatusIDs bounds the ids of one StatusRequest.
const MaxStatusIDs = 200

// StatusRequest asks for the states of orders.
type StatusRequest struct {
	OrderIDs []string `json:"orderIds" validate:"max=200"`
}

// Statuses holds the states of those orders that exist.
type Statuses struct {
	Statuses map[string]Status `json:"statuses"`
}
