package sidecar

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	dapr "github.com/dapr/go-sdk/client"

	"caravan/internal/document"
)

// lossySidecar is a sidecar whose component loses its connection during a bulk read: from some key on it answers as if
// there were no documents, without an error. It embeds a nil Client for the methods that are not used here.
type lossySidecar struct {
	dapr.Client
	documents map[string]string
	reads     int               // keys that a bulk read gets before the connection breaks
	omits     bool              // what was not read is missing from the answer
	marks     bool              // absent keys are marked, as Caravan's sidecar does
	failing   map[string]error  // single reads that fail
	failed    map[string]string // errors of items in a bulk read

	mu      sync.Mutex
	singles []string // keys that were read one by one
}

func (s *lossySidecar) GetState(_ context.Context, _, key string, _ map[string]string) (*dapr.StateItem, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.singles = append(s.singles, key)
	if err := s.failing[key]; err != nil {
		return nil, err
	}
	value, ok := s.documents[key]
	if !ok {
		return &dapr.StateItem{Key: key}, nil
	}
	return &dapr.StateItem{Key: key, Value: []byte(value), Etag: "1"}, nil
}

func (s *lossySidecar) GetBulkState(_ context.Context, _ string, keys []string, _ map[string]string, _ int32) ([]*dapr.BulkStateItem, error) {
	var items []*dapr.BulkStateItem
	for i, key := range keys {
		item := &dapr.BulkStateItem{Key: key, Error: s.failed[key]}
		value, ok := s.documents[key]
		switch {
		case item.Error != "":
		case i >= s.reads && s.omits:
			continue
		case i >= s.reads:
		case ok:
			item.Value, item.Etag = []byte(value), "1"
		case s.marks:
			item.Metadata = map[string]string{absentMark: "true"}
		}
		items = append(items, item)
	}
	return items, nil
}

// What a broken bulk read leaves out is found, and a key that was not read is never taken for absent.
func TestABrokenBulkReadIsNoAbsence(t *testing.T) {
	documents := make(map[string]string)
	var keys []string
	for i := range 6 {
		key := fmt.Sprintf("k%d", i)
		keys = append(keys, key)
		documents[key] = fmt.Sprintf(`{"i":%d}`, i)
	}
	for reads := range len(keys) + 1 {
		for _, omits := range []bool{false, true} {
			sdk := &lossySidecar{documents: documents, reads: reads, omits: omits}
			got, err := newStore(sdk, 0).Get(t.Context(), append(keys, "none")...)
			if err != nil || len(got) != len(keys) {
				t.Fatalf("broken after %d keys: %d documents, %v", reads, len(got), err)
			}
			for key, value := range documents {
				if string(got[key].Value) != value || got[key].ETag != "1" {
					t.Errorf("broken after %d keys: %s is %s", reads, key, got[key].Value)
				}
			}
			sdk.failing = map[string]error{"k5": errors.New("connection reset")}
			got, err = newStore(sdk, 0).Get(t.Context(), keys...)
			if unread := reads <= 5; unread && !errors.As(err, new(document.Unavailable)) || !unread && err != nil {
				t.Errorf("broken after %d keys, and again: %v, %v", reads, got, err)
			}
		}
	}
}

// A component that marks absent keys needs no second read. Another one needs a second read only for absent keys.
func TestProofIsAskedForOnlyWhereItIsMissing(t *testing.T) {
	for marks, want := range map[bool][]string{true: nil, false: {"none1", "none2"}} {
		sdk := &lossySidecar{documents: map[string]string{"a": "{}", "b": "{}"}, reads: 9, marks: marks}
		got, err := newStore(sdk, 0).Get(t.Context(), "a", "none1", "b", "none2", "a")
		if err != nil || !slices.Equal(slices.Sorted(maps.Keys(got)), []string{"a", "b"}) {
			t.Fatalf("marks %v: %v, %v", marks, got, err)
		}
		if slices.Sort(sdk.singles); !slices.Equal(sdk.singles, want) {
			t.Errorf("marks %v: %v were read one by one, want %v", marks, sdk.singles, want)
		}
	}
}

// Reads of different callers share a call. The error of one read is not the error of another.
func TestAnErrorOfOneKeyIsItsOwn(t *testing.T) {
	sdk := &lossySidecar{documents: map[string]string{"a": "{}"}, reads: 9, failed: map[string]string{"bad": "no such key"}}
	results := newStore(sdk, 0).getAll(t.Context(), []string{"a", "bad", "none"})
	if results[0].Err != nil || string(results[0].Value.Value) != "{}" {
		t.Errorf("a: %+v", results[0])
	}
	if !errors.As(results[1].Err, new(document.Unavailable)) {
		t.Errorf("bad: %v", results[1].Err)
	}
	if !errors.Is(results[2].Err, errAbsent) {
		t.Errorf("none: %v", results[2].Err)
	}
}
