package document_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"caravan/internal/clock"
	"caravan/internal/document"
	"caravan/internal/document/documenttest"
	"caravan/internal/id"
)

// It also holds for a chain whose segments became shorter at some time.
func TestChainPagesEachEntryOnceWhileItGrows(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		store := documenttest.NewStore()
		chain := document.NewChain[int](store, "list/", 5, document.Options{Clock: clock.System{}, IDs: id.Random{}})
		n := rapid.IntRange(0, 60).Draw(rt, "entries")
		limit := rapid.IntRange(1, 13).Draw(rt, "limit")
		short := rapid.IntRange(0, 70).Draw(rt, "short from")
		add := func(i int) {
			if i == short {
				chain.Shorten(2)
			}
			if err := chain.Prepend(t.Context(), "o", fmt.Sprint(i), i); err != nil {
				rt.Fatal(err)
			}
		}
		for i := range n {
			add(i)
			add(i) // a repeat is not a second entry
		}
		var got []int
		cursor, more := "", n
		for {
			values, next, err := chain.Page(t.Context(), "o", cursor, limit)
			if err != nil {
				rt.Fatal(err)
			}
			add(more) // new entries do not change a walk that has begun
			more++
			done := rapid.IntRange(min(1, len(values)), len(values)).Draw(rt, "done") // a reader may stop within a page
			if next, err = document.CursorBefore(next, len(values)-done); err != nil {
				rt.Fatal(err)
			}
			got = append(got, values[:done]...)
			if next == "" {
				break
			}
			cursor = next
		}
		want := make([]int, n)
		for i := range want {
			want[i] = n - 1 - i
		}
		if !slices.Equal(got, want) {
			rt.Fatalf("walked %v; want %v", got, want)
		}
	})
}

// An attempt whose outcome is unknown may have been stored. When others add so many entries before the next attempt that
// the entry is archived by then, it is not added again.
func TestAnEntryThatWasArchivedMeanwhileIsNotAddedAgain(t *testing.T) {
	for name, stored := range map[string]bool{"stored": true, "not stored": false} {
		t.Run(name, func(t *testing.T) {
			store := documenttest.NewStore()
			options := document.Options{Clock: clock.System{}, IDs: id.Random{}}
			chain := func() *document.Chain[int] { return document.NewChain[int](store, "list/", 5, options).Shorten(2) }
			add := func(c *document.Chain[int], i int) {
				if err := c.Prepend(t.Context(), "o", fmt.Sprint(i), i); err != nil {
					t.Fatal(err)
				}
			}
			var began atomic.Bool
			others := func(key string, _ []byte) error {
				if key != "list/o" || !began.CompareAndSwap(false, true) {
					return nil
				}
				for i := range 11 {
					add(chain(), 100+i)
				}
				return documenttest.ErrInjected
			}
			if stored {
				store.AfterPut(others)
			} else {
				store.BeforePut(others)
			}
			add(chain(), 1)
			values, next, err := chain().Page(t.Context(), "o", "", 100)
			if err != nil || next != "" || len(values) != 12 {
				t.Errorf("the list has %v, %q, %v; want 12 entries", values, next, err)
			}
		})
	}
}

func TestABadCursorIsRefused(t *testing.T) {
	chain := document.NewChain[int](documenttest.NewStore(), "list/", 5, document.Options{Clock: clock.System{}, IDs: id.Random{}})
	if err := chain.Prepend(t.Context(), "o", "1", 1); err != nil {
		t.Fatal(err)
	}
	if _, _, err := chain.Page(t.Context(), "o", "%%%", 5); err == nil || !strings.Contains(err.Error(), "cursor") {
		t.Errorf("err = %v", err)
	}
}
