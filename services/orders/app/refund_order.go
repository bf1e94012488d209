package app

import (
	"context"
	"errors"
	"fmt"

	"caravan/internal/clock"
	"caravan/internal/document"
	"caravan/internal/id"
	"caravan/internal/money"
	"caravan/services/orders/domain"
)

// RefundOrder gives money of a confirmed order back.
type RefundOrder struct {
	Orders *Orders
	Driver *Driver
	Clock  clock.Clock
	IDs    id.Source
}

// RefundRequest asks for a refund.
type RefundRequest struct {
	OrderID string
	// Amount to refund; zero for all that is left.
	Amount money.Money
	Reason string
	// By is the member of staff.
	By string
	// Key is the client's Idempotency-Key, which may be empty. Fingerprint identifies its request.
	Key, Fingerprint string
}

// Do stores the refund in the order and hands it to the saga. Errors: document.ErrNotFound, those of
// domain.Order.RequestRefund.
func (u RefundOrder) Do(ctx context.Context, r RefundRequest) (*domain.Order, error) {
	refund := domain.Refund{Amount: r.Amount, Reason: r.Reason, RequestedBy: r.By, Fingerprint: r.Fingerprint}
	if refund.ID = u.IDs.New(); r.Key != "" {
		refund.ID = id.Derive("refund", r.OrderID, r.By, r.Key)
	}
	order, err := u.Orders.Update(ctx, r.OrderID, func(o *domain.Order) error {
		if !o.Exists() {
			return document.ErrNotFound
		}
		return o.RequestRefund(refund, u.Clock.Now())
	})
	// The refund that is under way may have been written so late that nobody drives it.
	if err == nil || errors.Is(err, domain.ErrRefundUnderWay) {
		u.Driver.Start(ctx, r.OrderID)
	}
	if err != nil {
		return nil, fmt.Errorf("refunding order %s: %w", r.OrderID, err)
	}
	return order, nil
}
