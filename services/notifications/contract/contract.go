// Package contract is what other programs may know of the notifications service: its name and the audit by which
// orders checks that each of its events reached its user once.
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
