package document_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"caravan/internal/clock"
	"caravan/internal/document"
	"caravan/internal/document/documenttest"
	"caravan/internal/id"
)

// extent is a Summary: the first and last number below a reference.
type extent struct{ From, To int }

func (e extent) Merge(o extent) extent {
	return extent{From: min(e.From, o.From), To: max(e.To, o.To)}
}

func (e extent) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%d %d", e.From, e.To), nil }

func (e *extent) UnmarshalText(data []byte) error {
	_, err := fmt.Sscanf(string(data), "%d %d", &e.From, &e.To)
	return err
}

func (e extent) has(n int) bool { return e.From <= n && n <= e.To }

// archive is an aggregate with a tree: each leaf holds numbers.
type archive struct {
	document.Root
	Tree document.Tree[extent] `json:"tree"`
}

// countedArchive is an archive in a store that counts reads.
type countedArchive struct {
	store     *documenttest.FakeStore
	archives  *document.Repository[archive, *archive]
	calls     int
	documents int
}

func newCountedArchive() *countedArchive {
	g := &countedArchive{store: documenttest.NewStore()}
	g.archives = document.NewRepository[archive](g.store, document.Options{Prefix: "archive/", Clock: clock.System{}, IDs: id.Random{}})
	g.store.BeforeGet(func(keys []string) error {
		g.calls++
		g.documents += len(keys)
		return nil
	})
	return g
}

const prefix = "archive/a/old"

// add archives one leaf of numbers in one write.
func (g *countedArchive) add(ctx context.Context, numbers ...int) error {
	_, err := g.archives.Update(ctx, "a", func(a *archive) error {
		a.Tree.Add(&a.Root, prefix, numbers, extent{slices.Min(numbers), slices.Max(numbers)})
		return nil
	})
	return err
}

// find searches the archive for a number. It returns how many calls and documents that took.
func (g *countedArchive) find(ctx context.Context, number int) (found bool, calls, documents int, err error) {
	a, err := g.archives.Get(ctx, "a")
	if err != nil {
		return false, 0, 0, err
	}
	g.calls, g.documents = 0, 0
	within := func(r document.Ref[extent], _ int) bool { return r.Summary.has(number) }
	walk := document.Walk[extent]{Store: g.store, Prefix: prefix, Root: &a.Root, Within: within}
	err = document.Leaves(ctx, &a.Tree, walk, func(_ document.Ref[extent], leaf []int) bool {
		found = slices.Contains(leaf, number)
		return !found
	})
	return found, g.calls, g.documents, err
}

// A walk finds all that was archived and nothing else, in both directions and in order.
func TestATreeFindsWhatWasArchived(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ctx := t.Context()
		g := newCountedArchive()
		leaves := rapid.SliceOfN(rapid.SliceOfN(rapid.IntRange(0, 300), 1, 4), 1, 90).Draw(rt, "leaves")
		for _, numbers := range leaves {
			if err := g.add(ctx, numbers...); err != nil {
				rt.Fatal(err)
			}
		}
		a, err := g.archives.Get(ctx, "a")
		if err != nil {
			rt.Fatal(err)
		}
		if wrong := a.Tree.Check(); wrong != "" || a.Tree.Leaves != int64(len(leaves)) {
			rt.Fatalf("%d leaves of %d: %s", a.Tree.Leaves, len(leaves), wrong)
		}
		for level, refs := range a.Tree.Levels {
			if len(refs) >= document.Fanout {
				rt.Fatalf("the aggregate keeps %d references of level %d", len(refs), level)
			}
		}
		for _, newestFirst := range []bool{false, true} {
			var got [][]int
			walk := document.Walk[extent]{Store: g.store, Prefix: prefix, Root: &a.Root, NewestFirst: newestFirst}
			if err := document.Leaves(ctx, &a.Tree, walk, func(_ document.Ref[extent], leaf []int) bool {
				got = append(got, leaf)
				return true
			}); err != nil {
				rt.Fatal(err)
			}
			if newestFirst {
				slices.Reverse(got)
			}
			if fmt.Sprint(got) != fmt.Sprint(leaves) {
				rt.Fatalf("newest first %v: %v, want %v", newestFirst, got, leaves)
			}
		}
		number := rapid.IntRange(0, 300).Draw(rt, "number")
		want := slices.ContainsFunc(leaves, func(leaf []int) bool { return slices.Contains(leaf, number) })
		if found, _, _, err := g.find(ctx, number); found != want || err != nil {
			rt.Fatalf("%d is found: %v, %v; want %v", number, found, err, want)
		}
		since := rapid.Int64Range(0, int64(len(leaves))).Draw(rt, "since")
		grown := a.Tree.Grown(since, func(e extent) bool { return e.has(number) })
		for _, leaf := range leaves[since:] {
			if !grown && slices.Contains(leaf, number) {
				rt.Fatalf("%d came after leaf %d, and the tree says that nothing did", number, since)
			}
		}
	})
}

