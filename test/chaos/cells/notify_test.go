package cells

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"

	"caravan/internal/id"
	"caravan/test/chaos/intercept"
)

// writingNotice are the writes of the customer's inbox that report the order.
func (x *trial) writingNotice() intercept.Match {
	return intercept.Writing("notifications", x.inboxKey()).Mentioning(x.order)
}

// publishing are the publishes of a fact about the order.
func (x *trial) publishing(fact string) intercept.Match {
	return intercept.Publishing("orders", "orders", fact, x.order)
}

// told waits until the inbox reports a fact about the order.
func (x *trial) told(fact string) {
	x.Helper()
	x.eventually("a notice of "+fact, func(ctx context.Context) error {
		got, err := x.inbox(ctx)
		if err != nil {
			return err
		}
		if got[fact+" "+x.order] == 0 {
			return fmt.Errorf("the inbox reports %v", got)
		}
		return nil
	})
}

// notifyCrashBefore: the event is acknowledged but its notice is not written. The feed delivers the event again.
func notifyCrashBefore(x *trial) {
	_, restart := x.crashes("notifications", x.writingNotice(), intercept.CrashBefore)
	x.buy()
	restart()
	x.told("orders.confirmed.v1")
}

// notifyCrashAfter: the notice is written and its writer has crashed. A second delivery finds the notice.
func notifyCrashAfter(x *trial) {
	_, restart := x.crashes("notifications", x.writingNotice(), intercept.CrashAfter)
	x.buy()
	restart()
	x.told("orders.confirmed.v1")
}

// notifyDuplicate: an event that is published three times makes one notice.
func notifyDuplicate(x *trial) {
	many := x.inject(x.publishing("orders.confirmed.v1"), intercept.Repeat(3))
	x.buy()
	x.done(many)
	if n := len(many.Replies()); n != 3 {
		x.Errorf("the event was published %d times", n)
	}
	x.told("orders.confirmed.v1")
}

// notifyReorder: the notice of the refund comes before that of the confirmation, and both arrive.
func notifyReorder(x *trial) {
	late := x.inject(x.publishing("orders.confirmed.v1"), intercept.Detain(), intercept.Times(3))
	x.buy()
	x.struck(late)
	x.refund(id.Random{}.New(), theRest)
	x.ends("refunded", "")
	x.told("orders.refunded.v1")
	late.Release()
	x.done(late)
	x.told("orders.confirmed.v1")
}

// notifyDelay: the feed delivers the event, and much later the broker delivers it three times.
func notifyDelay(x *trial) {
	late := x.inject(x.publishing("orders.confirmed.v1"), intercept.Detain(), intercept.Times(3))
	x.buy()
	x.told("orders.confirmed.v1")
	late.Release()
	x.done(late)
	for _, reply := range late.Replies() {
		if !reply.OK() {
			x.Errorf("a late publication was answered %s", reply)
		}
	}
	// A later event shows that the broker has delivered the late ones.
	x.refund(id.Random{}.New(), theRest)
	x.ends("refunded", "")
	x.told("orders.refunded.v1")
}

// notifyParticipantDown: there are no notices until notifications is back.
func notifyParticipantDown(x *trial) {
	x.down()
	x.buy()
	x.up()
	x.told("orders.confirmed.v1")
}

// notifyBrokerDown: the event cannot be published. The feed delivers it.
func notifyBrokerDown(x *trial) {
	x.down()
	x.buy()
	x.told("orders.confirmed.v1")
	x.up()
}

// notifyStoreDown: the inbox cannot be written. The notice waits.
func notifyStoreDown(x *trial) {
	away := x.inject(intercept.Using("notifications", x.inboxKey()), intercept.Fail(codes.Internal), intercept.Always())
	x.buy()
	x.struck(away)
	if s := x.stored("notifications", x.inboxKey()); strings.Contains(s.raw, x.order) {
		x.Error("the notice was written without a store")
	}
	x.lift(away)
	x.told("orders.confirmed.v1")
}

// notifyConflict: another write of the inbox comes first.
func notifyConflict(x *trial) {
	rivals := x.inject(x.writingNotice(), intercept.First(x.rival("notifications", x.inboxKey())), intercept.Times(2))
	x.buy()
	x.done(rivals)
	x.told("orders.confirmed.v1")
}
