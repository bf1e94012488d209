package document_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"caravan/internal/clock"
	"caravan/internal/correlation"
	"caravan/internal/document"
	"caravan/internal/document/documenttest"
	"caravan/internal/event"
	"caravan/internal/id"
	"caravan/internal/problem"
)

func TestFakeStoreKeepsTheContract(t *testing.T) {
	documenttest.Contract(t, documenttest.NewStore())
}

type tally struct {
	document.Root
	Applied []string `json:"applied"`
}

func (d *tally) apply(operation string, now time.Time) error {
	if slices.Contains(d.Applied, operation) {
		return document.ErrUnchanged
	}
	d.Applied = append(d.Applied, operation)
	d.Emit("tally.applied.v1", now, map[string]string{"operation": operation})
	return nil
}

// A decision that panics fails alone. The other commands of its write are stored, and the process continues.
func TestAPanickingDecisionHarmsNobodyElse(t *testing.T) {
	store := documenttest.NewStore()
	first := make(chan struct{})
	store.BeforePut(func(string, []byte) error { <-first; return nil }) // holds the first write until the others wait
	repo := document.NewRepository[tally](store, document.Options{Prefix: "tally/", Source: "tallies", Clock: clock.System{}, IDs: id.Random{}})
	const others = 20
	errs := make([]error, others+1)
	var all, asked sync.WaitGroup
	for i := range errs {
		asked.Add(1)
		all.Go(func() {
			asked.Done()
			_, errs[i] = repo.Update(t.Context(), "a", func(d *tally) error {
				if i == others {
					d.Applied = append(d.Applied, "half done")
					panic("a bug")
				}
				return d.apply(fmt.Sprint(i), time.Now())
			})
		})
	}
	asked.Wait()
	close(first)
	all.Wait()
	var panicked *document.PanicError
	if err := errs[others]; !errors.As(err, &panicked) || panicked.Key != "tally/a" || !strings.Contains(string(panicked.Stack), "document_test") {
		t.Errorf("the panic became %v", err)
	}
	if err := errors.Join(errs[:others]...); err != nil {
		t.Error(err)
	}
	if doc, err := repo.Get(t.Context(), "a"); err != nil || len(doc.Applied) != others || slices.Contains(doc.Applied, "half done") {
		t.Errorf("stored %+v, %v", doc, err)
	}
}

// Documents of two kinds come with one read of the store.
func TestAmong(t *testing.T) {
	store := documenttest.NewStore()
	repo := document.NewRepository[tally](store, document.Options{Prefix: "tally/", Clock: clock.System{}, IDs: id.Random{}})
	other := document.NewRepository[tally](store, document.Options{Prefix: "other/", Clock: clock.System{}, IDs: id.Random{}})
	store.Overwrite(repo.Key("a"), []byte(`{"applied":["x"]}`))
	store.Overwrite(other.Key("a"), []byte(`{"applied":["y"]}`))
	store.Overwrite(repo.Key("b"), []byte(`not a document`))
	records, err := store.Get(t.Context(), repo.Key("a"), other.Key("a"), repo.Key("b"))
	if err != nil {
		t.Fatal(err)
	}
	one, err := repo.Among(records, "a")
	two, err2 := other.Among(records, "a")
	if err != nil || err2 != nil || !slices.Equal(one.Applied, []string{"x"}) || !slices.Equal(two.Applied, []string{"y"}) {
		t.Errorf("got %+v, %v and %+v, %v", one, err, two, err2)
	}
	if _, err := repo.Among(records, "c"); !errors.Is(err, document.ErrNotFound) {
		t.Errorf("one that is not there: %v", err)
	}
	if _, err := repo.Among(records, "b"); err == nil || errors.Is(err, document.ErrNotFound) {
		t.Errorf("one that cannot be read: %v", err)
	}
}

func TestAPanicOfTheStoreIsAnError(t *testing.T) {
	store := documenttest.NewStore()
	store.BeforePut(func(string, []byte) error { panic("a bug of the store") })
	repo := document.NewRepository[tally](store, document.Options{Prefix: "tally/", Clock: clock.System{}, IDs: id.Random{}})
	_, err := repo.Update(t.Context(), "a", func(d *tally) error { return d.apply("x", time.Now()) })
	var panicked *document.PanicError
	if !errors.As(err, &panicked) {
		t.Errorf("err = %v", err)
	}
}

type recorder struct {
	mu     sync.Mutex
	keys   []string
	events []event.Event
	fail   error
	// entered, if set, gets a value at each Append.
	entered chan struct{}
}

