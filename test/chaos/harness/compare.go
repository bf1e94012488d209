package harness

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"caravan/dapr/client"
)

// fulfilled reports whether an order was paid and its units were sold.
func fulfilled(o client.Order) bool {
	return o.Status == "confirmed" || o.Status == "refunded" || o.Status == "refunding"
}

func refunded(o client.Order) int64 { return o.Refunded.Amount }

// checkOrders compares each order with its acknowledged request, and each customer's list with the acknowledged orders.
func (s *settler) checkOrders(ctx context.Context) {
	prices := make(map[string]int64)
	for _, p := range s.shop.products {
		prices[p.sku] = p.price
	}
	owned := make(map[int]map[string]bool)
	keys := make(map[string]string)
	for _, op := range s.shop.log.of("order") {
		answers := op.answers()
		if op.outcome() == Refused {
			s.findings.add("an order is taken", op.Key, "it was refused: %s", op.lastError())
		}
		if len(answers) > 1 {
			s.findings.add("one order for a key", op.Key, "the answers name %v", answers)
		}
		for _, id := range answers {
			if other, taken := keys[id]; taken {
				s.findings.add("one key for an order", id, "keys %s and %s", other, op.Key)
			}
			keys[id] = op.Key
			if owned[op.User] == nil {
				owned[op.User] = make(map[string]bool)
			}
			owned[op.User][id] = true
			if order, ok := s.orders[id]; ok {
				for _, wrong := range compareOrder(op, order, s.shop.customers[op.User].id, prices) {
					s.findings.add("an order is what was asked for", id, "%s", wrong)
				}
			}
		}
	}
	s.checkCancels()
	s.checkRefunds()
	s.everyCustomer(func(c *customer) {
		s.eventually(ctx, "the history lists exactly what was ordered", c.id, func(ctx context.Context) error {
			return compareHistory(ctx, c, owned[c.number])
		})
	})
}

func (o *Op) lastError() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.Attempts) == 0 {
		return "no attempt"
	}
	return o.Attempts[len(o.Attempts)-1].Error
}

// compareOrder returns how an order differs from the request.
func compareOrder(op *Op, order client.Order, user string, prices map[string]int64) []string {
	var wrong []string
	asked, ok := op.Request.(orderRequest)
	if !ok {
		return nil
	}
	if order.UserID != "" && order.UserID != user {
		wrong = append(wrong, fmt.Sprintf("it belongs to %s", order.UserID))
	}
	got := orderRequest{}
	var total int64
	for _, line := range order.Lines {
		got[line.SKU] += line.Quantity
		total += prices[line.SKU] * line.Quantity
	}
	if !maps.Equal(got, asked) {
		wrong = append(wrong, fmt.Sprintf("it is of %v, asked for was %v", got, asked))
	}
	if fulfilled(order) && order.Total.Amount != total {
		wrong = append(wrong, fmt.Sprintf("its total is %v, prices make %d", order.Total, total))
	}
	ends := 0
	for _, moment := range order.Timeline {
		if slices.Contains([]string{"confirmed", "rejected", "cancelled"}, moment.Type) {
			ends++
		}
	}
	if ends != 1 {
		wrong = append(wrong, fmt.Sprintf("it ended %d times", ends))
	}
	return wrong
}

