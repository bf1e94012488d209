package cells

import (
	"google.golang.org/grpc/codes"

	"caravan/dapr/client"
	"caravan/test/chaos/intercept"
)

// authorizing are the calls that hold the money of the trial's order.
func (x *trial) authorizing() intercept.Match {
	return intercept.Invoking("orders", "payments", "/internal/authorize", x.order)
}

// writingAccount are the writes of the customer's account that mention the order.
func (x *trial) writingAccount(texts ...string) intercept.Match {
	m := intercept.Writing("payments", x.accountKey()).Mentioning(x.order)
	for _, text := range texts {
		m = m.Mentioning(text)
	}
	return m
}

const total = price * quantity

// authorizeCrashBefore: nothing is held.
func authorizeCrashBefore(x *trial) {
	f, restart := x.crashes("payments", x.writingAccount(), intercept.CrashBefore)
	x.place()
	x.struck(f)
	x.funds(purse, 0)
	restart()
	x.ends("confirmed", "")
}

// authorizeCrashAfter: the money is held and the driver does not know. The money is not held twice.
func authorizeCrashAfter(x *trial) {
	f, restart := x.crashes("payments", x.writingAccount(), intercept.CrashAfter)
	x.place()
	x.done(f)
	x.funds(purse, total)
	restart()
	x.ends("confirmed", "")
}

// authorizeDuplicate: five calls hold the money once.
func authorizeDuplicate(x *trial) {
	gate := x.bar(x.capturing())
	many := x.inject(x.authorizing(), intercept.Multiply(5))
	x.place()
	x.waits("capture")
	x.done(many)
	x.answered(many, "authorized")
	x.funds(purse, total)
	x.lift(gate)
	x.ends("confirmed", "")
}

// authorizeReorder: the void overtakes the authorization and leaves a tombstone.
func authorizeReorder(x *trial) {
	late := x.inject(x.authorizing(), intercept.Detain(), intercept.Always())
	x.place()
	x.waits("authorize")
	x.level(stock, quantity)
	x.cancel()
	x.ends("cancelled", "cancelled_by_customer")
	late.Lift()
	late.Release()
	x.done(late)
	x.answered(late, "voided")
	x.funds(purse, 0)
}

// authorizeDelay: a call without an answer is not a refusal. It is repeated, and when the first one arrives late it
// holds nothing more.
func authorizeDelay(x *trial) {
	late := x.inject(x.authorizing(), intercept.Detain())
	x.buy()
	late.Release()
	x.done(late)
	if replies := late.Replies(); len(replies) != 1 || !replies[0].OK() {
		x.Errorf("the late authorization was answered %v", replies)
	}
	x.funds(purse-total, 0)
}

// authorizeParticipantDown: the order waits and keeps its stock, although the reservation expires meanwhile.
func authorizeParticipantDown(x *trial) {
	asked := x.inject(intercept.Invoking("products", "orders", "/internal/order-status", x.order), intercept.Pass())
	x.down()
	x.place()
	x.waits("authorize")
	x.struck(asked)
	x.waitsAgain("authorize")
	x.level(stock, quantity)
	x.up()
	x.ends("confirmed", "")
}

// authorizeBrokerDown: holding money does not need the broker.
func authorizeBrokerDown(x *trial) {
	x.confirmedWhileDown("authorize", x.authorizing())
}

// authorizeStoreDown: payments cannot write and reports that. The money is held once or not at all.
func authorizeStoreDown(x *trial) {
	away := x.inject(intercept.Using("payments", x.accountKey()), intercept.Fail(codes.Internal), intercept.Always())
	x.place()
	x.waitsAgain("authorize")
	x.funds(purse, 0)
	x.lift(away)
	x.ends("confirmed", "")
}

// authorizeConflict: another write of the account comes first. The authorization is decided again.
func authorizeConflict(x *trial) {
	rivals := x.inject(x.writingAccount(), intercept.First(x.rival("payments", x.accountKey())), intercept.Times(2))
	x.buy()
	x.done(rivals)
}

// authorizeDeclined is a refusal for business reasons. It is not repeated, and the reservation is released.
func authorizeDeclined(x *trial) {
	asked := x.inject(x.authorizing(), intercept.Pass(), intercept.Always())
	dear := client.NewOrder{Items: []client.NewOrderItem{{SKU: x.product(purse, 3).sku, Quantity: 2}, {SKU: x.sku(), Quantity: 1}}}
	x.placeAs(dear)
	x.ends("rejected", "insufficient_funds")
	if n := len(asked.Struck()); n != 1 {
		x.Errorf("the refusal was asked for %d times", n)
	}
}

// authorizeDeadline: the same when the money is held and the driver does not know.
func authorizeDeadline(x *trial) {
	unheard := x.inject(x.authorizing(), intercept.Lose(), intercept.Always())
	x.place()
	x.waitsAgain("authorize")
	x.funds(purse, total)
	x.overdue()
	x.ends("cancelled", "deadline")
	x.lift(unheard)
	x.level(stock, 0)
	x.funds(purse, 0)
}
