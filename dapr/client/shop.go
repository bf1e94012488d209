package client

import (
	"context"
	"time"

	"caravan/internal/money"
)

// Ended reports whether an order has ended.
func (s OrderStatus) Ended() bool {
	switch s {
	case OrderStatusConfirmed, OrderStatusRejected, OrderStatusCancelled, OrderStatusRefunded:
		return true
	}
	return false
}

// WaitForOrder reads an order. The answer comes when the order has ended or the wait (up to 10 s) is over.
func (c *Client) WaitForOrder(ctx context.Context, id string, wait time.Duration) (Order, error) {
	return c.GetOrder(ctx, id, GetOrderParams{Wait: wait.String()})
}

// AwaitOrder reads an order until it has ended or the context ends.
func (c *Client) AwaitOrder(ctx context.Context, id string) (Order, error) {
	for {
		order, err := c.WaitForOrder(ctx, id, 10*time.Second)
		if err != nil || order.Status.Ended() {
			return order, err
		}
		if err := ctx.Err(); err != nil {
			return order, err
		}
	}
}

// AllProducts lists the whole catalogue, page by page, as products has it now.
func (c *Client) AllProducts(ctx context.Context) (ProductList, error) {
	ctx = Uncached(ctx)
	var all ProductList
	params := ListProductsParams{Limit: 100}
	for {
		list, err := c.ListProducts(ctx, params)
		if err != nil {
			return ProductList{}, err
		}
		all.Items, all.Currency = append(all.Items, list.Items...), list.Currency
		if params.Cursor = list.Next; list.Next == "" {
			return all, nil
		}
	}
}

// TopUp deposits an amount into the wallet, from the test bank's source that always pays.
func (c *Client) TopUp(ctx context.Context, key string, amount money.Money) (Deposit, error) {
	return c.Deposit(ctx, key, NewDeposit{Amount: amount.Amount, Currency: amount.Currency, Source: "tok_ok"})
}
