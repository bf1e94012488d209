package deadletter_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"testing"

	"caravan/internal/audit"
	"caravan/internal/deadletter"
	"caravan/internal/document/documenttest"
)

// audited runs the whole audit and returns its counts and findings.
func audited(ctx context.Context, q *deadletter.Queue) (map[string]int64, []audit.Finding, error) {
	page := audit.NewPage(deadletter.InvariantDecidedOnce)
	for cursor := ""; ; {
		next, err := q.Audit(ctx, cursor, &page)
		if cursor = next; err != nil || next == "" {
			return page.Counts, page.Findings, err
		}
	}
}

// TestAudit has more letters than fit on a page and one discarded letter. Later, one letter contradicts itself.
func TestAudit(t *testing.T) {
	store := documenttest.NewStore()
	q := replica(store, "a").queue()
	events := orderEvents("u1", 40)
	for _, e := range events {
		if err := q.DeadLetter(t.Context(), e, errors.New("a test")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := q.Discard(t.Context(), deadletter.ID(events[0].ID), deadletter.Instruction{By: "ada", Reason: "x"}); err != nil {
		t.Fatal(err)
	}
	counts, findings, err := audited(t.Context(), q)
	if want := map[string]int64{"letters.open": 39, "letters.discarded": 1}; err != nil || len(findings) > 0 || !maps.Equal(counts, want) {
		t.Errorf("counted %v, found %v, %v", counts, findings, err)
	}
	letter, err := q.Show(t.Context(), deadletter.ID(events[1].ID))
	if err != nil {
		t.Fatal(err)
	}
	letter.Status = deadletter.StatusReplayed // without an action that decided it
	value, err := json.Marshal(letter)
	if err != nil {
		t.Fatal(err)
	}
	store.Overwrite("dead-letter/"+letter.ID, value)
	if _, findings, err = audited(t.Context(), q); err != nil || len(findings) != 1 || findings[0].Key != "dead-letter/"+letter.ID {
		t.Errorf("found %v, %v", findings, err)
	}
	statuses, err := q.Statuses(t.Context(), events[0].ID, events[2].ID, "orders/none/1")
	want := map[string]deadletter.Status{events[0].ID: deadletter.StatusDiscarded, events[2].ID: deadletter.StatusOpen}
	if err != nil || !maps.Equal(statuses, want) {
		t.Errorf("statuses are %v, %v", statuses, err)
	}
}
