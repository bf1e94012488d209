package adapters

import (
	"context"
	"errors"
	"testing"
	"time"

	"caravan/internal/money"
	"caravan/internal/problem"
	"caravan/services/payments/contract"
)

func TestCommandsOfTheWrongFormAreRefused(t *testing.T) {
	good := contract.Refund{RefundID: "r", OrderID: "o", UserID: "alice", Amount: money.New(5, "EUR"), PlacedAt: time.Unix(1, 0)}
	reached := 0
	handle := command(func(context.Context, contract.Refund) (contract.Refunded, error) {
		reached++
		return contract.Refunded{Outcome: contract.OutcomeRefunded}, nil
	})
	if _, err := handle(t.Context(), good); err != nil || reached != 1 {
		t.Fatalf("a good command: %v", err)
	}
	for field, spoil := range map[string]func(c *contract.Refund){
		"refundId":        func(c *contract.Refund) { c.RefundID = "" },
		"orderId":         func(c *contract.Refund) { c.OrderID = "" },
		"userId":          func(c *contract.Refund) { c.UserID = "a||b" },
		"amount.currency": func(c *contract.Refund) { c.Amount.Currency = "" },
		"placedAt":        func(c *contract.Refund) { c.PlacedAt = time.Time{} },
	} {
		t.Run(field, func(t *testing.T) {
			c := good
			spoil(&c)
			_, err := handle(t.Context(), c)
			var p *problem.Problem
			if !errors.As(err, &p) || len(p.Errors) != 1 || p.Errors[0].Field != field {
				t.Errorf("got %v; want a word about %s", err, field)
			}
		})
	}
	if reached != 1 {
		t.Errorf("%d commands got through", reached)
	}
}
