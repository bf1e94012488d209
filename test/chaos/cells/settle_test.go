package cells

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"caravan/dapr/client"
)

// settle ends a trial: its faults have struck and ended, each order has one end, and money, stock and notices are
// correct.
func (x *trial) settle() {
	x.Helper()
	for _, f := range x.faults {
		f.Lift()
		f.Release()
		x.done(f)
	}
	var ended []client.Order
	for _, order := range x.orders {
		ended = append(ended, x.settleOrder(order))
	}
	x.settleHistory()
	x.settleWallet(ended)
	for _, p := range x.products {
		x.settleStock(p, ended)
	}
	x.settleInbox(ended)
}

// settleOrder waits for the end of an order and checks its timeline.
func (x *trial) settleOrder(id string) client.Order {
	x.Helper()
	var o client.Order
	x.eventually("order "+id+" to come to an end", func(ctx context.Context) (err error) {
		if o, err = x.customer.GetOrder(ctx, id, client.GetOrderParams{}); err == nil && !o.Status.Ended() {
			err = fmt.Errorf("it is %s, waiting %+v", o.Status, o.Waiting)
		}
		return err
	})
	ends := 0
	for n, moment := range o.Timeline {
		if moment.Sequence != int64(n+1) {
			x.Errorf("event %d of the timeline has the number %d", n+1, moment.Sequence)
		}
		if slices.Contains([]string{"confirmed", "rejected", "cancelled"}, moment.Type) {
			ends++
		}
	}
	if ends != 1 {
		x.Errorf("the order has come to %d ends: %v", ends, steps(o))
	}
	if o.Waiting != nil {
		x.Errorf("the order has ended and waits: %+v", o.Waiting)
	}
	return o
}

func (x *trial) settleHistory() {
	x.Helper()
	x.eventually("the history", func(ctx context.Context) error {
		list, err := x.customer.ListOrders(ctx, client.ListOrdersParams{Limit: 100})
		if err != nil {
			return err
		}
		var listed []string
		for _, o := range list.Items {
			listed = append(listed, o.ID)
		}
		slices.Sort(listed)
		if placed := slices.Sorted(slices.Values(x.orders)); !slices.Equal(listed, placed) {
			x.Fatalf("the history lists %v; placed were %v", listed, placed)
		}
		return nil
	})
}

// fulfilled reports whether an order was delivered and paid.
func fulfilled(o client.Order) bool { return o.Status == "confirmed" || o.Status == "refunded" }

// settleWallet compares the wallet and its postings with the orders.
func (x *trial) settleWallet(ended []client.Order) {
	x.Helper()
	balance, postings := x.balance, x.deposits
	for _, o := range ended {
		if fulfilled(o) {
			balance -= o.Total.Amount
			postings++
		}
		balance += o.Refunded.Amount
		for _, step := range steps(o) {
			if step == "refunded" {
				postings++
			}
		}
	}
	x.eventually("the wallet to add up", func(ctx context.Context) error {
		wallet, err := x.customer.GetWallet(ctx)
		if err != nil {
			return err
		}
		if wallet.Balance.Amount != balance || wallet.Held.Amount != 0 || wallet.Available.Amount != balance {
			return fmt.Errorf("it is %+v; deposits and orders make %d", wallet, balance)
		}
		list, err := x.customer.ListPostings(ctx, client.ListPostingsParams{})
		if err != nil {
			return err
		}
		if len(list.Items) != postings {
			x.Fatalf("there are %d postings; deposits and orders make %d: %+v", len(list.Items), postings, list.Items)
		}
		return nil
	})
}

// settleStock compares the units on hand with those received and sold.
func (x *trial) settleStock(p *product, ended []client.Order) {
	x.Helper()
	left := p.received
	for _, o := range ended {
		for _, line := range o.Lines {
			if fulfilled(o) && line.SKU == p.sku {
				left -= line.Quantity
			}
		}
	}
	x.eventually("the stock of "+p.sku+" to add up", func(ctx context.Context) error {
		now, err := x.w.admin.GetProduct(ctx, p.sku)
		if err != nil {
			return err
		}
		if now.OnHand != left || now.Reserved != 0 || now.Available != left {
			return fmt.Errorf("on hand %d, reserved %d, available %d; receipts and orders make %d", now.OnHand, now.Reserved, now.Available, left)
		}
		return nil
	})
}

// settleInbox checks that every fact has reached the inbox once.
func (x *trial) settleInbox(ended []client.Order) {
	x.Helper()
	declined := "payments.declined.v1 " + x.user
	want := map[string]int{"users.registered.v1 " + x.user: 1, "payments.deposited.v1 " + x.user: x.deposits}
	for _, o := range ended {
		for _, step := range steps(o) {
			switch step {
			case "confirmed", "rejected", "cancelled", "refunded":
				want["orders."+step+".v1 "+o.ID]++
			}
			if step == "refunded" {
				want["payments.refunded.v1 "+x.user]++
			}
		}
		if o.Reason == "insufficient_funds" {
			want[declined]++
		}
	}
	x.eventually("every fact to reach the inbox of "+x.user, func(ctx context.Context) error {
		got, err := x.inbox(ctx)
		if err != nil {
			return err
		}
		for _, o := range ended { // one may have been cancelled in the moment in which its payment was declined
			if o.Status == "cancelled" && got[declined] > want[declined] {
				got[declined]--
			}
		}
		var missing []string
		for fact, n := range want {
			if got[fact] < n {
				missing = append(missing, fmt.Sprintf("%s: %d of %d", fact, got[fact], n))
			}
		}
		for fact, n := range got {
			if n > want[fact] {
				x.Fatalf("the inbox tells %d times of %s, which happened %d times", n, fact, want[fact])
			}
		}
		if len(missing) > 0 {
			return errors.New("missing are " + strings.Join(missing, ", "))
		}
		return nil
	})
}

// inbox counts the notices by the fact that they report.
func (x *trial) inbox(ctx context.Context) (map[string]int, error) {
	list, err := x.customer.ListNotifications(ctx, client.ListNotificationsParams{Limit: 100})
	if err != nil {
		return nil, err
	}
	got := make(map[string]int)
	for _, n := range list.Items {
		got[n.Type+" "+n.Subject]++
	}
	return got, nil
}

// audit runs an audit of the system when all orders of a phase have ended.
func (w *world) audit(t *testing.T, after string) {
	t.Helper()
	var audit client.Audit
	began := time.Now()
	err := within(func(ctx context.Context) (err error) {
		if audit, err = w.admin.OpsAudit(ctx); err != nil {
			return err
		}
		if !audit.Complete {
			return errors.New("it is not complete")
		}
		return nil
	})
	if err != nil {
		t.Errorf("the audit after %s: %v", after, err)
		return
	}
	t.Logf("the audit after %s took %s", after, time.Since(began).Round(time.Millisecond))
	for _, f := range audit.Findings {
		t.Errorf("after %s the audit of %s finds against %q: %s: %s", after, f.Service, f.Invariant, f.Key, f.Detail)
	}
	if n := audit.Counts["orders.inFlight"]; n > 0 {
		t.Errorf("after %s %d orders are under way although all have ended", after, n)
	}
}
