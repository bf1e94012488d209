package feed

import (
	"testing"
	"time"

	"caravan/internal/audit"
	"caravan/internal/document/documenttest"
	"caravan/internal/event"
)

// TestATrailIsWalkedPageByPage audits one document with a long timeline, whose index takes several pages to read.
func TestATrailIsWalkedPageByPage(t *testing.T) {
	clk, store := newClock(), documenttest.NewStore()
	index := NewIndex(store, clk, DefaultTiming(), "a")
	notes := newNotes(store, index, clk)
	for range 300 {
		if _, err := notes.Update(t.Context(), "a", emit(clk)); err != nil {
			t.Fatal(err)
		}
	}
	clk.Advance(24 * time.Hour)
	if err := index.Append(t.Context(), "note/b"); err != nil {
		t.Fatal(err)
	}
	clk.Advance(time.Hour)
	doc, err := notes.Get(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	trail := Trail{Store: store, Source: "notes", Coverage: NewCoverage(NewReader(store, clk, DefaultTiming()))}
	type position struct {
		Name string `json:"n"`
	}
	at := position{Name: "start"}
	page, ready, err := trail.Begin(t.Context(), "", &at, "own")
	if err != nil || ready || page.Next == "" {
		t.Fatalf("the first page is %+v, %t, %v", page, ready, err)
	}
	if _, known := page.Checked["own"]; !known || len(page.Checked) != 1+len(TrailInvariants) {
		t.Errorf("it knows %v", page.Checked)
	}
	for cursor := page.Next; !ready; cursor = page.Next {
		at = position{}
		if page, ready, err = trail.Begin(t.Context(), cursor, &at); err != nil || at.Name != "start" {
			t.Fatalf("at %+v: %v", at, err)
		}
	}
	if page.Next != "" {
		t.Errorf("a page that is ready goes on to %q", page.Next)
	}
	events := len(trail.Head(&page.Results, "note/a", "a", &doc.Root))
	count := func(of []event.Event) { events += len(of) }
	rounds := 0
	for next := int64(0); next < doc.TimelineSegments; rounds++ {
		budget := 2
		if next, err = trail.Segments(t.Context(), &page.Results, "note/a", "a", &doc.Root, next, &budget, count); err != nil {
			t.Fatal(err)
		}
	}
	if events != 300 || rounds != int(doc.TimelineSegments+1)/2 || len(page.Findings) > 0 || page.Checked[InvariantIndexed] != 300 {
		t.Errorf("%d events in %d rounds of %d segments; %+v", events, rounds, doc.TimelineSegments, page.Results)
	}
	if _, _, err := trail.Begin(t.Context(), "%%", &at); err == nil {
		t.Error("a cursor that is none is accepted")
	}
}

func TestReadIndexReadsAll(t *testing.T) {
	clk, store := newClock(), documenttest.NewStore()
	notes := newNotes(store, NewIndex(store, clk, DefaultTiming(), "a"), clk)
	trail := Trail{Store: store, Source: "notes", Coverage: NewCoverage(NewReader(store, clk, DefaultTiming()))}
	write := func(id string) {
		t.Helper()
		if _, err := notes.Update(t.Context(), id, emit(clk)); err != nil {
			t.Fatal(err)
		}
	}
	write("first")
	clk.Advance(24 * time.Hour)
	write("last")
	clk.Advance(time.Hour)
	if err := trail.ReadIndex(t.Context()); err != nil {
		t.Fatal(err)
	}
	doc, err := notes.Get(t.Context(), "last")
	if err != nil {
		t.Fatal(err)
	}
	var results audit.Results
	if trail.Head(&results, "note/last", "last", &doc.Root); results.Checked[InvariantIndexed] != 1 || len(results.Findings) > 0 {
		t.Errorf("%+v", results)
	}
}