func (r *recorder) Append(_ context.Context, key string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys = append(r.keys, key)
	if r.entered != nil {
		r.entered <- struct{}{}
	}
	return r.fail
}

func (r *recorder) Publish(events []event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, events...)
}

func newTallies(store document.Store, r *recorder) *document.Repository[tally, *tally] {
	return document.NewRepository[tally](store, document.Options{
		Prefix: "tally/", Source: "tallies", Index: r, Relay: r, Clock: clock.System{}, IDs: id.Random{},
	})
}

func TestUpdateStoresStateAndEventTogether(t *testing.T) {
	store, rec := documenttest.NewStore(), &recorder{}
	repo := newTallies(store, rec)
	ctx := correlation.With(t.Context(), "corr-1")
	doc, err := repo.Update(ctx, "a", func(d *tally) error { return d.apply("one", time.Unix(1, 0)) })
	if err != nil {
		t.Fatal(err)
	}
	if doc.Revision != 1 || len(doc.Timeline) != 1 {
		t.Fatalf("stored %+v", doc)
	}
	e := doc.Timeline[0]
	if e.ID != "tallies/a/1" || e.CorrelationID != "corr-1" || e.Source != "tallies" || e.Subject != "a" {
		t.Errorf("event is %+v", e)
	}
	if !slices.Equal(rec.keys, []string{"tally/a"}) || len(rec.events) != 1 {
		t.Errorf("indexed %v, published %d", rec.keys, len(rec.events))
	}
	if _, err := repo.Update(ctx, "a", func(d *tally) error { return d.apply("one", time.Unix(2, 0)) }); err != nil {
		t.Fatal(err)
	}
	if got, _ := repo.Get(ctx, "a"); got.Revision != 1 || len(rec.events) != 1 {
		t.Errorf("a repeated operation wrote again: %+v", got)
	}
}

// An id that makes no valid key is not found. The store is not called, and the other documents are read.
func TestAnIDThatMakesNoKeyIsOfNothing(t *testing.T) {
	store, rec := documenttest.NewStore(), &recorder{}
	repo := newTallies(store, rec)
	if _, err := repo.Update(t.Context(), "a", func(d *tally) error { return d.apply("one", time.Now()) }); err != nil {
		t.Fatal(err)
	}
	store.BeforeGet(func(keys []string) error {
		if !slices.Equal(keys, []string{"tally/a"}) {
			t.Errorf("the store was asked for %q", keys)
		}
		return nil
	})
	for _, bad := range documenttest.BadKeys()[1:] {
		if got, err := repo.Get(t.Context(), bad); !errors.Is(err, document.ErrNotFound) {
			t.Errorf("Get(%+.40q) = %v, %v", bad, got, err)
		}
		if got, err := repo.GetMany(t.Context(), "a", bad); err != nil || len(got) != 1 || got["a"] == nil {
			t.Errorf("GetMany(a, %+.40q) = %v, %v", bad, got, err)
		}
		_, err := repo.Update(t.Context(), bad, func(d *tally) error { return d.apply("two", time.Now()) })
		if p := problem.From(err); !errors.Is(err, document.ErrKey) || event.Retriable(err) || p.Status != 404 {
			t.Errorf("Update(%+.40q): %v", bad, err)
		}
	}
	if got := store.Keys(); len(got) != 1 || len(rec.keys) != 1 {
		t.Errorf("stored %q, indexed %q", got, rec.keys)
	}
}

func TestNothingIsWrittenWhenTheIndexFails(t *testing.T) {
	for _, early := range []bool{false, true} {
		store, rec := documenttest.NewStore(), &recorder{fail: documenttest.ErrInjected}
		repo := newTallies(store, rec)
		if early {
			repo.IndexEarly()
		}
		_, err := repo.Update(t.Context(), "a", func(d *tally) error { return d.apply("one", time.Now()) })
		if !errors.Is(err, documenttest.ErrInjected) || len(store.Keys()) != 0 {
			t.Fatalf("early %v: err %v, keys %v", early, err, store.Keys())
		}
	}
}

// An early entry is made during the read, once, and is there before the write.
func TestIndexEarly(t *testing.T) {
	store, rec := documenttest.NewStore(), &recorder{entered: make(chan struct{}, 1)}
	store.BeforeGet(func([]string) error { <-rec.entered; return nil }) // hangs unless the entry is made at the same time
	var atWrite []string
	store.BeforePut(func(string, []byte) error { atWrite = slices.Clone(rec.keys); return nil })
	_, err := newTallies(store, rec).IndexEarly().Update(t.Context(), "a", func(d *tally) error { return d.apply("one", time.Now()) })
	if err != nil || !slices.Equal(atWrite, []string{"tally/a"}) || len(rec.keys) != 1 {
		t.Errorf("%v; entered %v before the write, and %v in all", err, atWrite, rec.keys)
	}
}

