package cells

import (
	"net/http"
	"sync"

	"google.golang.org/grpc/codes"

	"caravan/dapr/client"
	"caravan/test/chaos/intercept"
)

// cancelling are the customer's requests to cancel the order, as the gateway forwards them.
func (x *trial) cancelling() intercept.Match {
	return intercept.Invoking("gateway", "orders", "/v1/orders/"+x.order+"/cancel")
}

// reserved runs the order until it holds stock and waits for the money.
func (x *trial) reserved() (gate *intercept.Fault) {
	x.Helper()
	gate = x.bar(x.authorizing())
	x.place()
	x.waits("authorize")
	return gate
}

// cancelled expects the order to be cancelled, with nothing held.
func (x *trial) cancelled() {
	x.Helper()
	x.ends("cancelled", "cancelled_by_customer")
	x.level(stock, 0)
	x.funds(purse, 0)
}

// cancelCrashBefore: the order is not cancelled, and the request fails. The repeated request cancels it.
func cancelCrashBefore(x *trial) {
	gate := x.reserved()
	f, restart := x.crashes("orders", x.writingOrder("orders.cancelling.v1"), intercept.CrashBefore)
	x.runsInto(f, "cancelling", x.tryCancel)
	restart()
	x.until("be found as it was", func(o client.Order) bool { return o.Status == "reserved" })
	x.cancel()
	x.cancelled()
	x.lift(gate)
}

// cancelCrashAfter: the request is stored and its answer lost. The restarted service releases what the order holds.
func cancelCrashAfter(x *trial) {
	gate := x.reserved()
	f, restart := x.crashes("orders", x.writingOrder("orders.cancelling.v1"), intercept.CrashAfter)
	x.runsInto(f, "cancelling", x.tryCancel)
	restart()
	x.cancelled()
	x.lift(gate)
}

// cancelDuplicate: a repeat gets the same answer.
func cancelDuplicate(x *trial) {
	gate := x.reserved()
	many := x.inject(x.cancelling(), intercept.Multiply(5))
	x.cancel()
	x.done(many)
	for _, reply := range many.Replies() {
		if !reply.OK() {
			x.Errorf("one of the five was answered %s", reply)
		}
	}
	x.cancelled()
	x.cancel()
	x.lift(gate)
}

// cancelReorder: both the reservation and the authorization arrive after the order was cancelled.
func cancelReorder(x *trial) {
	lateReserve := x.inject(x.reserving(), intercept.Detain())
	lateAuthorize := x.inject(x.authorizing(), intercept.Detain(), intercept.Always())
	x.place()
	x.waits("authorize")
	x.cancel()
	x.cancelled()
	lateAuthorize.Lift()
	for late, want := range map[*intercept.Fault]string{lateReserve: "released", lateAuthorize: "voided"} {
		late.Release()
		x.done(late)
		for _, reply := range late.Replies() {
			if got := x.outcome(reply); got != want {
				x.Errorf("what arrived late was answered %s; want %s", got, want)
			}
		}
	}
	x.level(stock, 0)
	x.funds(purse, 0)
}

// cancelDelay: the cancellation arrives when the order is paid.
func cancelDelay(x *trial) {
	gate := x.reserved()
	late := x.inject(x.cancelling(), intercept.Hold())
	var cancelling sync.WaitGroup
	cancelling.Go(func() {
		_, err := x.customer.CancelOrder(x.ctx(), x.order)
		x.refusesLater("cancelling a paid order", err, http.StatusConflict, "order-past-cancelling")
	})
	x.struck(late)
	x.lift(gate)
	x.ends("confirmed", "")
	late.Release()
	cancelling.Wait()
}

// cancelParticipantDown: the order is cancelling. It is cancelled only when everything that it holds is released.
func cancelParticipantDown(x *trial) {
	gate := x.reserved()
	x.down()
	x.cancel()
	if o := x.waitsAgain("undo reserve"); o.Status != "cancelling" {
		x.Errorf("the order is %s", o.Status)
	}
	x.up()
	x.cancelled()
	x.lift(gate)
}

// cancelBrokerDown: a cancellation needs the broker only for its notice.
func cancelBrokerDown(x *trial) {
	gate := x.reserved()
	x.down()
	x.cancel()
	x.cancelled()
	x.up()
	x.lift(gate)
}

// cancelStoreDown: the answer is 503, and the order does not change.
func cancelStoreDown(x *trial) {
	gate := x.reserved()
	before := x.stored("orders", x.orderKey())
	away := x.inject(x.writingOrder("orders.cancelling.v1"), intercept.Fail(codes.Internal), intercept.Always())
	x.runsInto(away, "cancelling", x.tryCancel)
	x.status("reserved")
	if after := x.stored("orders", x.orderKey()); after.number("sequence") != before.number("sequence") {
		x.Errorf("the order has another event: %s", after.raw)
	}
	x.lift(away)
	x.cancel()
	x.cancelled()
	x.lift(gate)
}

// cancelConflict: another write of the order comes first. The cancellation is decided again.
func cancelConflict(x *trial) {
	gate := x.reserved()
	rivals := x.inject(x.writingOrder("orders.cancelling.v1"), intercept.First(x.rival("orders", x.orderKey())), intercept.Times(2))
	x.cancel()
	x.done(rivals)
	x.cancelled()
	x.lift(gate)
}
