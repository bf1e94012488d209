package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
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

// Entry is an order in its user's list. It is of that order only if it bears the time at which the order was placed: an
// attempt that failed leaves an entry, too, and may be repeated when many others have come in between.
type Entry struct {
	OrderID string `json:"orderId"`
	// At is when the order was placed.
	At time.Time `json:"at"`
}

// of reports whether the entry is that of an order, which may be nil.
func (e Entry) of(order *domain.Order) bool {
	return order != nil && e.OrderID == order.ID && e.At.Equal(order.PlacedAt)
}

// put puts the entry in front of a user's list, once.
func (e Entry) put(ctx context.Context, lists *document.Chain[Entry], userID string) error {
	return lists.Prepend(ctx, userID, e.OrderID+" "+e.At.UTC().Format(time.RFC3339Nano), e)
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
// user's list is written beside it: one without an order is skipped by readers.
func (u PlaceOrder) Do(ctx context.Context, p Placement) (*domain.Order, error) {
	orderID := OrderID(p.UserID, p.Key)
	now := u.Clock.Now()
	listing, listCtx := errgroup.WithContext(ctx)
	var fresh sync.Once
	repeat := false
	order, err := u.Orders.Update(ctx, orderID, func(o *domain.Order) error {
		if repeat = o.Exists(); !repeat {
			fresh.Do(func() {
				listing.Go(func() error {
					return Entry{OrderID: orderID, At: now}.put(listCtx, u.Lists, p.UserID)
				})
			})
		}
		return o.Place(orderID, p.UserID, p.Key, p.Fingerprint, p.Lines, p.ExpectedTotal, now, u.Patience)
	})
	if listed := listing.Wait(); err == nil {
		err = listed
	}
	if err == nil && repeat {
		err = enlist(ctx, u.Lists, order)
	}
	switch {
	case errors.Is(err, domain.ErrFingerprint):
		return nil, reusedKey()
	case err != nil:
		return nil, fmt.Errorf("placing order: %w", err)
	}
	if !order.Status.Terminal() {
		u.Driver.StartStored(ctx, order)
	}
	return order, nil
}

const (
	// listSkew is by how much the times of neighbours in a list may be out of order.
	listSkew = time.Minute
	// listPage is how many entries are looked at at once.
	listPage = 100
)

// enlist sees to it that an order that was placed before is in its user's list:
// what placed it may have died before it wrote the entry.
func enlist(ctx context.Context, lists *document.Chain[Entry], order *domain.Order) error {
	there, err := listed(ctx, lists, order)
	if err != nil || there {
		return err
	}
	return Entry{OrderID: order.ID, At: order.PlacedAt}.put(ctx, lists, order.UserID)
}

// listed reports whether an order is in its user's list. It looks back to when
// the order was placed, however many came after it, as a second entry would show
// the order twice.
func listed(ctx context.Context, lists *document.Chain[Entry], order *domain.Order) (bool, error) {
	for cursor := ""; ; {
		entries, next, err := lists.Page(ctx, order.UserID, cursor, listPage)
		if err != nil {
			return false, fmt.Errorf("looking for an order in its list: %w", err)
		}
		for _, e := range entries {
			switch {
			case e.of(order):
				return true, nil
			case e.At.Before(order.PlacedAt.Add(-listSkew)):
				next = ""
			}
		}
		if cursor = next; cursor == "" {
			return false, nil
		}
	}
}

// reusedKey is the refusal of the IETF draft for a key that came with another
// request before (draft-ietf-httpapi-idempotency-key-header, 2.7).
func reusedKey() error {
	return problem.Unprocessable("idempotency-key-reused", "This Idempotency-Key was used with another request.")
}
