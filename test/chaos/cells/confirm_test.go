package cells

import (
	"google.golang.org/grpc/codes"

	"caravan/test/chaos/intercept"
)

// committing are the calls that take the units of the trial's order out of stock.
func (x *trial) committing() intercept.Match {
	return intercept.Invoking("orders", "products", "/internal/commit", x.order)
}

// writingCommit is the write that takes them out of the stock, after which they are sold.
func (x *trial) writingCommit() intercept.Match { return x.writingStock().Mentioning(`"committed":2,`) }

// confirmCrashBefore: products crashes before the units are taken. The order is confirmed only when they are.
func confirmCrashBefore(x *trial) {
	f, restart := x.crashes("products", x.writingCommit(), intercept.CrashBefore)
	x.place()
	x.struck(f)
	x.level(stock, quantity)
	x.status("capturing")
	restart()
	x.ends("confirmed", "")
}

// confirmCrashAfter: the order is confirmed, and its driver crashes before it publishes that. The feed delivers the
// notice.
func confirmCrashAfter(x *trial) {
	f, restart := x.crashes("orders", x.writingOrder("orders.confirmed.v1"), intercept.CrashAfter)
	x.place()
	x.done(f)
	x.status("confirmed")
	restart()
	x.ends("confirmed", "")
}

// confirmCrashAfterCommit: products crashes when the units are taken and the driver does not know.
func confirmCrashAfterCommit(x *trial) {
	f, restart := x.crashes("products", x.writingCommit(), intercept.CrashAfter)
	x.place()
	x.done(f)
	x.level(stock-quantity, 0)
	x.status("capturing")
	restart()
	x.ends("confirmed", "")
}

// confirmCrashBeforeWrite: everything is done except the last write of the order.
func confirmCrashBeforeWrite(x *trial) {
	f, restart := x.crashes("orders", x.writingOrder("orders.confirmed.v1"), intercept.CrashBefore)
	x.place()
	x.done(f)
	x.level(stock-quantity, 0)
	x.funds(purse-total, 0)
	x.status("capturing")
	restart()
	x.ends("confirmed", "")
}

// confirmDuplicate: five calls take the units once.
func confirmDuplicate(x *trial) {
	many := x.inject(x.committing(), intercept.Multiply(5))
	x.buy()
	x.done(many)
	x.answered(many, "committed")
	x.level(stock-quantity, 0)
}

// confirmReorder: the reservation expires before the commit arrives. Products asks orders, learns that the order is
// being paid, and keeps the reservation.
func confirmReorder(x *trial) {
	gate := x.bar(x.committing())
	asked := x.inject(intercept.Invoking("products", "orders", "/internal/order-status", x.order), intercept.Pass())
	x.place()
	x.waits("capture")
	x.done(asked)
	x.waitsAgain("capture")
	x.level(stock, quantity)
	x.lift(gate)
	x.ends("confirmed", "")
}

// confirmDelay: a late commit takes effect if it comes first. Otherwise it changes nothing.
func confirmDelay(x *trial) {
	late := x.inject(x.committing(), intercept.Detain())
	x.buy()
	late.Release()
	x.done(late)
	x.answered(late, "committed")
	x.level(stock-quantity, 0)
}

// confirmParticipantDown: the order is paid and waits for its units.
func confirmParticipantDown(x *trial) {
	gate := x.bar(x.committing())
	x.place()
	x.waits("capture")
	x.down()
	x.lift(gate)
	if o := x.waitsAgain("capture"); o.Status != "capturing" {
		x.Errorf("the order is %s", o.Status)
	}
	x.up()
	x.ends("confirmed", "")
}

// confirmBrokerDown: the order is confirmed without the broker; the notice waits.
func confirmBrokerDown(x *trial) {
	x.confirmedWhileDown("capture", x.committing())
}

// confirmStoreDown: products cannot write. The order waits after the pivot.
func confirmStoreDown(x *trial) {
	gate := x.bar(x.committing())
	x.place()
	x.waits("capture")
	away := x.inject(intercept.Using("products", x.stockKey()), intercept.Fail(codes.Internal), intercept.Always())
	x.lift(gate)
	x.struck(away)
	x.waitsAgain("capture")
	x.level(stock, quantity)
	x.lift(away)
	x.ends("confirmed", "")
}

// confirmConflict: another write of the stock comes first.
func confirmConflict(x *trial) {
	rivals := x.inject(x.writingCommit(), intercept.First(x.rival("products", x.stockKey())), intercept.Times(2))
	x.buy()
	x.done(rivals)
}
