// Package contract is what other programs may know of notifications: its name, the events of which users are notified, and the
// audit by which orders checks that each of these events reached its user once.
package contract

import (
	"slices"

	orders "caravan/services/orders/contract"
	payments "caravan/services/payments/contract"
	products "caravan/services/products/contract"
	users "caravan/services/users/contract"
)

// App is the Dapr app id of the notifications service.
const App = "notifications"

// Producers are the apps whose events notifications consumes: pushed on the topics of their names, and pulled from their feeds.
func Producers() []string { return []string{users.App, orders.App, payments.App, products.App} }

// InboxTypes are the types of the events that have an entry in the inbox of their user, or of each user of their audience: exactly
// one each, whatever the user prefers. The rest of the kinds of notifications is a matter of the service itself.
func InboxTypes() []string {
	return []string{
		users.EventRegistered, users.EventPasswordChanged, users.EventSignedIn,
		orders.EventConfirmed, orders.EventRejected, orders.EventCancelled, orders.EventRefunded,
		payments.EventDeposited, payments.EventRefunded, payments.EventDeclined, payments.EventDepositDeclined,
		products.EventPriceDropped, products.EventStockLow,
	}
}

// ToStaff reports whether events of a type name no user: they are for all users with a permission.
func ToStaff(typ string) bool { return typ == products.EventStockLow }

var inboxTypes = InboxTypes()

// Notifiable reports whether events of a type have an entry in the inbox of their user, see [InboxTypes].
func Notifiable(typ string) bool { return slices.Contains(inboxTypes, typ) }
