package app

import (
	"context"
	"fmt"
	"strings"

	"caravan/internal/correlation"
	"caravan/internal/feed"
	"caravan/services/notifications/domain"
)

// NewDeliverySweep makes the sweep that finds deliveries which a crash or a full queue has left, and hands them to the driver. It
// completes in; the name and Start are its own. A claim lasts longer than a bucket takes to settle, so it needs no fast passes.
func NewDeliverySweep(threads *Threads, driver *Driver, in *feed.Sweep) *feed.Sweep {
	in.Name = "deliveries"
	in.Start = func(ctx context.Context, keys []string) (unfinished, unwritten []string, err error) {
		ids := ThreadIDs(keys)
		found, err := threads.GetMany(ctx, ids...)
		if err != nil {
			return nil, nil, fmt.Errorf("reading swept deliveries: %w", err)
		}
		for _, threadID := range ids {
			t, ok := found[threadID]
			if !ok {
				unwritten = append(unwritten, threads.Key(threadID))
				continue
			}
			if !t.Ended() {
				driver.Start(causeOfThread(ctx, t), threadID)
				unfinished = append(unfinished, threads.Key(threadID))
			}
		}
		return unfinished, unwritten, nil
	}
	return in
}

// ThreadIDs are the ids of the threads among keys of the feed.
func ThreadIDs(keys []string) []string {
	var ids []string
	for _, key := range keys {
		if threadID, ok := strings.CutPrefix(key, ThreadPrefix); ok {
			ids = append(ids, threadID)
		}
	}
	return ids
}

// causeOfThread is ctx with the correlation id and the trace of the event that led to the last delivery.
func causeOfThread(ctx context.Context, t *domain.Thread) context.Context {
	if len(t.Timeline) == 0 {
		return ctx
	}
	last := t.Timeline[len(t.Timeline)-1]
	return correlation.Remote(ctx, last.CorrelationID, last.TraceParent)
}
