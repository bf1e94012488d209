package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"caravan/internal/clock"
	"caravan/internal/document"
	"caravan/internal/id"
	"caravan/internal/money"
	"caravan/internal/problem"
	"caravan/services/orders/domain"
)

// PlaceOrder accepts orders.
type PlaceOrder struct {
	Orders *Orders
	// Lists holds each user's orders, newest first.
	Lists    *document.Chain[Entry]
	Driver   *Driver
	Clock    clock.Clock
	Patience time.Duration
}

// Entry is an order in its user's list.
type Entry struct {
	OrderID string `json:"orderId"`
}

// Placement is a request to place an order.
type Placement struct {
	UserID string
	// Key is the client's Idempotency-Key and Fingerprint identifies its request.
	Key, Fingerprint string
	Lines            []domain.Line
	ExpectedTotal    *money.Money
}

// OrderID is the id of the order that a user places under an Idempotency-Key:
// a repeat finds the same document, whatever else was lost.
func OrderID(userID, key string) string { return id.Derive("order", userID, key) }

// Do stores the order, hands it to the saga and returns it. The entry in the
// user's list is written first, beside the feed's: one without an order is
// skipped by readers, an order without one would be lost to its user.
func (u PlaceOrder) Do(ctx context.Context, p Placement) (*domain.Order, error) {
	orderID := OrderID(p.UserID, p.Key)
	now := u.Clock.Now()
	var order *domain.Order
	both, groupCtx := errgroup.WithContext(ctx)
	both.Go(func() error {
		return u.Lists.Prepend(groupCtx, p.UserID, orderID, Entry{OrderID: orderID})
	})
	both.Go(func() (err error) {
		order, err = u.Orders.Update(groupCtx, orderID, func(o *domain.Order) error {
			return o.Place(orderID, p.UserID, p.Key, p.Fingerprint, p.Lines, p.ExpectedTotal, now, u.Patience)
		})
		return err
	})
	if err := both.Wait(); err != nil {
		if errors.Is(err, domain.ErrFingerprint) {
			return nil, reusedKey()
		}
		return nil, fmt.Errorf("placing order: %w", err)
	}
	if !order.Status.Terminal() {
		u.Driver.StartStored(ctx, order)
	}
	return order, nil
}

// reusedKey is the refusal of the IETF draft for a key that came with another
// request before (draft-ietf-httpapi-idempotency-key-header, 2.7).
func reusedKey() error {
	return problem.Unprocessable("idempotency-key-reused", "This Idempotency-Key was used with another request.")
}
