package deadletter

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"caravan/internal/audit"
)

// InvariantDecidedOnce: a dead letter is open, or was replayed or discarded once.
const InvariantDecidedOnce = "dead-letter-decided-once"

// Audit checks a page of the dead letters and counts them by status, as letters.<status>. It returns the cursor of the next
// page or "".
func (q *Queue) Audit(ctx context.Context, cursor string, into *audit.Page) (next string, err error) {
	entries, next, err := q.entries.Page(ctx, everything, cursor, lettersPerRead)
	if err != nil {
		return "", fmt.Errorf("auditing dead letters: %w", err)
	}
	ids := make([]string, len(entries))
	for i, e := range entries {
		ids[i] = e.ID
	}
	letters, err := q.letters.GetMany(ctx, ids...)
	if err != nil {
		return "", fmt.Errorf("auditing dead letters: %w", err)
	}
	for _, e := range entries {
		d, ok := letters[e.ID]
		if !ok || d.Entry != e.Entry {
			continue // the entry of an attempt that did not store the letter
		}
		into.Counts["letters."+string(d.Status)]++
		open := d.Status == StatusOpen
		decided := d.Status == StatusReplayed || d.Status == StatusDiscarded
		into.Check(d.ID == e.ID && (open || decided) && open == d.DecidedAt.IsZero(), InvariantDecidedOnce, q.letters.Key(e.ID),
			"letter %s is %q, decided at %s", d.ID, d.Status, d.DecidedAt.Format(time.RFC3339))
	}
	return next, nil
}

// Statuses returns the statuses of the dead letters of events, by the id of the event. Events without a dead letter are absent.
func (q *Queue) Statuses(ctx context.Context, eventIDs ...string) (map[string]Status, error) {
	events := make(map[string]string, len(eventIDs))
	for _, eventID := range eventIDs {
		events[ID(eventID)] = eventID
	}
	statuses := make(map[string]Status)
	for part := range slices.Chunk(slices.Sorted(maps.Keys(events)), lettersPerRead) {
		found, err := q.letters.GetMany(ctx, part...)
		if err != nil {
			return nil, fmt.Errorf("reading dead letters: %w", err)
		}
		for id, d := range found {
			statuses[events[id]] = d.Status
		}
	}
	return statuses, nil
}
