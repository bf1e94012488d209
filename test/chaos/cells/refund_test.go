package cells

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/codes"

	"caravan/dapr/client"
	"caravan/internal/id"
	"caravan/services/payments/contract"
	"caravan/test/chaos/intercept"
)

// refunding are the calls that refund the money of the trial's order.
func (x *trial) refunding() intercept.Match {
	return intercept.Invoking("orders", "payments", contract.PathRefund, x.order)
}

// writingRefund is the write that refunds the money.
func (x *trial) writingRefund() intercept.Match { return x.writingAccount(contract.EventRefunded) }

// whole refunds all that is left, with its own key.
func (x *trial) whole() {
	x.Helper()
	x.refund(id.Random{}.New(), theRest)
}

// refundCrashBefore: the refund is stored in the order before payments is called. The restarted service calls it.
func refundCrashBefore(x *trial) {
	x.buy()
	f, restart := x.crashes("orders", x.refunding(), intercept.CrashBefore)
	x.whole()
	x.done(f)
	x.status("refunding")
	x.funds(purse-total, 0)
	restart()
	x.ends("refunded", "")
}

// refundCrashAfter: the money is refunded and the driver does not know. It is not refunded twice.
func refundCrashAfter(x *trial) {
	x.buy()
	f, restart := x.crashes("payments", x.writingRefund(), intercept.CrashAfter)
	x.whole()
	x.done(f)
	x.funds(purse, 0)
	restart()
	x.ends("refunded", "")
}

// refundDuplicate: twenty concurrent refunds of 40 % each return no more than was paid. A call that arrives five times
// takes effect once.
func refundDuplicate(x *trial) {
	x.buy()
	many := x.inject(x.refunding(), intercept.Multiply(5))
	part := euros(total * 40 / 100)
	var accepted atomic.Int64
	var storm sync.WaitGroup
	for range 20 {
		storm.Go(func() {
			key := id.Random{}.New()
			for range 2 { // a repeat of a request is the same refund
				_, err := x.w.admin.RefundOrder(x.ctx(), x.order, key, client.Refund{Amount: part, Reason: "broken"})
				if err == nil {
					accepted.Add(1)
				}
			}
		})
	}
	storm.Wait()
	x.done(many)
	x.eventually("the refunds to come to an end", func(ctx context.Context) error {
		o, err := x.customer.GetOrder(ctx, x.order, client.GetOrderParams{})
		if err == nil && o.Status != "confirmed" {
			return errorf("the order is %s", o.Status)
		}
		if err == nil && (o.Refunded.Amount > total || o.Refunded.Amount < part.Amount) {
			x.Fatalf("%d of %d were refunded", o.Refunded.Amount, total)
		}
		return err
	})
	if accepted.Load() == 0 {
		x.Error("no refund was accepted")
	}
	x.whole() // the rest
	x.ends("refunded", "")
	_, err := x.w.admin.RefundOrder(x.ctx(), x.order, id.Random{}.New(), client.Refund{Reason: "once more"})
	x.refuses("refunding what is refunded", err, http.StatusUnprocessableEntity, "refund-amount")
}

// refundReorder: a refund before the order is paid is refused. Later it may be requested again.
func refundReorder(x *trial) {
	gate := x.bar(x.capturing())
	x.place()
	x.waits("capture")
	_, err := x.w.admin.RefundOrder(x.ctx(), x.order, id.Random{}.New(), client.Refund{Reason: "broken"})
	x.refuses("refunding what is not paid", err, http.StatusConflict, "order-not-confirmed")
	x.lift(gate)
	x.ends("confirmed", "")
	x.whole()
	x.ends("refunded", "")
}

// refundDelay: the first call arrives long after its repeat was done.
func refundDelay(x *trial) {
	x.buy()
	late := x.inject(x.refunding(), intercept.Detain())
	x.whole()
	x.ends("refunded", "")
	late.Release()
	x.done(late)
	x.answered(late, contract.OutcomeRefunded)
	x.funds(purse, 0)
}

// refundParticipantDown: the refund is repeated until payments is back.
func refundParticipantDown(x *trial) {
	x.buy()
	x.down()
	x.whole()
	if o := x.waitsAgain("refund"); o.Status != "refunding" {
		x.Errorf("the order is %s", o.Status)
	}
	x.up()
	x.ends("refunded", "")
}

// refundBrokerDown: refunding money does not need the broker.
func refundBrokerDown(x *trial) {
	x.buy()
	x.down()
	x.whole()
	x.ends("refunded", "")
	x.up()
}

// refundStoreDown: payments cannot write. The refund waits in the order.
func refundStoreDown(x *trial) {
	x.buy()
	away := x.inject(intercept.Using("payments", x.accountKey()), intercept.Fail(codes.Internal), intercept.Always())
	x.whole()
	x.waitsAgain("refund")
	x.funds(purse-total, 0)
	x.lift(away)
	x.ends("refunded", "")
}

// refundConflict: another write of the account comes first.
func refundConflict(x *trial) {
	x.buy()
	rivals := x.inject(x.writingRefund(), intercept.First(x.rival("payments", x.accountKey())), intercept.Times(2))
	x.whole()
	x.done(rivals)
	x.ends("refunded", "")
}

// refundRestock: a refund does not change the stock, because that is a separate decision.
func refundRestock(x *trial) {
	x.buy()
	x.whole()
	x.ends("refunded", "")
	x.level(stock-quantity, 0)
	if _, err := x.w.admin.AdjustStock(x.ctx(), x.sku(), id.Random{}.New(), client.StockChange{Change: quantity, Reason: "came back"}); err != nil {
		x.Fatal(err)
	}
	x.products[0].received += quantity
	x.level(stock, 0)
}
