package contract

import (
	"context"
	"log/slog"

	"caravan/internal/invoke"
)

// batchSize is the most commands of one kind in one call.
const batchSize = 64

// Client commands products through the sidecar. Commands that are issued during a call are sent together in the next one.
// It is safe for concurrent use.
//
// An error that matches invoke.ErrUnavailable leaves open whether the command took effect; repeating it is safe.
type Client struct {
	reserve *invoke.Batch[Reserve, Reserved]
	commit  *invoke.Batch[Commit, Committed]
	release *invoke.Batch[Release, Released]
}

// NewClient makes a Client.
func NewClient(invoker invoke.Invoker) *Client {
	return &Client{
		reserve: invoke.NewBatch[Reserve, Reserved](invoker, App, PathReserve, batchSize),
		commit:  invoke.NewBatch[Commit, Committed](invoker, App, PathCommit, batchSize),
		release: invoke.NewBatch[Release, Released](invoker, App, PathRelease, batchSize),
	}
}

// Reserve holds all lines of an order or none.
func (c *Client) Reserve(ctx context.Context, command Reserve) (Reserved, error) {
	return c.reserve.Do(ctx, command)
}

// Commit takes the held units of an order out of the stock.
func (c *Client) Commit(ctx context.Context, command Commit) (Committed, error) {
	return c.commit.Do(ctx, command)
}

// Release gives the held units of an order back.
func (c *Client) Release(ctx context.Context, command Release) (Released, error) {
	return c.release.Do(ctx, command)
}

// LogValue names the order in a log line.
func (r Reserve) LogValue() slog.Value { return slog.StringValue(r.OrderID) }

// LogValue names the order in a log line.
func (c Commit) LogValue() slog.Value { return slog.StringValue(c.OrderID) }

// LogValue names the order in a log line.
func (r Release) LogValue() slog.Value { return slog.StringValue(r.OrderID) }

// LogValue is the outcome and the refused SKU, if any.
func (r Reserved) LogValue() slog.Value {
	if r.SKU != "" {
		return slog.StringValue(r.Outcome + " " + r.SKU)
	}
	return slog.StringValue(r.Outcome)
}

// LogValue is the outcome.
func (r Result) LogValue() slog.Value { return slog.StringValue(r.Outcome) }
