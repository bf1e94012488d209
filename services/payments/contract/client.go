package contract

import (
	"context"

	"caravan/internal/invoke"
)

// batchSize is the largest number of commands of one kind in one call.
const batchSize = 64

// Client sends commands to payments through the caller's sidecar. Commands of one kind that are issued during a call are sent
// together in the next call. Its errors are those of invoke.Batch: a command that was not available may be repeated; other
// errors mean that the command is wrong.
type Client struct {
	authorize *invoke.Batch[Authorize, Authorized]
	capture   *invoke.Batch[Capture, Captured]
	void      *invoke.Batch[Void, Voided]
	refund    *invoke.Batch[Refund, Refunded]
}

// NewClient makes a Client over an invoker.
func NewClient(invoker invoke.Invoker) *Client {
	return &Client{
		authorize: invoke.NewBatch[Authorize, Authorized](invoker, App, PathAuthorize, batchSize),
		capture:   invoke.NewBatch[Capture, Captured](invoker, App, PathCapture, batchSize),
		void:      invoke.NewBatch[Void, Voided](invoker, App, PathVoid, batchSize),
		refund:    invoke.NewBatch[Refund, Refunded](invoker, App, PathRefund, batchSize),
	}
}

// Authorize holds an amount for an order.
func (c *Client) Authorize(ctx context.Context, command Authorize) (Authorized, error) {
	return c.authorize.Do(ctx, command)
}

// Capture takes what an order holds.
func (c *Client) Capture(ctx context.Context, command Capture) (Captured, error) {
	return c.capture.Do(ctx, command)
}

// Void releases what an order holds.
func (c *Client) Void(ctx context.Context, command Void) (Voided, error) {
	return c.void.Do(ctx, command)
}

// Refund gives captured money back.
func (c *Client) Refund(ctx context.Context, command Refund) (Refunded, error) {
	return c.refund.Do(ctx, command)
}
