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

// reserveCrashBefore: nothing is reserved. The driver repeats the step.
func reserveCrashBefore(x *trial) {
	f, restart := x.crashes("products", x.writingStock(), intercept.CrashBefore)
	x.place()
	x.struck(f)
	x.level(stock, 0)
	restart()
	x.ends("confirmed", "")
}

// reserveCrashAfter: the stock is reserved and the driver does not know. The repeated step gets the stored answer.
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

// reserveReorder: the release overtakes the reserve and leaves a tombstone, which refuses the late reserve.
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

// reserveConflict: a writer that loses several times decides again each time.
func reserveConflict(x *trial) {
	rivals := x.inject(x.writingStock(), intercept.First(x.rival("products", x.stockKey())), intercept.Times(3))
	x.buy()
	if n := len(rivals.Struck()); n != 3 {
		x.Errorf("the writer was overtaken %d times", n)
	}
}

// reserveDelay: the reservation is made and the driver does not know. The order is cancelled, and then a late copy of
// the call arrives.
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

// reserveParticipantDown: the order waits. It is cancelled meanwhile, and releases its holds when products is back.
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

// reserveBrokerDown: reserving stock does not need the broker.
func reserveBrokerDown(x *trial) {
	x.confirmedWhileDown("reserve", x.reserving())
}

// reserveStoreDown: the first write is done and its answer lost, and then the store is down. Nobody knows whether the
// units are reserved until it is back.
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

// reserveInPart: of two products the second is held when products crashes. Then the first has too little stock, and the
// hold is released.
func reserveInPart(x *trial) {
	scarce, plenty := x.products[0], x.product(price, stock)
	f, restart := x.crashes("products", intercept.Writing("products", "stock/"+plenty.sku).Mentioning(x.order), intercept.CrashAfter)
	x.placeAs(client.NewOrder{Items: []client.NewOrderItem{{SKU: plenty.sku, Quantity: 1}, {SKU: scarce.sku, Quantity: stock + 1}}})
	x.done(f)
	restart()
	x.ends("rejected", "out_of_stock")
	x.level(stock, 0)
}

// reserveDeadline: an order is cancelled when its deadline has passed without an answer. The units are reserved,
// because only the answers were lost, and they are released.
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