// A search reads one document a level if the entries were archived in order, and the aggregate stays small.
func TestATreeIsSearchedInItsHeight(t *testing.T) {
	g := newCountedArchive()
	const leaves = 1000
	for i := range leaves {
		if err := g.add(t.Context(), 2*i, 2*i+1); err != nil {
			t.Fatal(err)
		}
	}
	for number := 0; number < 2*leaves; number += 37 {
		found, calls, documents, err := g.find(t.Context(), number)
		if !found || err != nil || calls > 4 || documents > 4 {
			t.Errorf("%d: found %v in %d calls for %d documents, %v", number, found, calls, documents, err)
		}
	}
	if found, calls, _, err := g.find(t.Context(), 2*leaves); found || calls != 0 || err != nil {
		t.Errorf("what is newer than the archive: found %v in %d calls, %v", found, calls, err)
	}
}

// A lost or broken archive document causes an error that names it. A changed head is noticed.
func TestADamagedTreeIsNoticed(t *testing.T) {
	g := newCountedArchive()
	for i := range 20 {
		if err := g.add(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
	// The leaf comes first: a search reads the damaged node above a leaf before it reads the leaf.
	for _, key := range []string{prefix + "/0-3", prefix + "/1-0"} {
		if key == prefix+"/0-3" {
			g.store.Remove(key)
		} else {
			g.store.Overwrite(key, []byte(`{"refs":["x"]}`))
		}
		if _, _, _, err := g.find(t.Context(), 3); !errors.Is(err, document.ErrArchive) || !strings.Contains(err.Error(), key) {
			t.Errorf("%s damaged: %v", key, err)
		}
	}
	a, err := g.archives.Get(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	a.Tree.Leaves++
	if a.Tree.Check() == "" {
		t.Error("a lost leaf is not noticed")
	}
	a.Tree.Levels[1] = a.Tree.Levels[1][1:]
	if got := a.Tree.Check(); !strings.Contains(got, "lacks the leaves 0 to 7") {
		t.Errorf("a lost node: %q", got)
	}
}

func TestATreeIsStoredAsText(t *testing.T) {
	const stored = `{"leaves":9,"levels":[["8 16 17"],["0 0 15"]]}`
	var tree document.Tree[extent]
	if err := json.Unmarshal([]byte(stored), &tree); err != nil {
		t.Fatal(err)
	}
	if again, err := json.Marshal(tree); string(again) != stored || err != nil {
		t.Errorf("%s, %v", again, err)
	}
	for _, bad := range []string{`{"levels":[[""]]}`, `{"levels":[["x 1 2"]]}`, `{"levels":[["1 x"]]}`} {
		if err := json.Unmarshal([]byte(bad), &tree); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}

// BenchmarkTreeSearch searches archives of rising size. On a real store, the cost of a search is its calls of the
// store.
func BenchmarkTreeSearch(b *testing.B) {
	for _, leaves := range []int{10, 100, 1_000, 10_000} {
		g := newCountedArchive()
		for i := range leaves {
			if err := g.add(b.Context(), i); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(fmt.Sprint(leaves), func(b *testing.B) {
			calls := 0
			for i := 0; b.Loop(); i++ {
				found, n, _, err := g.find(b.Context(), i*7919%leaves)
				if !found || err != nil {
					b.Fatal(found, err)
				}
				calls += n
			}
			b.ReportMetric(float64(calls)/float64(b.N), "calls/op")
		})
	}
}
