package document_test

import (
	"fmt"
	"testing"
	"time"

	"caravan/internal/audit"
	"caravan/internal/document"
	"caravan/internal/document/documenttest"
)

func TestAuditOfATimelineFindsGapsAndLostSegments(t *testing.T) {
	store := documenttest.NewStore()
	repo := newTallies(store, &recorder{})
	for i := range 100 {
		if _, err := repo.Update(t.Context(), "a", func(d *tally) error { return d.apply(fmt.Sprint(i), time.Now()) }); err != nil {
			t.Fatal(err)
		}
	}
	check := func(change func(*tally)) audit.Results {
		t.Helper()
		doc, err := repo.Get(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		change(doc)
		var into audit.Results
		events := len(document.AuditTimeline(&into, "tally/a", "tallies", "a", &doc.Root))
		for n := range doc.TimelineSegments {
			segment, err := document.AuditTimelineSegment(t.Context(), store, &into, "tally/a", "tallies", "a", &doc.Root, n)
			if err != nil {
				t.Fatal(err)
			}
			events += len(segment)
		}
		if len(into.Findings) == 0 && events != 100 {
			t.Errorf("%d events", events)
		}
		return into
	}
	if r := check(func(*tally) {}); len(r.Findings) > 0 || r.Checked[document.InvariantTimeline] < 100 {
		t.Errorf("a sound timeline: %+v", r)
	}
	for name, change := range map[string]func(*tally){
		"an event that is gone":    func(d *tally) { d.Timeline = d.Timeline[1:] },
		"the last event is gone":   func(d *tally) { d.Timeline = d.Timeline[:len(d.Timeline)-1] },
		"another event's id":       func(d *tally) { d.Timeline[2].ID = "tallies/b/3" },
		"a segment that never was": func(d *tally) { d.TimelineSegments++ },
	} {
		if r := check(change); len(r.Findings) == 0 {
			t.Errorf("%s is not found", name)
		}
	}
}
