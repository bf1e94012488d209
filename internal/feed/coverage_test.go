package feed

import (
	"slices"
	"testing"
	"time"

	"caravan/internal/audit"
	"caravan/internal/document"
	"caravan/internal/document/documenttest"
)

// TestAQuietFeedIsReadInFewSteps reads a feed with two entries sixty days apart.
func TestAQuietFeedIsReadInFewSteps(t *testing.T) {
	clk, store := newClock(), documenttest.NewStore()
	notes := newNotes(store, NewIndex(store, clk, DefaultTiming(), "a"), clk)
	write := func(id string) {
		t.Helper()
		if _, err := notes.Update(t.Context(), id, emit(clk)); err != nil {
			t.Fatal(err)
		}
	}
	write("first")
	clk.Advance(60 * 24 * time.Hour)
	write("second")
	clk.Advance(time.Hour)
	reads := 0
	store.BeforeGet(func([]string) error { reads++; return nil })
	reader := NewReader(store, clk, DefaultTiming())
	var keys []string
	pages := 0
	for at, end := (Cursor{}), false; !end; pages++ {
		part, err := reader.Keys(t.Context(), at, 100, DefaultTiming().Settle)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range part.Buckets {
			keys = append(keys, b.Keys...)
		}
		if at, end = part.Next, part.End; part.Settled != at {
			t.Fatalf("settled is %v at %v", part.Settled, at)
		}
	}
	if !slices.Equal(keys, []string{"note/first", "note/second"}) {
		t.Errorf("the feed has %v", keys)
	}
	const buckets = 60 * 24 * 360
	if reads > buckets/skipAhead*11/10 || pages < buckets/skipMost {
		t.Errorf("%d reads on %d pages", reads, pages)
	}
}

func TestCoverageFindsEventsThatTheIndexDoesNotLeadTo(t *testing.T) {
	clk, store := newClock(), documenttest.NewStore()
	index := NewIndex(store, clk, DefaultTiming(), "a")
	indexed, forgotten := newNotes(store, index, clk), newNotes(store, nil, clk)
	coverage := NewCoverage(NewReader(store, clk, DefaultTiming()))
	check := func() audit.Results {
		t.Helper()
		coverage.Restart()
		for complete := false; !complete; {
			var err error
			if complete, err = coverage.Extend(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		var into audit.Results
		for _, id := range []string{"a", "b"} {
			n, err := indexed.Get(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			coverage.Check(&into, indexed.Key(id), n.Timeline)
		}
		return into
	}
	write := func(notes *document.Repository[note, *note], id string) {
		t.Helper()
		if _, err := notes.Update(t.Context(), id, emit(clk)); err != nil {
			t.Fatal(err)
		}
	}
	write(forgotten, "b")
	clk.Advance(time.Hour)
	write(indexed, "a")
	if r := check(); len(r.Findings) != 1 || r.Checked[InvariantIndexed] != 1 {
		t.Errorf("with a young event: %+v", r)
	}
	clk.Advance(time.Hour)
	write(indexed, "b") // an entry of the document at another time does not help
	clk.Advance(time.Hour)
	r := check()
	if len(r.Findings) != 1 || r.Findings[0].Key != "notes/b/1" || r.Checked[InvariantIndexed] != 3 {
		t.Errorf("found %+v", r)
	}
}

func TestCoverageOfAFeedThatNeverBegan(t *testing.T) {
	clk, store := newClock(), documenttest.NewStore()
	notes := newNotes(store, nil, clk)
	n, err := notes.Update(t.Context(), "a", emit(clk))
	if err != nil {
		t.Fatal(err)
	}
	clk.Advance(time.Hour)
	coverage := NewCoverage(NewReader(store, clk, DefaultTiming()))
	if complete, err := coverage.Extend(t.Context()); err != nil || !complete {
		t.Fatal(complete, err)
	}
	var into audit.Results
	coverage.Check(&into, "note/a", n.Timeline)
	if len(into.Findings) != 1 {
		t.Errorf("found %+v", into)
	}
}

// TestCoverageThatBeginsAgainDuringAReadIsNotComplete begins an audit while another one reads on. What was read on then says nothing
// about the part before it.
func TestCoverageThatBeginsAgainDuringAReadIsNotComplete(t *testing.T) {
	clk, store := newClock(), documenttest.NewStore()
	notes := newNotes(store, NewIndex(store, clk, DefaultTiming(), "a"), clk)
	doc, err := notes.Update(t.Context(), "a", emit(clk))
	if err != nil {
		t.Fatal(err)
	}
	clk.Advance(time.Hour)
	coverage := NewCoverage(NewReader(store, clk, DefaultTiming()))
	for complete := false; !complete; {
		if complete, err = coverage.Extend(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	clk.Advance(time.Minute)
	store.BeforeGet(func([]string) error {
		store.BeforeGet(nil)
		coverage.Restart()
		return nil
	})
	if _, err := coverage.Extend(t.Context()); err != nil {
		t.Fatal(err)
	}
	var results audit.Results
	if coverage.Check(&results, "note/a", doc.Timeline); len(results.Findings) > 0 {
		t.Errorf("it finds %+v", results.Findings)
	}
}
