package deadletter_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"caravan/internal/deadletter"
	"caravan/internal/document"
)

const lease = 15 * time.Second

// TestABatchHasOneWorkerAndOneEnd runs workers, a cancellation and the clock in any order. Each part of the work is
// counted once, by the worker with the claim, and the end is final.
func TestABatchHasOneWorkerAndOneEnd(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := &deadletter.Batch{}
		now := noon
		must(rt, b.Start(deadletter.Batch{ID: "b", Fingerprint: "f", PerSecond: 5}, now))
		b.Revision = 1
		done, ended := 0, deadletter.BatchStatus("")
		holder, until := "", time.Time{}
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			worker := rapid.SampledFrom([]string{"v", "w"}).Draw(rt, "worker")
			switch rapid.SampledFrom([]string{"claim", "advance", "advance", "end", "cancel", "time"}).Draw(rt, "step") {
			case "claim":
				err := b.Claim(worker, now, lease)
				switch {
				case ended != "":
					expect(rt, err, deadletter.ErrBatchEnded)
				case holder != worker && now.Before(until):
					expect(rt, err, deadletter.ErrBatchTaken)
				default:
					must(rt, err)
					holder, until = worker, now.Add(lease)
				}
			case "advance":
				err := b.Advance(worker, deadletter.Progress{Scanned: 2, Done: 1, Failures: []deadletter.BatchFailure{{Letter: "l"}}}, "more", now, lease)
				if holder != worker {
					expect(rt, err, deadletter.ErrBatchTaken)
					break
				}
				must(rt, err)
				done++
				if until = now.Add(lease); ended != "" {
					holder = ""
				}
			case "end":
				err := b.Advance(worker, deadletter.Progress{Scanned: 2, Done: 1}, "", now, lease)
				if holder != worker {
					expect(rt, err, deadletter.ErrBatchTaken)
					break
				}
				must(rt, err)
				done++
				if holder = ""; ended == "" {
					ended = deadletter.BatchFinished
				}
			case "cancel":
				switch err := b.Cancel("ada", now); ended {
				case "":
					must(rt, err)
					ended = deadletter.BatchCancelled
				case deadletter.BatchCancelled:
					expect(rt, err, document.ErrUnchanged)
				default:
					expect(rt, err, deadletter.ErrBatchEnded)
				}
			case "time":
				now = now.Add(time.Duration(rapid.IntRange(0, 20).Draw(rt, "seconds")) * time.Second)
			}
			if b.Done != done || b.Scanned != 2*done || len(b.Failures) > 20 || (b.Status == deadletter.BatchRunning) != (ended == "") || ended != "" && b.Status != ended {
				rt.Fatalf("%d done, ended %q: %+v", done, ended, b)
			}
		}
	})
}

func TestStartingABatchAgain(t *testing.T) {
	b := &deadletter.Batch{}
	must(t, b.Start(deadletter.Batch{ID: "b", Fingerprint: "f"}, noon))
	b.Revision = 1
	expect(t, b.Start(deadletter.Batch{ID: "b", Fingerprint: "f"}, noon.Add(1)), document.ErrUnchanged)
	expect(t, b.Start(deadletter.Batch{ID: "b", Fingerprint: "g"}, noon), deadletter.ErrOperation)
	none := &deadletter.Batch{}
	expect(t, none.Claim("w", noon, lease), document.ErrNotFound)
	expect(t, none.Advance("w", deadletter.Progress{}, "", noon, lease), document.ErrNotFound)
	expect(t, none.Cancel("ada", noon), document.ErrNotFound)
}

func TestActiveBatchesHaveABound(t *testing.T) {
	a := &deadletter.ActiveBatches{}
	for n := range 8 {
		must(t, a.Enter(fmt.Sprint(n), noon))
	}
	expect(t, a.Enter("0", noon), document.ErrUnchanged)
	expect(t, a.Enter("8", noon), deadletter.ErrTooManyBatches)
	must(t, a.Leave("3"))
	expect(t, a.Leave("3"), document.ErrUnchanged)
	must(t, a.Enter("8", noon))
	if len(a.Batches) != 8 || a.Batches[3].ID != "4" {
		t.Errorf("active are %+v", a.Batches)
	}
}

func must(t interface {
	Helper()
	Fatalf(string, ...any)
}, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("err = %v", err)
	}
}

func expect(t interface {
	Helper()
	Fatalf(string, ...any)
}, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("err = %v; want %v", err, want)
	}
}
