package app

import (
	"context"
	"errors"
	"fmt"

	"caravan/internal/clock"
	"caravan/internal/document"
	"caravan/internal/id"
	"caravan/internal/money"
	"caravan/internal/problem"
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
	// Key is the client's Idempotency-Key, which may be empty, and Fingerprint
	// identifies its request.
	Key, Fingerprint string
}

// Do stores the refund in the order and hands it to the saga.
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
	if errors.Is(err, domain.ErrRefundUnderWay) { // it may be one that was written so late that nobody drives it
		u.Driver.Start(ctx, r.OrderID)
	}
	if err != nil {
		return nil, refundProblem(err)
	}
	u.Driver.Start(ctx, r.OrderID)
	return order, nil
}

func refundProblem(err error) error {
	switch {
	case errors.Is(err, domain.ErrFingerprint):
		return reusedKey()
	case errors.Is(err, domain.ErrNotRefundable):
		return problem.Conflict("order-not-confirmed", "Only a confirmed order can be refunded.")
	case errors.Is(err, domain.ErrRefundUnderWay):
		return problem.Conflict("refund-under-way", "Another refund of this order has to end first.")
	case errors.Is(err, domain.ErrRefundAmount):
		return problem.Unprocessable("refund-amount", "The amount must be at least 1 and at most what is left to refund, in the order's currency.")
	case errors.Is(err, domain.ErrTooManyRefunds):
		return problem.Unprocessable("too-many-refunds", "This order takes no more refunds.")
	}
	return fmt.Errorf("refunding order: %w", err)
}
