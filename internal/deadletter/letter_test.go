package deadletter_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"caravan/internal/deadletter"
	"caravan/internal/document"
)

// letterModel is the expected state of a dead letter, in the simplest form.
type letterModel struct {
	status   deadletter.Status
	attempts int
	note, by string
	done     map[string]deadletter.Action // by operation
	order    []string                     // operations, oldest first
}

// TestTheLifeOfADeadLetter applies actions to a letter in any order, with repeats, and compares it with a model:
// decisions are final, repeats change nothing, every action leaves a trace, and the stored history is limited.
func TestTheLifeOfADeadLetter(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := &deadletter.Letter{}
		m := letterModel{done: make(map[string]deadletter.Action)}
		actions := rapid.IntRange(1, 90).Draw(rt, "actions")
		for n := range actions {
			now := noon.Add(time.Duration(n) * time.Second)
			a := deadletter.Action{
				Operation: fmt.Sprint("op-", rapid.IntRange(0, 70).Draw(rt, "operation")), At: now,
				By: rapid.SampledFrom([]string{"ada", "bob"}).Draw(rt, "by"), Reason: rapid.SampledFrom([]string{"", "why"}).Draw(rt, "reason"),
			}
			before := snapshot(d)
			kind := rapid.SampledFrom([]string{"receive", "fail", "fail", "fail", "fail", "fail", "fail", "replay", "discard"}).Draw(rt, "kind")
			if n < actions*2/3 && kind != "receive" {
				kind = "fail" // a decision ends the letter, so decisions come late
			}
			err := m.do(d, kind, a, now)
			if err != nil && snapshot(d) != before {
				rt.Fatalf("%s changed the letter although it ended in %v", kind, err)
			}
			if err == nil {
				d.Revision++
			}
			m.compare(rt, d)
		}
	})
}

func snapshot(d *deadletter.Letter) string {
	raw, err := json.Marshal(d)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// do applies an action to letter and model, and returns the letter's answer. It panics when the model disagrees.
func (m *letterModel) do(d *deadletter.Letter, kind string, a deadletter.Action, now time.Time) (err error) {
	var want error
	switch known, repeat := m.done[a.Operation]; {
	case kind == "receive" && m.status != "":
		want = document.ErrUnchanged
	case kind == "receive":
	case m.status == "":
		want = document.ErrNotFound
	case repeat && (known.Reason != a.Reason || (known.Kind == deadletter.ActionDiscarded) != (kind == "discard")):
		want = deadletter.ErrOperation
	case repeat, kind == "fail" && m.status != deadletter.StatusOpen, kind == "replay" && m.status == deadletter.StatusReplayed,
		kind == "discard" && m.status == deadletter.StatusDiscarded:
		want = document.ErrUnchanged
	case kind == "replay" && m.status == deadletter.StatusDiscarded:
		want = deadletter.ErrDiscarded
	case kind == "discard" && m.status == deadletter.StatusReplayed:
		want = deadletter.ErrReplayed
	}
	switch kind {
	case "receive":
		err = d.Receive(deadletter.Message{ID: "l", Consumer: "notifications", Reason: "died"}, "entry", 7, now)
		a = deadletter.Action{Operation: "entry", Kind: deadletter.ActionReceived}
	case "fail":
		a.Outcome = "still dead"
		err, a.Kind = d.Failed(a), deadletter.ActionFailed
	case "replay":
		err, a.Kind = d.Replayed(a), deadletter.ActionReplayed
	case "discard":
		err, a.Kind = d.Discard(a), deadletter.ActionDiscarded
	}
	if !errors.Is(err, want) {
		panic(fmt.Sprintf("%s by %s of a letter that is %q: %v; want %v", kind, a.Operation, m.status, err, want))
	}
	if err == nil {
		m.apply(a)
	}
	return err
}

func (m *letterModel) apply(a deadletter.Action) {
	m.done[a.Operation] = a
	if m.order = append(m.order, a.Operation); len(m.order) > 50 {
		delete(m.done, m.order[1])
		m.order = slices.Delete(m.order, 1, 2)
	}
	switch a.Kind {
	case deadletter.ActionReceived:
		m.status, m.attempts = deadletter.StatusOpen, 7
	case deadletter.ActionFailed:
		m.attempts++
	case deadletter.ActionReplayed:
		m.status, m.by = deadletter.StatusReplayed, a.By
		m.attempts++
	case deadletter.ActionDiscarded:
		m.status, m.by, m.note = deadletter.StatusDiscarded, a.By, a.Reason
	}
}

func (m *letterModel) compare(rt *rapid.T, d *deadletter.Letter) {
	if d.Status != m.status || d.Attempts != m.attempts || d.DecidedBy != m.by || d.Note != m.note || d.DecidedAt.IsZero() != (m.by == "") {
		rt.Fatalf("it is %+v; want %+v", d, m)
	}
	var order []string
	for _, a := range d.History {
		order = append(order, a.Operation)
		if want := m.done[a.Operation]; a.Kind != want.Kind || a.By != want.By && a.Kind != deadletter.ActionReceived || a.Reason != want.Reason || a.At.IsZero() {
			rt.Fatalf("it remembers %+v; want %+v", a, want)
		}
	}
	if !slices.Equal(order, m.order) {
		rt.Fatalf("it remembers %v; want %v", order, m.order)
	}
	if len(d.History) > 0 && (d.History[0].Kind != deadletter.ActionReceived || d.History[0].By != "notifications") {
		rt.Fatalf("its history begins with %+v", d.History[0])
	}
}

func TestFilter(t *testing.T) {
	d := &deadletter.Letter{
		Message: deadletter.Message{Consumer: "notifications", Topic: "orders", Type: "orders.confirmed.v2", Reason: "Unknown version"},
		Status:  deadletter.StatusOpen, FirstSeen: noon, LastFailure: "still an unknown thing",
	}
	for _, c := range []struct {
		filter deadletter.Filter
		fits   bool
	}{
		{deadletter.Filter{}, true},
		{deadletter.Filter{Status: deadletter.StatusOpen, Consumer: "notifications", Topic: "orders", Type: "orders.confirmed.v2", Reason: "unknown VERSION", Since: noon, Until: noon.Add(1)}, true},
		{deadletter.Filter{Reason: "thing"}, true},
		{deadletter.Filter{Reason: "payload"}, false},
		{deadletter.Filter{Status: deadletter.StatusReplayed}, false},
		{deadletter.Filter{Consumer: "orders"}, false},
		{deadletter.Filter{Topic: "users"}, false},
		{deadletter.Filter{Type: "orders.confirmed"}, false},
		{deadletter.Filter{Since: noon.Add(1)}, false},
		{deadletter.Filter{Until: noon}, false},
	} {
		if c.filter.Matches(d) != c.fits {
			t.Errorf("%+v: %v", c.filter, !c.fits)
		}
	}
}
