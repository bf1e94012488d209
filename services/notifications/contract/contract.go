// Package contract is what other programs may know of notifications: its name, the events of which users are notified, and the
// audit by which orders checks that each of these events reached its user once.
package contract

import (
	orders "caravan/services/orders/contract"
	payments "caravan/services/payments/contract"
	users "caravan/services/users/contract"
)

// App is the Dapr app id of the notifications service.
const App = "notifications"

// Producers are the apps whose events notifications consumes: pushed on the topics of their names, and pulled from their feeds.
func Producers() []string { return []string{users.App, orders.App, payments.App} }

// Notifiable reports whether users are notified of events of a type.
func Notifiable(typ string) bool {
	switch typ {
	case users.EventRegistered, orders.EventConfirmed, orders.EventRejected, orders.EventCancelled, orders.EventRefunded,
		payments.EventDeposited, payments.EventRefunded:
		return true
	}
	return false
}
