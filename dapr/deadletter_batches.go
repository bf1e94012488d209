package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"caravan/dapr/client"
	"caravan/internal/clock"
	"caravan/internal/id"
)

// letterOperations are the API calls for one action on dead letters. Replay and discard have the same bodies.
type letterOperations struct {
	one         func(ctx context.Context, id, key string, body client.DeadLetterDiscard) (client.DeadLetter, error)
	all         func(ctx context.Context, key string, body client.DeadLetterBatchDiscard) (client.DeadLetterBatch, error)
	get, cancel func(ctx context.Context, id string) (client.DeadLetterBatch, error)
	list        func(ctx context.Context, limit int, cursor string) (client.DeadLetterBatchList, error)
}

func operationsOf(staff *client.Client, action client.DeadLetterBatchAction) letterOperations {
	if action == client.Discard {
		return letterOperations{
			one: staff.OpsDiscardDeadLetter, all: staff.OpsDiscardDeadLetters, get: staff.OpsGetDiscard, cancel: staff.OpsCancelDiscard,
			list: func(ctx context.Context, limit int, cursor string) (client.DeadLetterBatchList, error) {
				return staff.OpsListDiscards(ctx, client.OpsListDiscardsParams{Limit: limit, Cursor: cursor})
			},
		}
	}
	return letterOperations{
		one: func(ctx context.Context, id, key string, body client.DeadLetterDiscard) (client.DeadLetter, error) {
			return staff.OpsReplayDeadLetter(ctx, id, key, client.DeadLetterReplay(body))
		},
		all: func(ctx context.Context, key string, body client.DeadLetterBatchDiscard) (client.DeadLetterBatch, error) {
			return staff.OpsReplayDeadLetters(ctx, key, client.DeadLetterBatchReplay(body))
		},
		get: staff.OpsGetReplay, cancel: staff.OpsCancelReplay,
		list: func(ctx context.Context, limit int, cursor string) (client.DeadLetterBatchList, error) {
			return staff.OpsListReplays(ctx, client.OpsListReplaysParams{Limit: limit, Cursor: cursor})
		},
	}
}

// actOnLetters starts a batch and waits for its end.
func (c *cli) actOnLetters(ctx context.Context, staff *client.Client, action client.DeadLetterBatchAction) error {
	l := c.options.letters
	perSecond := l.perSecond
	if action == client.Discard {
		perSecond = 0
	}
	on := operationsOf(staff, action)
	batch, err := on.all(ctx, id.Random{}.New(), client.DeadLetterBatchDiscard{Filter: l.filter, PerSecond: perSecond, Reason: l.reason})
	if err != nil {
		return fmt.Errorf("starting the batch: %w", err)
	}
	fmt.Fprintf(c.out, "Batch %s runs at %d a second. Stop it with: go run ./dapr dead-letters cancel %s\n", batch.ID, batch.PerSecond, batch.ID)
	if l.detach {
		return nil
	}
	for shown := -1; batch.Status == "running"; {
		if (clock.System{}).Sleep(ctx, 500*time.Millisecond) != nil {
			fmt.Fprintln(c.out, "The batch continues by itself; see: go run ./dapr dead-letters batches")
			return nil
		}
		if batch, err = on.get(ctx, batch.ID); err != nil {
			if ctx.Err() != nil {
				continue
			}
			return fmt.Errorf("following the batch: %w", err)
		}
		if handled := batch.Done + batch.Failed; handled != shown && batch.Status == "running" {
			shown = handled
			fmt.Fprintf(c.out, "  %d done, %d failed\n", batch.Done, batch.Failed)
		}
	}
	return c.showBatch(batch)
}

func (c *cli) showBatch(b client.DeadLetterBatch) error {
	if c.options.letters.json {
		return c.asJSON(b)
	}
	fmt.Fprintf(c.out, "The %s is %s: %d looked at, %d done, %d failed.\n", b.Action, b.Status, b.Scanned, b.Done, b.Failed)
	for _, f := range b.Failures {
		fmt.Fprintf(c.out, "  %s  %s\n", f.ID, shorten(f.Reason, 120))
	}
	if b.Failed > 0 {
		return errFailed
	}
	return nil
}

func (c *cli) listBatches(ctx context.Context, staff *client.Client) error {
	l := c.options.letters
	batches := []client.DeadLetterBatch{}
	for _, action := range []client.DeadLetterBatchAction{client.Replay, client.Discard} {
		some, _, err := pages(l.limit, func(limit int, cursor string) ([]client.DeadLetterBatch, string, error) {
			list, err := operationsOf(staff, action).list(ctx, limit, cursor)
			return list.Items, list.Next, err
		})
		if err != nil {
			return fmt.Errorf("listing batches: %w", err)
		}
		batches = append(batches, some...)
	}
	if l.json {
		return c.asJSON(batches)
	}
	if len(batches) == 0 {
		fmt.Fprintln(c.out, "There was no batch yet.")
		return nil
	}
	return c.table("ID ACTION STATUS AGE RATE DONE FAILED BY REASON", func(row func(...any)) {
		for _, b := range batches {
			row(b.ID, b.Action, b.Status, age(b.RequestedAt), fmt.Sprint(b.PerSecond, "/s"), b.Done, b.Failed, b.RequestedBy, shorten(b.Reason, 60))
		}
	})
}

// cancelBatch cancels a batch of either action.
func (c *cli) cancelBatch(ctx context.Context, staff *client.Client, of string) error {
	var err error
	for _, action := range []client.DeadLetterBatchAction{client.Replay, client.Discard} {
		var batch client.DeadLetterBatch
		if batch, err = operationsOf(staff, action).cancel(ctx, of); err == nil {
			return c.showBatch(batch)
		}
		if client.Status(err) != http.StatusNotFound {
			return fmt.Errorf("cancelling: %w", err)
		}
	}
	return errors.New("there is no batch " + of + "; see go run ./dapr dead-letters batches")
}
