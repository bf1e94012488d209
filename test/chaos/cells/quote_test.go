package cells

import (
	"google.golang.org/grpc/codes"

	"caravan/dapr/client"
	"caravan/test/chaos/intercept"
)

// The quote is a part of the reservation here: products prices the lines and fixes the prices in the holds, and the
// order stores them. Instead of a quote that is too old, the cells use a total to which the customer agreed.

// dearer is a price other than the quoted one.
const dearer = price + 100

// quoted expects an order to cost what was quoted.
func (x *trial) quoted(o client.Order, unit int64) {
	x.Helper()
	if o.Total.Amount != unit*quantity {
		x.Errorf("the total is %+v; want %d", o.Total, unit*quantity)
	}
}

// quoteCrashBefore: products crashes when it reads the price. Nothing is quoted until the step is repeated.
func quoteCrashBefore(x *trial) {
	f, restart := x.crashes("products", intercept.Reading("products", "product/"+x.sku()), intercept.CrashBefore)
	x.place()
	x.struck(f)
	x.level(stock, 0)
	restart()
	x.quoted(x.ends("confirmed", ""), price)
}

// quoteCrashAfter: the hold has the quote, and the driver crashes before it knows. A new price changes nothing.
func quoteCrashAfter(x *trial) {
	f, restart := x.crashes("orders", x.reserving(), intercept.CrashAfter)
	x.place()
	x.done(f)
	x.reprice(dearer)
	restart()
	x.quoted(x.ends("confirmed", ""), price)
}

// quoteDuplicate: a repeat gets the same quote.
func quoteDuplicate(x *trial) {
	many := x.inject(x.reserving(), intercept.Repeat(3))
	o := x.buy()
	x.done(many)
	for _, reply := range many.Replies() {
		if !reply.OK() || string(reply.Body()) != string(many.Replies()[0].Body()) {
			x.Errorf("one of three was answered %s; the first %s", reply, many.Replies()[0])
		}
	}
	x.quoted(o, price)
}

// quoteReorder: a new price after the quote does not change the total, however much later the order is paid.
func quoteReorder(x *trial) {
	gate := x.bar(x.authorizing())
	x.place()
	x.waits("authorize")
	x.reprice(dearer)
	x.lift(gate)
	x.quoted(x.ends("confirmed", ""), price)
}

// quoteDelay: the price changes while the call is late. The customer agreed to another total and is asked again. The
// late call changes nothing.
func quoteDelay(x *trial) {
	late := x.inject(x.reserving(), intercept.Detain())
	gate := x.bar(x.reserving())
	agreed := x.placement()
	agreed.ExpectedTotal = euros(price * quantity)
	x.placeAs(agreed)
	x.struck(late)
	x.reprice(dearer)
	x.lift(gate)
	x.ends("rejected", "price_changed")
	late.Release()
	x.done(late)
	x.level(stock, 0)
}

// quoteParticipantDown: without products there is no price, and especially no price of zero. The order waits.
func quoteParticipantDown(x *trial) {
	x.down()
	x.place()
	if o := x.waitsAgain("reserve"); o.Status != "placed" || o.Total.Amount != 0 {
		x.Errorf("without a price the order is %s at %+v", o.Status, o.Total)
	}
	x.up()
	x.quoted(x.ends("confirmed", ""), price)
}

// quoteBrokerDown: prices do not need the broker.
func quoteBrokerDown(x *trial) {
	x.reprice(dearer)
	x.down()
	x.quoted(x.buy(), dearer)
	x.up()
}

// quoteStoreDown: products can neither read nor fix its prices. The order waits.
func quoteStoreDown(x *trial) {
	away := x.inject(intercept.Either(intercept.Using("products", "product/"+x.sku()), intercept.Using("products", x.stockKey())), intercept.Fail(codes.Internal), intercept.Always())
	x.place()
	if o := x.waitsAgain("reserve"); o.Status != "placed" {
		x.Errorf("without a price the order is %s", o.Status)
	}
	x.lift(away)
	x.quoted(x.ends("confirmed", ""), price)
}

// quoteConflict: another driver stores the quote first, and the price changes at that moment. The loser reads again,
// and the first quote stays.
func quoteConflict(x *trial) {
	overtake := x.rival("orders", x.orderKey())
	x.inject(x.writingOrder("orders.reserved.v1"), intercept.First(func(c intercept.Call) {
		x.reprice(dearer)
		overtake(c)
	}))
	x.place()
	x.quoted(x.ends("confirmed", ""), price)
}
