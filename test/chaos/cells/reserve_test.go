package cells

import (
	"google.golang.org/grpc/codes"

	"caravan/dapr/client"
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
	f, restart := x.crashes("products", x.writingStock(), intercept.CrashBefore)
	x.place()
	x.struck(f)
	x.level(stock, 0)
	restart()
	x.ends("confirmed", "")
}

// reserveCrashAfter: the stock is reserved and the driver does not know; the
// repeated step gets the stored answer.
func reserveCrashAfter(x *trial) {
	f, restart := x.crashes("products", x.writingStock(), intercept.CrashAfter)
	x.place()
	x.done(f)
	x.level(stock, quantity)
	restart()
	x.ends("confirmed", "")
}

// reserveDuplicate: the units of an order are taken once.
func reserveDuplicate(x *trial) {
	many := x.inject(x.reserving(), intercept.Multiply(5))
	x.buy()
	x.done(many)
	x.answered(many, "reserved")
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
	x.answered(late, "released")
	x.level(stock, 0)
}

// reserveConflict: a writer that is overtaken again and again decides again each
// time.
func reserveConflict(x *trial) {
	rivals := x.inject(x.writingStock(), intercept.First(x.rival("products", x.stockKey())), intercept.Times(3))
	x.buy()
	if n := len(rivals.Struck()); n != 3 {
		x.Errorf("the writer was overtaken %d times", n)
	}
}

// reserveDelay: the reservation was made without its driver knowing, the order is
// cancelled, and then a copy of the call arrives that was on its way all the time.
func reserveDelay(x *trial) {
	late := x.inject(x.reserving(), intercept.Detain())
	unheard := x.inject(x.reserving(), intercept.Lose(), intercept.Always())
	x.place()
	x.struck(unheard)
	x.waitsAgain("reserve")
	x.level(stock, quantity)
	x.cancel()
	x.ends("cancelled", "cancelled_by_customer")
	unheard.Lift()
	late.Release()
	x.done(late)
	x.answered(late, "released")
	x.level(stock, 0)
}

// reserveParticipantDown: the order waits; cancelled meanwhile, it releases what
// it may hold as soon as there is somebody to tell.
func reserveParticipantDown(x *trial) {
	x.down()
	x.place()
	x.waitsAgain("reserve")
	x.cancel()
	if o := x.waitsAgain("undo reserve"); o.Status != "cancelling" {
		x.Errorf("the order is %s", o.Status)
	}
	x.up()
	x.ends("cancelled", "cancelled_by_customer")
}

// reserveBrokerDown: stock is not reserved by way of the broker.
func reserveBrokerDown(x *trial) {
	x.confirmedWhileDown("reserve", x.reserving())
}

// reserveStoreDown: the first write is done and its answer lost, and then the
// store is gone: whether the units are reserved is not known until it is back.
func reserveStoreDown(x *trial) {
	var away *intercept.Fault
	unheard := x.inject(x.writingStock(), intercept.Then(intercept.Lose(), func() {
		away = x.inject(intercept.Using("products", x.stockKey()), intercept.Fail(codes.Internal), intercept.Always())
	}))
	x.place()
	x.done(unheard)
	x.struck(away)
	x.waitsAgain("reserve")
	x.level(stock, quantity)
	x.lift(away)
	x.ends("confirmed", "")
}

// reserveInPart: of two products the second is held when products dies and the
// first turns out to be short; what was held is given back.
func reserveInPart(x *trial) {
	scarce, plenty := x.products[0], x.product(price, stock)
	f, restart := x.crashes("products", intercept.Writing("products", "stock/"+plenty.sku).Mentioning(x.order), intercept.CrashAfter)
	x.placeAs(client.NewOrder{Items: []client.NewOrderItem{{SKU: plenty.sku, Quantity: 1}, {SKU: scarce.sku, Quantity: stock + 1}}})
	x.done(f)
	restart()
	x.ends("rejected", "out_of_stock")
	x.level(stock, 0)
}

// reserveDeadline: an order whose time is over when nobody answers is cancelled,
// with all that it may hold: the answers were lost, the units are reserved.
func reserveDeadline(x *trial) {
	unheard := x.inject(x.reserving(), intercept.Lose(), intercept.Always())
	x.place()
	x.waitsAgain("reserve")
	x.level(stock, quantity)
	x.overdue()
	x.ends("cancelled", "deadline")
	x.lift(unheard)
	x.level(stock, 0)
}
