package cells

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"caravan/dapr/client"
	"caravan/internal/event"
	"caravan/internal/id"
	"caravan/test/chaos/intercept"
)

// depositCrash: payments crashes when the bank has taken the money and has not answered. The deposit was stored as
// pending before. So the repeated request learns the result, and the money is booked once.
func depositCrash(x *trial) {
	key := id.Random{}.New()
	deposit := id.Derive("deposit", x.user, key)
	f, restart := x.crashes("payments", intercept.Writing("payments", "testbank/charge/"+deposit), intercept.CrashAfter)
	x.runsInto(f, "depositing", func(ctx context.Context) error {
		_, err := x.customer.TopUp(ctx, key, euros(700))
		return err
	})
	x.done(f)
	if s := x.stored("payments", "deposit/"+deposit); s.value["status"] != "pending" {
		x.Errorf("the intent is stored as %s", s.raw)
	}
	restart()
	x.booked(key, 700)
	x.balance += 700
	x.deposits++
	x.buy()
}

// sidecarKilled: the sidecar of orders crashes during a call of the saga; its program does not.
func sidecarKilled(x *trial) {
	var killed atomic.Pointer[string]
	back := x.alone("orders", func() []string {
		if name := killed.Load(); name != nil {
			return []string{*name}
		}
		return nil
	})
	f := x.inject(x.capturing(), intercept.First(func(c intercept.Call) {
		sidecar := c.Process + "-daprd"
		killed.Store(&sidecar)
		if err := x.w.crash(sidecar); err != nil {
			x.Errorf("killing %s: %v", sidecar, err)
		}
	}))
	x.place()
	x.done(f)
	back()
	x.ends("confirmed", "")
}

// programBeforeSidecar: a program without a sidecar waits for it. If another cell crashed orders meanwhile, both cells
// would wait for each other: this one for orders, and that one for the sidecar of payments.
func programBeforeSidecar(x *trial) {
	yield := x.w.claim("orders")
	defer yield()
	var sidecars, all []string
	for _, program := range x.w.programs("payments") {
		sidecars = append(sidecars, program+"-daprd")
		all = append(all, program+"-daprd", program)
	}
	back := x.alone("payments", func() []string { return all })
	for _, name := range all {
		if err := x.w.crash(name); err != nil {
			x.Fatal(err)
		}
	}
	x.place()
	var starting sync.WaitGroup
	for _, program := range x.w.programs("payments") {
		starting.Go(func() {
			if err := x.w.raise(program); err != nil {
				x.Error(err)
			}
		})
		x.eventually("the program to run alone", func(context.Context) error {
			status, err := x.w.Process(program)
			if err == nil && status.PID == 0 {
				err = errors.New("it does not run")
			}
			return err
		})
	}
	x.waits("authorize")
	for _, sidecar := range sidecars {
		if err := x.w.raise(sidecar); err != nil {
			x.Fatal(err)
		}
	}
	starting.Wait()
	back()
	x.ends("confirmed", "")
}

// poisonEvent: an event that no handler can handle becomes a dead letter, and the events behind it arrive.
func poisonEvent(x *trial) {
	poison := event.Event{
		ID: "orders/" + id.Random{}.New() + "/1", Type: "orders.confirmed.v1", Source: "orders", Subject: "nonsense", Sequence: 1,
		Time: time.Now(), Data: json.RawMessage(`{"orderId":42}`),
	}
	x.eventually("the poison to be published", func(ctx context.Context) error { return x.w.publish(ctx, "orders", "orders", poison) })
	x.buy()
	x.told("orders.confirmed.v1")
	x.eventually("the poison to be among the dead letters", func(ctx context.Context) error {
		list, err := x.w.admin.OpsListDeadLetters(ctx, client.OpsListDeadLettersParams{})
		if err != nil {
			return err
		}
		for _, letter := range list.Items {
			if letter.EventID == poison.ID {
				return nil
			}
		}
		return errorf("it is not among %d", len(list.Items))
	})
}