func compareHistory(ctx context.Context, c *customer, owned map[string]bool) error {
	listed := make(map[string]bool)
	for cursor := ""; ; {
		page, err := c.ListOrders(ctx, client.ListOrdersParams{Limit: 100, Cursor: cursor})
		if err != nil {
			return err
		}
		for _, o := range page.Items {
			if listed[o.ID] {
				return final("order %s is listed twice", o.ID)
			}
			listed[o.ID] = true
			if !owned[o.ID] {
				return final("order %s is listed and was never acknowledged", o.ID)
			}
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	for id := range owned {
		if !listed[id] {
			return fmt.Errorf("order %s is not listed", id)
		}
	}
	return nil
}

// checkCancels: an order whose cancellation was accepted has no effect. It may be rejected instead of cancelled if the
// rejection was already in progress.
func (s *settler) checkCancels() {
	for _, op := range s.shop.log.of("cancel") {
		id, _ := op.Request.(string)
		order, ended := s.orders[id]
		if op.outcome() == Acknowledged && ended && order.Status != "cancelled" && order.Status != "rejected" {
			s.findings.add("a cancellation that was granted holds", id, "the order is %s", order.Status)
		}
	}
}

// checkRefunds compares the refunded amounts with the refunds that were accepted, and those that may have been.
func (s *settler) checkRefunds() {
	granted, possible := make(map[string]int64), make(map[string]int64)
	for _, op := range s.shop.log.of("refund") {
		in, ok := op.Request.(refundRequest)
		if !ok {
			continue
		}
		switch op.outcome() {
		case Acknowledged:
			granted[in.Order] += in.Cents
		case Unknown:
			possible[in.Order] += in.Cents
		}
	}
	for id, order := range s.orders {
		if got := refunded(order); got < granted[id] || got > granted[id]+possible[id] {
			s.findings.add("what was granted is refunded once", id, "%d refunded, %d granted, %d more possible", got, granted[id], possible[id])
		}
	}
}

// checkMoney compares each wallet with deposits, orders and refunds.
func (s *settler) checkMoney(ctx context.Context) {
	balance := make(map[int]int64)
	for _, op := range s.shop.log.of("deposit") {
		if in, ok := op.Request.(depositRequest); ok && op.outcome() == Acknowledged {
			balance[op.User] += in.Cents
		}
	}
	for user, order := range s.ordersOfUsers() {
		for _, o := range order {
			if fulfilled(o) {
				balance[user] += refunded(o) - o.Total.Amount
			}
		}
	}
	s.everyCustomer(func(c *customer) {
		s.eventually(ctx, "a wallet holds deposits less orders plus refunds", c.id, func(ctx context.Context) error {
			wallet, err := c.GetWallet(ctx)
			if err != nil {
				return err
			}
			if wallet.Balance.Amount != balance[c.number] || wallet.Held.Amount != 0 {
				return fmt.Errorf("it holds %d, %d of it held back; should be %d", wallet.Balance.Amount, wallet.Held.Amount, balance[c.number])
			}
			return nil
		})
	})
}

func (s *settler) ordersOfUsers() map[int][]client.Order {
	orders := make(map[int][]client.Order)
	for _, op := range s.shop.log.of("order") {
		for _, id := range op.answers() {
			if order, ok := s.orders[id]; ok {
				orders[op.User] = append(orders[op.User], order)
			}
		}
	}
	return orders
}

// checkStock compares the stock of each product with the units received and sold.
func (s *settler) checkStock(ctx context.Context) {
	left := make(map[string]int64)
	for _, p := range s.shop.products {
		left[p.sku] = p.stock
	}
	for _, op := range s.shop.log.of("restock") {
		if in, ok := op.Request.(restockRequest); ok && op.outcome() == Acknowledged {
			left[in.SKU] += in.Units
		}
	}
	for sku, units := range s.sold() {
		left[sku] -= units
	}
	for sku, units := range left {
		if units < 0 {
			s.findings.add("no unit is sold twice", sku, "%d more were sold than there were", -units)
			continue
		}
		s.eventually(ctx, "stock is what came in less what was sold", sku, func(ctx context.Context) error {
			product, err := s.shop.staff.GetProduct(ctx, sku)
			if err != nil {
				return err
			}
			if product.OnHand != units || product.Reserved != 0 {
				return fmt.Errorf("%d on hand, %d reserved; should be %d", product.OnHand, product.Reserved, units)
			}
			return nil
		})
	}
}

// sold returns how many units of each SKU were sold.
func (s *settler) sold() map[string]int64 {
	sold := make(map[string]int64)
	for _, order := range s.orders {
		for _, line := range order.Lines {
			if fulfilled(order) {
				sold[line.SKU] += line.Quantity
			}
		}
	}
	return sold
}

// checkInboxes compares each inbox with the facts: one notice for a fact.
func (s *settler) checkInboxes(ctx context.Context) {
	orders := s.ordersOfUsers()
	deposits := make(map[int]int)
	for _, op := range s.shop.log.of("deposit") {
		if op.outcome() == Acknowledged {
			deposits[op.User]++
		}
	}
	s.everyCustomer(func(c *customer) {
		want := expectedNotices(c.id, deposits[c.number], orders[c.number])
		s.eventually(ctx, "one notice for each fact", c.id, func(ctx context.Context) error {
			got, err := inbox(ctx, c)
			if err != nil {
				return err
			}
			forgiveDeclined(got, want, c.id, orders[c.number])
			return compareNotices(got, want)
		})
	})
}

// expectedNotices counts the notices that a customer should have, by type and
// subject.
func expectedNotices(user string, deposits int, orders []client.Order) map[string]int {
	want := map[string]int{"users.registered.v1 " + user: 1}
	if deposits > 0 {
		want["payments.deposited.v1 "+user] = deposits
	}
	for _, order := range orders {
		for _, moment := range order.Timeline {
			switch moment.Type {
			case "confirmed", "rejected", "cancelled", "refunded":
				want["orders."+moment.Type+".v1 "+order.ID]++
			}
			if moment.Type == "refunded" {
				want["payments.refunded.v1 "+user]++
			}
		}
		if order.Reason == "insufficient_funds" {
			want[declined+user]++
		}
	}
	return want
}

// declined is the fact that a payment of a user was declined.
const declined = "payments.declined.v1 "

// forgiveDeclined removes notices of declined payments for orders that were cancelled in that moment.
func forgiveDeclined(got, want map[string]int, user string, orders []client.Order) {
	for _, order := range orders {
		if order.Status == "cancelled" && got[declined+user] > want[declined+user] {
			got[declined+user]--
		}
	}
	if got[declined+user] == 0 {
		delete(got, declined+user)
	}
}

func inbox(ctx context.Context, c *customer) (map[string]int, error) {
	got := make(map[string]int)
	for cursor := ""; ; {
		page, err := c.ListNotifications(ctx, client.ListNotificationsParams{Limit: 100, Cursor: cursor})
		if err != nil {
			return nil, err
		}
		for _, n := range page.Items {
			got[n.Type+" "+n.Subject]++
		}
		if cursor = page.Next; cursor == "" {
			return got, nil
		}
	}
}

// compareNotices returns a final error if there is a notice too many. If some are missing, its error is not final.
func compareNotices(got, want map[string]int) error {
	var missing []string
	for fact, n := range want {
		if got[fact] > n {
			return final("%d notices of %s, which happened %d times", got[fact], fact, n)
		}
		if got[fact] < n {
			missing = append(missing, fmt.Sprintf("%s: %d of %d", fact, got[fact], n))
		}
	}
	for fact, n := range got {
		if want[fact] == 0 {
			return final("%d notices of %s, which nobody expected", n, fact)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	if len(missing) > 5 {
		missing = append(missing[:5], fmt.Sprintf("and %d more", len(missing)-5))
	}
	return errors.New("missing are " + strings.Join(missing, ", "))
}
