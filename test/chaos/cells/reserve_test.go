package cells

import (
	"caravan/test/chaos/intercept"
)

// reserving are the calls that reserve the trial's order.
func (x *trial) reserving() intercept.Match {
	return intercept.Invoking("orders", "products", "/internal/reserve", x.order)
}

// writingStock are the writes of the product's stock that mention the order.
func (x *trial) writingStock() intercept.Match {
	return intercept.Writing("products", x.stockKey()).Mentioning(x.order)
}

// reserveCrashBefore: nothing is reserved; the driver repeats the step.
func reserveCrashBefore(x *trial) {
	restart := x.crashes("products", x.writingStock(), intercept.CrashBefore)
	x.place()
	x.struck(x.faults[0])
	x.level(stock, 0)
	restart()
	x.ends("confirmed", "")
}

// reserveCrashAfter: the stock is reserved and the driver does not know; the
// repeated step gets the stored answer.
func reserveCrashAfter(x *trial) {
	restart := x.crashes("products", x.writingStock(), intercept.CrashAfter)
	x.place()
	x.done(x.faults[0])
	x.level(stock, quantity)
	restart()
	x.ends("confirmed", "")
}

// reserveDuplicate: the units of an order are taken once.
func reserveDuplicate(x *trial) {
	many := x.inject(x.reserving(), intercept.Multiply(5))
	x.buy()
	x.done(many)
	for _, reply := range many.Replies() {
		if !reply.OK() || x.outcome(reply) != "reserved" {
			x.Errorf("one of the five was answered %s", reply)
		}
	}
}

// reserveReorder: the release overtakes the reserve and leaves a tombstone, by
// which the late reserve is refused.
func reserveReorder(x *trial) {
	late := x.inject(x.reserving(), intercept.Detain(), intercept.Always())
	x.place()
	x.waits("reserve")
	x.cancel()
	x.ends("cancelled", "cancelled_by_customer")
	late.Lift()
	late.Release()
	x.done(late)
	for _, reply := range late.Replies() {
		if !reply.OK() || x.outcome(reply) != "released" {
			x.Errorf("the late reserve was answered %s", reply)
		}
	}
	x.level(stock, 0)
}

// reserveConflict: a writer that is overtaken again and again decides anew each
// time.
func reserveConflict(x *trial) {
	rivals := x.inject(x.writingStock(), intercept.First(x.rival("products", x.stockKey())), intercept.Times(3))
	x.buy()
	if n := len(rivals.Struck()); n != 3 {
		x.Errorf("the writer was overtaken %d times", n)
	}
}
