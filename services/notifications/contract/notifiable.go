package contract

import (
	orders "caravan/services/orders/contract"
	payments "caravan/services/payments/contract"
	users "caravan/services/users/contract"
)

// Notifiable reports whether users are notified of events of a type.
func Notifiable(typ string) bool {
	switch typ {
	case users.EventRegistered, orders.EventConfirmed, orders.EventRejected, orders.EventCancelled, orders.EventRefunded,
		payments.EventDeposited, payments.EventRefunded:
		return true
	}
	return false
}
