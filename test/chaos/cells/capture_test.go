package cells

import (
	"net/http"
	"sync"

	"google.golang.org/grpc/codes"

	"caravan/services/payments/contract"
	"caravan/test/chaos/intercept"
)

// capturing are the calls that take the money of the trial's order.
func (x *trial) capturing() intercept.Match {
	return intercept.Invoking("orders", "payments", "/internal/capture", x.order)
}

// writingCapture is the write that takes the money.
func (x *trial) writingCapture() intercept.Match { return x.writingAccount(contract.EventCaptured) }

// status expects the stored order to have a status.
func (x *trial) status(want string) {
	x.Helper()
	if s := x.stored("orders", x.orderKey()); s.value["status"] != want {
		x.Fatalf("the order is stored as %v; want %s", s.value["status"], want)
	}
}

// captureCrashBefore: the decision is stored and its driver has crashed. Another driver continues the order.
func captureCrashBefore(x *trial) {
	f, restart := x.crashes("orders", x.capturing(), intercept.CrashBefore)
	x.place()
	x.done(f)
	x.status("capturing")
	x.funds(purse, total)
	restart()
	x.ends("confirmed", "")
}

// captureCrashAfter: the money has moved and the driver does not know. The repeated step gets the stored answer.
func captureCrashAfter(x *trial) {
	f, restart := x.crashes("payments", x.writingCapture(), intercept.CrashAfter)
	x.place()
	x.done(f)
	x.funds(purse-total, 0)
	x.status("capturing")
	restart()
	x.ends("confirmed", "")
}

// captureDuplicate: five calls take the money once.
func captureDuplicate(x *trial) {
	many := x.inject(x.capturing(), intercept.Multiply(5))
	x.buy()
	x.done(many)
	x.answered(many, contract.OutcomeCaptured)
	x.funds(purse-total, 0)
}

// captureReorder: a cancellation after the pivot, or while the pivot is written, comes too late.
func captureReorder(x *trial) {
	gate := x.bar(x.capturing())
	pivot := x.inject(x.writingOrder("orders.capturing.v1"), intercept.Hold())
	x.place()
	x.struck(pivot)
	granted := false
	var racing sync.WaitGroup
	racing.Go(func() {
		_, err := x.customer.CancelOrder(x.ctx(), x.order)
		// Another replica does not wait for this one's write, so its own may come first.
		if granted = err == nil && x.w.replicas > 1; !granted {
			x.refusesLater("cancelling beside the pivot", err, http.StatusConflict, "order-past-cancelling")
		}
	})
	pivot.Release()
	racing.Wait()
	if granted {
		x.pardon(gate)
		x.cancelled()
		return
	}
	x.waits("capture")
	_, err := x.customer.CancelOrder(x.ctx(), x.order)
	x.refuses("cancelling behind the pivot", err, http.StatusConflict, "order-past-cancelling")
	x.lift(gate)
	x.ends("confirmed", "")
}

// captureDelay: the first capture arrives long after the order is confirmed and a late void was refused. The account
// decides once.
func captureDelay(x *trial) {
	late := x.inject(x.capturing(), intercept.Detain())
	x.buy()
	answer, err := x.w.invoke(x.ctx(), "orders", "payments", contract.PathVoid, map[string]any{"commands": []map[string]any{
		{"command": contract.Void{OrderID: x.order, UserID: x.user, PlacedAt: x.placedAt()}},
	}})
	if err != nil || outcomeIn(answer) != contract.OutcomeCaptured {
		x.Errorf("a void behind the capture is answered %s, %v", answer, err)
	}
	late.Release()
	x.done(late)
	x.answered(late, contract.OutcomeCaptured)
	x.funds(purse-total, 0)
}

// captureParticipantDown: after the pivot an order only continues. The step is repeated, the order cannot be cancelled,
// and it keeps its stock.
func captureParticipantDown(x *trial) {
	gate := x.bar(x.capturing())
	x.place()
	x.waits("capture")
	x.down()
	x.lift(gate)
	if o := x.waitsAgain("capture"); o.Status != "capturing" {
		x.Errorf("the order is %s", o.Status)
	}
	_, err := x.customer.CancelOrder(x.ctx(), x.order)
	x.refuses("cancelling behind the pivot", err, http.StatusConflict, "order-past-cancelling")
	x.up()
	x.ends("confirmed", "")
}

// captureBrokerDown: taking money does not need the broker.
func captureBrokerDown(x *trial) {
	x.confirmedWhileDown("capture", x.capturing())
}

// captureStoreDown: payments cannot write. The order waits after the pivot.
func captureStoreDown(x *trial) {
	gate := x.bar(x.capturing())
	x.place()
	x.waits("capture")
	away := x.inject(intercept.Using("payments", x.accountKey()), intercept.Fail(codes.Internal), intercept.Always())
	x.lift(gate)
	x.struck(away)
	x.waitsAgain("capture")
	x.funds(purse, total)
	x.lift(away)
	x.ends("confirmed", "")
}

// captureConflict: another write of the account comes first.
func captureConflict(x *trial) {
	rivals := x.inject(x.writingCapture(), intercept.First(x.rival("payments", x.accountKey())), intercept.Times(2))
	x.buy()
	x.done(rivals)
}

// captureDeadline: after the pivot no deadline ends an order.
func captureDeadline(x *trial) {
	gate := x.bar(x.capturing())
	x.place()
	x.waits("capture")
	x.overdue()
	if o := x.waitsAgain("capture"); o.Status != "capturing" {
		x.Errorf("the order is %s", o.Status)
	}
	x.lift(gate)
	x.ends("confirmed", "")
}
