package domain

import (
	"strings"
	"time"

	"caravan/internal/event"
	orders "caravan/services/orders/contract"
)

// OrderStatus is a change of the status of an order, for its user.
type OrderStatus struct {
	UserID  string
	OrderID string
	Status  string
	// Sequence is the number of the event among those of the order. A status with a higher one is newer.
	Sequence   int64
	OccurredAt time.Time
	// Reason is the code by which an order was rejected or cancelled.
	Reason string
	// Refund is set for the end of a refund. After a part was refunded, the status is confirmed as before.
	Refund bool
}

// ReadStatus returns the status that an event reports, and false for an event that is not such a change or cannot be read.
func ReadStatus(e event.Event) (OrderStatus, bool) {
	if e.Source != orders.App || !strings.HasPrefix(e.Type, orders.App+".") {
		return OrderStatus{}, false
	}
	var fact orders.Fact
	if e.Decode(&fact) != nil || fact.OrderID == "" || fact.OrderID != e.Subject || fact.Status == "" || !userIDs.MatchString(fact.UserID) {
		return OrderStatus{}, false
	}
	s := OrderStatus{
		UserID: fact.UserID, OrderID: fact.OrderID, Status: string(fact.Status), Sequence: e.Sequence,
		OccurredAt: e.Time.UTC().Truncate(time.Millisecond), Refund: e.Type == orders.EventRefunded,
	}
	if reasons.MatchString(fact.Reason) {
		s.Reason = fact.Reason
	}
	return s, true
}
