package deadletter_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"caravan/internal/deadletter"
	"caravan/internal/document"
	"caravan/internal/document/documenttest"
	"caravan/internal/event"
)

// moving is a clock that moves only in Sleep. It records how long the sleeps were.
type moving struct {
	process
	mu    *sync.Mutex
	at    *time.Time
	slept *[]time.Duration
}

func newMoving(p process) moving {
	at := noon
	return moving{p, &sync.Mutex{}, &at, &[]time.Duration{}}
}

func (m moving) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return *m.at
}

func (m moving) Sleep(ctx context.Context, d time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	*m.at = m.at.Add(d)
	*m.slept = append(*m.slept, d)
	return m.process.Sleep(ctx, d)
}

func (m moving) advance(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	*m.at = m.at.Add(d)
}

// queue is the queue of the process with this clock.
func (m moving) queue() *deadletter.Queue { return queueOver(m.process, m) }

// broken makes events of users fail permanently, because their inboxes cannot be read. repair ends that.
func broken(store *documenttest.FakeStore, users ...string) (repair func()) {
	var mu sync.Mutex
	away := true
	store.BeforeGet(func(keys []string) error {
		mu.Lock()
		defer mu.Unlock()
		for _, user := range users {
			if away && keys[0] == "inbox/"+user {
				return fmt.Errorf("decoding document %s: it is broken", keys[0])
			}
		}
		return nil
	})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		away = false
	}
}

// dead turns events into dead letters, as a consumer that cannot handle them does.
func dead(t testing.TB, n *deadletter.Queue, events ...event.Event) {
	t.Helper()
	for _, e := range events {
		err := n.Handle(t.Context(), e)
		if err == nil || event.Retriable(err) {
			t.Fatalf("delivering %s: %v", e.ID, err)
		}
		if err := n.DeadLetter(t.Context(), e, err); err != nil {
			t.Fatal(err)
		}
	}
}

func replayAll(key string, f deadletter.Filter, perSecond int) deadletter.BatchRequest {
	return deadletter.BatchRequest{Kind: deadletter.BatchReplay, Filter: f, PerSecond: perSecond, Reason: "repaired", By: "ada", Key: key, Fingerprint: fmt.Sprint(f, perSecond)}
}

// active returns the entry by which a worker finds a batch.
func active(b *deadletter.Batch) deadletter.ActiveBatch {
	return deadletter.ActiveBatch{ID: b.ID, At: b.RequestedAt}
}

func TestABatchReplaysAllThatItsFilterChoosesAtItsRate(t *testing.T) {
	store := documenttest.NewStore()
	repair := broken(store, "u1", "u2")
	clock := newMoving(replica(store, "a"))
	n := clock.queue()
	events, others := orderEvents("u1", 30), orderEvents("u2", 5)
	dead(t, n, append(slices.Clone(events), others...)...)
	poison := orderEvent("u1", 77, noon)
	poison.Data = []byte(`{}`)
	if err := n.DeadLetter(t.Context(), poison, errors.New("about inbox/u1, too")); err != nil {
		t.Fatal(err)
	}
	repair()
	start := clock.Now()
	batch, err := n.StartBatch(t.Context(), replayAll("k", deadletter.Filter{Reason: "inbox/u1"}, 5))
	if err != nil {
		t.Fatal(err)
	}
	*clock.at = clock.at.Add(time.Second)
	late := orderEvent("u1", 99, noon)
	if err := n.DeadLetter(t.Context(), late, errors.New("about inbox/u1, later")); err != nil {
		t.Fatal(err)
	}
	if err := deadletter.NewBatchWorker(n).Work(t.Context(), active(batch)); err != nil {
		t.Fatal(err)
	}
	batch, err = n.ShowBatch(t.Context(), deadletter.BatchReplay, batch.ID)
	if err != nil || batch.Status != deadletter.BatchFinished || batch.Done != 30 || batch.Failed != 1 || batch.Scanned != 36 {
		t.Fatalf("the batch is %+v, %v", batch, err)
	}
	if f := batch.Failures; len(f) != 1 || f[0].Letter != deadletter.ID(poison.ID) || !strings.Contains(f[0].Reason, "orderId") {
		t.Errorf("failures are %+v", f)
	}
	// 31 letters at 5 a second: the first at once, each other 200 ms after the one before.
	if took := clock.Now().Sub(start) - time.Second; took < 30*time.Second/5 {
		t.Errorf("31 letters at 5 a second took %s", took)
	}
	letters := listed(t, n, deadletter.Filter{Status: deadletter.StatusOpen})
	if len(letters) != 7 { // those of u2, the poison message and the one that came later
		t.Errorf("%d letters are open", len(letters))
	}
	for _, l := range listed(t, n, deadletter.Filter{Status: deadletter.StatusReplayed}) {
		if a := l.History[len(l.History)-1]; len(l.History) != 2 || a.Kind != deadletter.ActionReplayed || a.By != "ada" || a.Reason != "repaired" || a.Operation != batch.ID {
			t.Errorf("history is %+v", l.History)
		}
	}
	if err := exactlyOnce(t.Context(), n, map[string][]event.Event{"u1": events}); err != nil {
		t.Error(err)
	}
	if again, err := n.StartBatch(t.Context(), replayAll("k", deadletter.Filter{Reason: "inbox/u1"}, 5)); err != nil || again.Done != 30 {
		t.Errorf("the same request again is %+v, %v", again, err)
	}
	if _, err := n.StartBatch(t.Context(), replayAll("k", deadletter.Filter{}, 5)); !errors.Is(err, deadletter.ErrOperation) {
		t.Errorf("another request with the key: %v", err)
	}
	if _, err := n.ShowBatch(t.Context(), deadletter.BatchDiscard, batch.ID); !errors.Is(err, document.ErrNotFound) {
		t.Errorf("shown as a discard: %v", err)
	}
}

