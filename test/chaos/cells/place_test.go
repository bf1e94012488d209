package cells

import (
	"context"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"caravan/dapr/client"
	"caravan/test/chaos/intercept"
)

// writingOrder are the writes of the trial's order that contain all of the texts.
func (x *trial) writingOrder(texts ...string) intercept.Match {
	m := intercept.Writing("orders", x.orderKey())
	for _, text := range texts {
		m = m.Mentioning(text)
	}
	return m
}

// noOrder expects that the customer has no such order.
func (x *trial) noOrder() {
	x.Helper()
	x.eventually("orders to say that there is no order", func(ctx context.Context) error {
		_, err := x.customer.GetOrder(ctx, x.order, client.GetOrderParams{})
		if client.Status(err) == http.StatusNotFound {
			return nil
		}
		if err == nil {
			x.Fatal("there is an order although its place was never answered")
		}
		return err
	})
}

// placeCrashBefore: there is no order, and the repeated request makes one.
func placeCrashBefore(x *trial) {
	f, restart := x.crashes("orders", x.writingOrder(), intercept.CrashBefore)
	x.runsInto(f, "placing", func(ctx context.Context) error { return x.tryPlace(ctx, x.placement()) })
	restart()
	x.noOrder()
	x.buy()
}

// placeCrashAfter: the order exists but was not answered. The restarted service continues it, and the repeated request
// gets the same order.
func placeCrashAfter(x *trial) {
	f, restart := x.crashes("orders", x.writingOrder(), intercept.CrashAfter)
	x.runsInto(f, "placing", func(ctx context.Context) error { return x.tryPlace(ctx, x.placement()) })
	x.remember(x.order)
	restart()
	x.ends("confirmed", "")
	x.place()
}

// placeDuplicate: twenty requests with one key make one order; the network repeats one of them. Another request with
// the same key is refused.
func placeDuplicate(x *trial) {
	many := x.inject(intercept.Invoking("gateway", "orders", "/v1/orders", x.sku()), intercept.Multiply(3))
	var storm sync.WaitGroup
	for range 20 {
		storm.Go(func() {
			accepted, err := x.customer.PlaceOrder(x.ctx(), x.key, client.PlaceOrderParams{}, x.placement())
			if err != nil || accepted.ID != x.order || accepted.Status != "placed" {
				x.Errorf("one of twenty was answered %+v, %v", accepted, err)
			}
		})
	}
	storm.Wait()
	x.remember(x.order)
	x.done(many)
	for _, reply := range many.Replies() {
		if !reply.OK() {
			x.Errorf("one of the three was answered %s", reply)
		}
	}
	other := x.placement()
	other.Items[0].Quantity++
	_, err := x.customer.PlaceOrder(x.ctx(), x.key, client.PlaceOrderParams{}, other)
	x.refuses("another request under the key", err, http.StatusUnprocessableEntity, "idempotency-key-reused")
	x.ends("confirmed", "")
}

// placeReorder: a cancellation that overtakes its order finds none, and the order continues.
func placeReorder(x *trial) {
	late := x.inject(intercept.Invoking("gateway", "orders", "/v1/orders", x.sku()), intercept.Hold())
	var placing sync.WaitGroup
	placing.Go(func() {
		if err := x.tryPlace(x.ctx(), x.placement()); err != nil {
			x.Error(err)
		}
	})
	x.struck(late)
	_, err := x.customer.CancelOrder(x.ctx(), x.order)
	x.refuses("cancelling what is not placed yet", err, http.StatusNotFound, "")
	late.Release()
	placing.Wait()
	x.ends("confirmed", "")
}

// placeDelay: the customer gives up, and the service gives up its write after its own time-out. The late write finds
// that the repeated one was stored, and changes nothing.
func placeDelay(x *trial) {
	late := x.inject(x.writingOrder(), intercept.Hold())
	again := x.inject(x.writingOrder(), intercept.Pass())
	ctx, cancel := context.WithTimeout(x.ctx(), time.Second)
	defer cancel()
	if err := x.tryPlace(ctx, x.placement()); err == nil {
		x.Error("placing was answered although nothing was stored")
	}
	x.remember(x.order)
	x.done(again) // the service has given up its first write
	x.ends("confirmed", "")
	late.Release()
	x.done(late)
	if replies := late.Replies(); len(replies) != 1 || replies[0].OK() {
		x.Errorf("the late write was answered %v; want a conflict", replies)
	}
	x.place()
}

// placeParticipantDown: without the orders service the gateway answers 503 at once, again and again. The order is
// placed when the service is back.
func placeParticipantDown(x *trial) {
	x.down()
	const tries = 12
	var slowest time.Duration
	for range tries {
		began := time.Now()
		err := x.tryPlace(x.ctx(), x.placement())
		slowest = max(slowest, time.Since(began))
		x.refuses("placing", err, http.StatusServiceUnavailable, "")
	}
	x.Logf("the slowest of %d refusals took %s", tries, slowest.Round(time.Millisecond))
	x.up()
	x.buy()
}

// placeBrokerDown: the order is accepted and confirmed without the broker.
func placeBrokerDown(x *trial) {
	x.down()
	x.buy()
	x.up()
}

// placeStoreDown: the answer is 503, and nothing is stored.
func placeStoreDown(x *trial) {
	away := x.inject(intercept.Using("orders", x.orderKey()), intercept.Fail(codes.Internal), intercept.Always())
	x.runsInto(away, "placing", func(ctx context.Context) error { return x.tryPlace(ctx, x.placement()) })
	x.lift(away)
	x.noOrder()
	x.buy()
}

// placeConflict: another replica creates the order first. The loser reads that order and returns it to the customer.
func placeConflict(x *trial) {
	rival := x.inject(x.writingOrder(), intercept.First(func(c intercept.Call) {
		var winner map[string]any
		if err := decode(c.Values[x.orderKey()], &winner); err != nil {
			x.Error(err)
			return
		}
		winner["writeId"] = "rival"
		if err := x.w.put(x.ctx(), "orders", x.orderKey(), winner, ""); err != nil {
			x.Errorf("creating the order first: %v", err)
		}
	}))
	if err := x.tryPlace(x.ctx(), x.placement()); err != nil {
		x.Error(err)
	}
	x.done(rival)
	if replies := rival.Replies(); len(replies) != 1 || replies[0].OK() {
		x.Errorf("the loser's write was answered %v; want a conflict", replies)
	}
	if o := x.ends("confirmed", ""); len(o.Timeline) != 5 {
		x.Errorf("the order has come by %v", steps(o))
	}
}
