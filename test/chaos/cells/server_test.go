package cells

import (
	"caravan/internal/id"
	"caravan/test/chaos/intercept"
)

// If the store is a server, the cells of its outage run a second time with the server killed. No service has its
// documents then, so a customer gets only refusals until the server is back.

// storeServerDown is the outage of the store's server. A file has no server.
var storeServerDown = phase{name: "the store's server down", victim: "store", cells: []cell{
	{"PLC-SD+server", placeServerDown}, {"QTE-SD+server", quoteServerDown}, {"RSV-SD+server", during((*trial).reserving)},
	{"AUT-SD+server", during((*trial).authorizing)}, {"CAP-SD+server", during((*trial).capturing)},
	{"CNF-SD+server", during((*trial).committing)}, {"NTF-SD+server", notifyServerDown},
	{"CNL-SD+server", cancelServerDown}, {"RFD-SD+server", refundServerDown},
}}

// placeServerDown: no order is accepted without a store.
func placeServerDown(x *trial) {
	x.down()
	x.unanswered("placing", x.tryPlace(x.ctx(), x.placement()))
	x.up()
	x.buy()
}

// quoteServerDown: the price is read when the store is down.
func quoteServerDown(x *trial) {
	during((*trial).reserving)(x)
	x.quoted(x.ends("confirmed", ""), price)
}

// during runs an order until a step whose call arrives when the store is down.
func during(step func(*trial) intercept.Match) func(*trial) {
	return func(x *trial) {
		call := x.inject(step(x), intercept.Hold())
		x.place()
		x.struck(call)
		x.down()
		call.Release()
		x.done(call)
		x.up()
		x.ends("confirmed", "")
	}
}

// notifyServerDown: the event is delivered when the inbox cannot be written.
func notifyServerDown(x *trial) {
	late := x.inject(x.publishing("orders.confirmed.v1"), intercept.Detain(), intercept.Times(3))
	x.buy()
	x.struck(late)
	x.down()
	late.Release()
	x.done(late)
	x.up()
	x.told("orders.confirmed.v1")
}

// cancelServerDown: no order is cancelled without a store.
func cancelServerDown(x *trial) {
	gate := x.reserved()
	x.down()
	x.unanswered("cancelling", x.tryCancel(x.ctx()))
	x.up()
	x.cancel()
	x.cancelled()
	x.lift(gate)
}

// refundServerDown: the refund is stored in the order, and the money is refunded when the store is down.
func refundServerDown(x *trial) {
	x.buy()
	call := x.inject(x.refunding(), intercept.Hold())
	x.refund(id.Random{}.New(), theRest)
	x.struck(call)
	x.down()
	call.Release()
	x.done(call)
	x.up()
	x.ends("refunded", "")
}