func TestARefusalLeavesTheCommandsBesideItAlone(t *testing.T) {
	store, rec := documenttest.NewStore(), &recorder{}
	repo := newTallies(store, rec)
	gate := make(chan struct{})
	store.BeforeGet(func([]string) error { <-gate; return nil })
	refusal := errors.New("refused")
	var all sync.WaitGroup
	errs := make([]error, 10)
	for i := range errs {
		all.Go(func() {
			_, errs[i] = repo.Update(t.Context(), "a", func(d *tally) error {
				if i%3 == 0 {
					d.Applied = append(d.Applied, "must not be stored")
					return refusal
				}
				return d.apply(fmt.Sprint(i), time.Now())
			})
		})
	}
	close(gate)
	all.Wait()
	doc, err := repo.Get(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	for i, err := range errs {
		if (i%3 == 0) != errors.Is(err, refusal) {
			t.Errorf("command %d ended with %v", i, err)
		}
	}
	if len(doc.Applied) != 6 || slices.Contains(doc.Applied, "must not be stored") {
		t.Errorf("applied %v", doc.Applied)
	}
}

// TestEveryOperationTakesEffectOnceWhateverTheStoreAnswers lets two replicas work on few documents. Their store loses
// replies and refuses writes.
func TestEveryOperationTakesEffectOnceWhateverTheStoreAnswers(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		store := documenttest.NewStore()
		var mu sync.Mutex
		dice := rand.New(rand.NewPCG(seed, 1))
		roll := func(percent int) bool {
			mu.Lock()
			defer mu.Unlock()
			return dice.IntN(100) < percent
		}
		store.BeforePut(func(string, []byte) error { return errorIf(roll(20)) })
		store.AfterPut(func(string, []byte) error { return errorIf(roll(20)) })
		rec := &recorder{}
		replicas := []*document.Repository[tally, *tally]{newTallies(store, rec), newTallies(store, rec)}
		var all sync.WaitGroup
		for i := range 40 {
			all.Go(func() {
				operation, owner := fmt.Sprint(i/2), fmt.Sprint(i%4/2) // each operation twice
				_, err := replicas[i%2].Update(t.Context(), owner, func(d *tally) error { return d.apply(operation, time.Now()) })
				if err != nil {
					rt.Errorf("update: %v", err)
				}
			})
		}
		all.Wait()
		total := 0
		for _, owner := range []string{"0", "1"} {
			doc, err := replicas[0].Get(t.Context(), owner)
			if err != nil {
				rt.Fatal(err)
			}
			if len(doc.Applied) != len(doc.Timeline) {
				rt.Errorf("%d operations and %d events", len(doc.Applied), len(doc.Timeline))
			}
			total += len(doc.Applied)
		}
		if total != 20 {
			rt.Errorf("%d operations applied; want 20", total)
		}
	})
}

func errorIf(yes bool) error {
	if yes {
		return documenttest.ErrInjected
	}
	return nil
}

func TestALongTimelineMovesToSegments(t *testing.T) {
	store, rec := documenttest.NewStore(), &recorder{}
	repo := newTallies(store, rec)
	for i := range 200 {
		if _, err := repo.Update(t.Context(), "a", func(d *tally) error { return d.apply(fmt.Sprint(i), time.Now()) }); err != nil {
			t.Fatal(err)
		}
	}
	doc, err := repo.Get(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if len(doc.Timeline) > 32 {
		t.Errorf("head holds %d events", len(doc.Timeline))
	}
	var all []event.Event
	for n := range doc.TimelineSegments {
		var part []event.Event
		found, err := document.ReadArchive(t.Context(), store, &doc.Root, document.TimelineSegmentKey("tally/a", n), &part)
		if err != nil || !found {
			t.Fatalf("segment %d: %v %v", n, found, err)
		}
		all = append(all, part...)
	}
	all = append(all, doc.Timeline...)
	for i, e := range all {
		if e.Sequence != int64(i+1) {
			t.Fatalf("event %d has sequence %d", i, e.Sequence)
		}
	}
	if len(all) != 200 {
		t.Errorf("%d events", len(all))
	}
}
