package contract

// The invariants that the audit of orders checks: those of orders themselves, and those between orders and the other
// services.
const (
	// InvariantAnswers: every service answers the audit. Otherwise something was not checked.
	InvariantAnswers = "service-answers-audit"

	// InvariantHistory: the events of an order follow the saga and lead to its state.
	InvariantHistory = "order-history-legal"
	// InvariantOneEnd: an order that has ended was confirmed, rejected or cancelled once. An order under way was not.
	InvariantOneEnd = "order-ends-once"
	// InvariantReason: an order that was not fulfilled ended for a final reason, and not because a service gave no answer: a
	// service has a record of its refusal, a person cancelled the order, or its deadline had passed.
	InvariantReason = "order-ended-for-a-final-reason"
	// InvariantTotals: the lines of an order add up to its total.
	InvariantTotals = "order-total-is-sum-of-lines"
	// InvariantRefunds: the refunds of an order add up and stay within its total.
	InvariantRefunds = "order-refunds-within-total"
	// InvariantKey: the id of an order follows from its user and Idempotency-Key.
	InvariantKey = "one-order-per-idempotency-key"
	// InvariantProgress: an order that has not ended has recent attempts.
	InvariantProgress = "order-comes-to-an-end"
	// InvariantWaiting: no order waits too long for a step.
	InvariantWaiting = "order-waits-within-limit"
	// InvariantListed: an order that has ended is in the list of its user, once, and in no other.
	InvariantListed = "order-in-list-of-its-user"

	// InvariantSold: the units of a confirmed order have left the stock once.
	InvariantSold = "confirmed-order-has-its-units"
	// InvariantGivenBack: an order that failed holds no stock.
	InvariantGivenBack = "failed-order-holds-no-stock"
	// InvariantHeldFor: stock is held for an order that exists, as it was ordered.
	InvariantHeldFor = "stock-held-as-ordered"
	// InvariantPrice: the prices of an order are those that were locked for it.
	InvariantPrice = "priced-as-reserved"
	// InvariantUnits: the units that left the stock are those of confirmed orders. It is checked when nothing moves.
	InvariantUnits = "units-gone-are-units-sold"

	// InvariantPaid: a confirmed order is paid once, by its user.
	InvariantPaid = "confirmed-order-paid-once"
	// InvariantRefunded: the refund of an order is back in the wallet, once.
	InvariantRefunded = "refund-reaches-wallet-once"
	// InvariantFree: an order that failed costs nothing.
	InvariantFree = "failed-order-costs-nothing"
	// InvariantPaidFor: money moves for an order that exists, of the wallet's user.
	InvariantPaidFor = "money-moves-for-its-order"
	// InvariantRevenue: the shop's revenue is what confirmed orders paid, less their refunds. It is checked when nothing moves.
	InvariantRevenue = "money-taken-is-money-owed"

	// InvariantNotice: an event of which users are notified is in the inbox of its user, once.
	InvariantNotice = "event-reaches-its-inbox-once"
	// InvariantFact: the event of an inbox entry is in the feed of its service, and concerns the user of the inbox.
	InvariantFact = "inbox-entry-has-its-event"
	// InvariantMessageFact: the event of a message outside the app is in the feed of its service, and concerns the person of the
	// message.
	InvariantMessageFact = "message-has-its-event"
	// InvariantPulled: the feeds are pulled up to the present.
	InvariantPulled = "feed-pulled-to-the-present"
)