// listed reads all pages of a search.
func listed(t testing.TB, n *deadletter.Queue, f deadletter.Filter) []*deadletter.Letter {
	t.Helper()
	var all []*deadletter.Letter
	for cursor := ""; ; {
		page, next, err := n.List(t.Context(), f, cursor, 7)
		if err != nil || len(page) > 7 {
			t.Fatalf("a page of %d, %v", len(page), err)
		}
		all = append(all, page...)
		if cursor = next; cursor == "" {
			return all
		}
	}
}

func TestABatchDiscards(t *testing.T) {
	store := documenttest.NewStore()
	n := newMoving(replica(store, "a")).queue()
	for i := range 20 {
		if err := n.Receive(t.Context(), fmt.Append(nil, "garbage ", i)); err != nil {
			t.Fatal(err)
		}
	}
	batch, err := n.StartBatch(t.Context(), deadletter.BatchRequest{Kind: deadletter.BatchDiscard, PerSecond: 100, Reason: "a test's", By: "ada", Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	if err := deadletter.NewBatchWorker(n).Work(t.Context(), active(batch)); err != nil {
		t.Fatal(err)
	}
	all := listed(t, n, deadletter.Filter{})
	for _, l := range all {
		if l.Status != deadletter.StatusDiscarded || l.Note != "a test's" || l.DecidedBy != "ada" {
			t.Errorf("a letter is %+v", l)
		}
	}
	list, _, err := n.ListBatches(t.Context(), deadletter.BatchDiscard, "", 10)
	if err != nil || len(all) != 20 || len(list) != 1 || list[0].Done != 20 || list[0].Status != deadletter.BatchFinished {
		t.Errorf("%d letters, batches %+v, %v", len(all), list, err)
	}
}

func TestACancelledBatchStops(t *testing.T) {
	store := documenttest.NewStore()
	repair := broken(store, "u1")
	clock := newMoving(replica(store, "a"))
	n := clock.queue()
	dead(t, n, orderEvents("u1", 30)...)
	repair()
	batch, err := n.StartBatch(t.Context(), replayAll("k", deadletter.Filter{}, 1))
	if err != nil {
		t.Fatal(err)
	}
	replayed := 0
	store.AfterPut(func(key string, value []byte) error {
		if strings.HasPrefix(key, "inbox/") {
			if replayed++; replayed == 5 {
				if _, err := n.CancelBatch(t.Context(), deadletter.BatchReplay, batch.ID, "bob"); err != nil {
					t.Error(err)
				}
			}
		}
		return nil
	})
	if err := deadletter.NewBatchWorker(n).Work(t.Context(), active(batch)); err != nil {
		t.Fatal(err)
	}
	store.AfterPut(nil)
	got, err := n.CancelBatch(t.Context(), deadletter.BatchReplay, batch.ID, "eve")
	if err != nil || got.Status != deadletter.BatchCancelled || got.EndedBy != "bob" {
		t.Fatalf("the batch is %+v, %v", got, err)
	}
	if got.Done < 5 || got.Done == 30 || got.Done != len(listed(t, n, deadletter.Filter{Status: deadletter.StatusReplayed})) {
		t.Errorf("it replayed %d", got.Done)
	}
	if err := deadletter.NewBatchWorker(n).Work(t.Context(), active(batch)); err != nil {
		t.Errorf("working on it: %v", err)
	}
}

func TestSoManyBatchesAtATime(t *testing.T) {
	n := replica(documenttest.NewStore(), "a").queue()
	var err error
	for i := 0; err == nil && i < 100; i++ {
		_, err = n.StartBatch(t.Context(), replayAll(fmt.Sprint("k", i), deadletter.Filter{}, 1))
	}
	if !errors.Is(err, deadletter.ErrTooManyBatches) {
		t.Errorf("err = %v", err)
	}
}

// A batch waits when a failure is temporary. It counts a permanent failure once, and continues.
func TestABatchRepeatsWhatFailsForAMoment(t *testing.T) {
	for _, c := range []struct {
		fails        int
		done, failed int
	}{{3, 2, 0}, {1000, 1, 1}} {
		store := documenttest.NewStore()
		repair := broken(store, "u1", "u2")
		clock := newMoving(replica(store, "a"))
		n := clock.queue()
		dead(t, n, orderEvent("u1", 1, noon), orderEvent("u2", 1, noon))
		repair()
		left := c.fails
		store.BeforeGet(func(keys []string) error {
			if keys[0] == "inbox/u2" && left > 0 {
				left--
				return temporary{}
			}
			return nil
		})
		batch, err := n.StartBatch(t.Context(), replayAll("k", deadletter.Filter{}, 100))
		if err != nil {
			t.Fatal(err)
		}
		if err := deadletter.NewBatchWorker(n).Work(t.Context(), active(batch)); err != nil {
			t.Fatal(err)
		}
		if batch, err = n.ShowBatch(t.Context(), deadletter.BatchReplay, batch.ID); err != nil || batch.Done != c.done || batch.Failed != c.failed {
			t.Errorf("after %d failures it is %+v, %v", c.fails, batch, err)
		}
	}
}
