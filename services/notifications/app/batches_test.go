package app_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"caravan/internal/document"
	"caravan/internal/document/documenttest"
	"caravan/internal/event"
	"caravan/services/notifications/app"
	"caravan/services/notifications/domain"
)

// moving is a clock that moves only while somebody sleeps. Sleeping it notes how long.
type moving struct {
	*process
	mu    *sync.Mutex
	at    *time.Time
	slept *[]time.Duration
}

func newMoving(p *process) moving {
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

// notifications are those of the process, over the clock.
func (m moving) notifications() *app.Notifications {
	ports := m.ports()
	ports.Clock = m
	return app.New(ports)
}

// broken makes events of users fail for good while their inboxes cannot be read, and returns what repairs them.
func broken(store *documenttest.FakeStore, users ...string) (repair func()) {
	var mu sync.Mutex
	away := true
	store.BeforeGet = func(keys []string) error {
		mu.Lock()
		defer mu.Unlock()
		for _, user := range users {
			if away && keys[0] == "inbox/"+user {
				return fmt.Errorf("decoding document %s: it is broken", keys[0])
			}
		}
		return nil
	}
	return func() {
		mu.Lock()
		defer mu.Unlock()
		away = false
	}
}

// dead makes dead letters of events, as a consumer that cannot handle them does.
func dead(t testing.TB, n *app.Notifications, events ...event.Event) {
	t.Helper()
	for _, e := range events {
		err := n.Deliver(t.Context(), e)
		if err == nil || event.Retriable(err) {
			t.Fatalf("delivering %s: %v", e.ID, err)
		}
		if err := n.PutAway(t.Context(), e, err); err != nil {
			t.Fatal(err)
		}
	}
}

func replayAll(key string, f domain.LetterFilter, perSecond int) app.BatchRequest {
	return app.BatchRequest{Kind: domain.BatchReplay, Filter: f, PerSecond: perSecond, Reason: "repaired", By: "ada", Key: key, Fingerprint: fmt.Sprint(f, perSecond)}
}

// active is what a worker finds of a batch.
func active(b *domain.Batch) domain.ActiveBatch {
	return domain.ActiveBatch{ID: b.ID, At: b.RequestedAt}
}

func TestABatchReplaysAllThatItsFilterChoosesAtItsRate(t *testing.T) {
	store := documenttest.NewStore()
	repair := broken(store, "u1", "u2")
	clock := newMoving(replica(store, "a"))
	n := clock.notifications()
	events, others := orderEvents("u1", 30), orderEvents("u2", 5)
	dead(t, n, append(slices.Clone(events), others...)...)
	poison := orderEvent("u1", 77, noon)
	poison.Data = []byte(`{}`)
	if err := n.PutAway(t.Context(), poison, errors.New("about inbox/u1, too")); err != nil {
		t.Fatal(err)
	}
	repair()
	start := clock.Now()
	batch, err := n.StartBatch(t.Context(), replayAll("k", domain.LetterFilter{Reason: "inbox/u1"}, 5))
	if err != nil {
		t.Fatal(err)
	}
	*clock.at = clock.at.Add(time.Second)
	late := orderEvent("u1", 99, noon)
	if err := n.PutAway(t.Context(), late, errors.New("about inbox/u1, later")); err != nil {
		t.Fatal(err)
	}
	if err := app.NewBatchWorker(n).Work(t.Context(), active(batch)); err != nil {
		t.Fatal(err)
	}
	batch, err = n.ShowBatch(t.Context(), domain.BatchReplay, batch.ID)
	if err != nil || batch.Status != domain.BatchFinished || batch.Done != 30 || batch.Failed != 1 || batch.Scanned != 36 {
		t.Fatalf("the batch is %+v, %v", batch, err)
	}
	if f := batch.Failures; len(f) != 1 || f[0].Letter != domain.LetterID(poison) || !strings.Contains(f[0].Reason, "orderId") {
		t.Errorf("failures are %+v", f)
	}
	// 31 letters at 5 a second: the first at once, each other 200 ms after the one before.
	if took := clock.Now().Sub(start) - time.Second; took < 30*time.Second/5 {
		t.Errorf("31 letters at 5 a second took %s", took)
	}
	letters := listed(t, n, domain.LetterFilter{Status: domain.LetterOpen})
	if len(letters) != 7 { // of u2, the poison and the one that came later
		t.Errorf("%d letters are open", len(letters))
	}
	for _, l := range listed(t, n, domain.LetterFilter{Status: domain.LetterReplayed}) {
		if a := l.History[len(l.History)-1]; len(l.History) != 2 || a.Kind != domain.ActionReplayed || a.By != "ada" || a.Reason != "repaired" || a.Operation != batch.ID {
			t.Errorf("history is %+v", l.History)
		}
	}
	if err := exactlyOnce(t.Context(), n, map[string][]event.Event{"u1": events}); err != nil {
		t.Error(err)
	}
	if again, err := n.StartBatch(t.Context(), replayAll("k", domain.LetterFilter{Reason: "inbox/u1"}, 5)); err != nil || again.Done != 30 {
		t.Errorf("the same request again is %+v, %v", again, err)
	}
	if _, err := n.StartBatch(t.Context(), replayAll("k", domain.LetterFilter{}, 5)); !errors.Is(err, domain.ErrOperation) {
		t.Errorf("another request with the key: %v", err)
	}
	if _, err := n.ShowBatch(t.Context(), domain.BatchDiscard, batch.ID); !errors.Is(err, document.ErrNotFound) {
		t.Errorf("shown as a discard: %v", err)
	}
}

// listed reads all pages of a search.
func listed(t testing.TB, n *app.Notifications, f domain.LetterFilter) []*domain.DeadLetter {
	t.Helper()
	var all []*domain.DeadLetter
	for cursor := ""; ; {
		page, next, err := n.ListDeadLetters(t.Context(), f, cursor, 7)
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
	n := newMoving(replica(store, "a")).notifications()
	for i := range 20 {
		if err := n.ReceiveDeadLetter(t.Context(), fmt.Append(nil, "garbage ", i)); err != nil {
			t.Fatal(err)
		}
	}
	batch, err := n.StartBatch(t.Context(), app.BatchRequest{Kind: domain.BatchDiscard, PerSecond: 100, Reason: "a test's", By: "ada", Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	if err := app.NewBatchWorker(n).Work(t.Context(), active(batch)); err != nil {
		t.Fatal(err)
	}
	all := listed(t, n, domain.LetterFilter{})
	for _, l := range all {
		if l.Status != domain.LetterDiscarded || l.Note != "a test's" || l.DecidedBy != "ada" {
			t.Errorf("a letter is %+v", l)
		}
	}
	list, _, err := n.ListBatches(t.Context(), domain.BatchDiscard, "", 10)
	if err != nil || len(all) != 20 || len(list) != 1 || list[0].Done != 20 || list[0].Status != domain.BatchFinished {
		t.Errorf("%d letters, batches %+v, %v", len(all), list, err)
	}
}

func TestACancelledBatchStops(t *testing.T) {
	store := documenttest.NewStore()
	repair := broken(store, "u1")
	clock := newMoving(replica(store, "a"))
	n := clock.notifications()
	dead(t, n, orderEvents("u1", 30)...)
	repair()
	batch, err := n.StartBatch(t.Context(), replayAll("k", domain.LetterFilter{}, 1))
	if err != nil {
		t.Fatal(err)
	}
	replayed := 0
	store.AfterPut = func(key string, value []byte) error {
		if strings.HasPrefix(key, "inbox/") {
			if replayed++; replayed == 5 {
				if _, err := n.CancelBatch(t.Context(), domain.BatchReplay, batch.ID, "bob"); err != nil {
					t.Error(err)
				}
			}
		}
		return nil
	}
	if err := app.NewBatchWorker(n).Work(t.Context(), active(batch)); err != nil {
		t.Fatal(err)
	}
	store.AfterPut = nil
	got, err := n.CancelBatch(t.Context(), domain.BatchReplay, batch.ID, "eve")
	if err != nil || got.Status != domain.BatchCancelled || got.EndedBy != "bob" {
		t.Fatalf("the batch is %+v, %v", got, err)
	}
	if got.Done < 5 || got.Done == 30 || got.Done != len(listed(t, n, domain.LetterFilter{Status: domain.LetterReplayed})) {
		t.Errorf("it replayed %d", got.Done)
	}
	if err := app.NewBatchWorker(n).Work(t.Context(), active(batch)); err != nil {
		t.Errorf("working on it: %v", err)
	}
}

func TestSoManyBatchesAtATime(t *testing.T) {
	n := replica(documenttest.NewStore(), "a").notifications()
	var err error
	for i := 0; err == nil && i < 100; i++ {
		_, err = n.StartBatch(t.Context(), replayAll(fmt.Sprint("k", i), domain.LetterFilter{}, 1))
	}
	if !errors.Is(err, domain.ErrTooManyBatches) {
		t.Errorf("err = %v", err)
	}
}

// A failure that may pass is waited for; one that does not is counted, once, and the batch goes on.
func TestABatchIsPatientWithWhatMayPass(t *testing.T) {
	for _, c := range []struct {
		fails        int
		done, failed int
	}{{3, 2, 0}, {1000, 1, 1}} {
		store := documenttest.NewStore()
		repair := broken(store, "u1", "u2")
		clock := newMoving(replica(store, "a"))
		n := clock.notifications()
		dead(t, n, orderEvent("u1", 1, noon), orderEvent("u2", 1, noon))
		repair()
		left := c.fails
		store.BeforeGet = func(keys []string) error {
			if keys[0] == "inbox/u2" && left > 0 {
				left--
				return temporary{}
			}
			return nil
		}
		batch, err := n.StartBatch(t.Context(), replayAll("k", domain.LetterFilter{}, 100))
		if err != nil {
			t.Fatal(err)
		}
		if err := app.NewBatchWorker(n).Work(t.Context(), active(batch)); err != nil {
			t.Fatal(err)
		}
		if batch, err = n.ShowBatch(t.Context(), domain.BatchReplay, batch.ID); err != nil || batch.Done != c.done || batch.Failed != c.failed {
			t.Errorf("after %d failures it is %+v, %v", c.fails, batch, err)
		}
	}
}

// TestABatchSurvivesAnyCrash crashes the worker of a batch at each touch of the store in turn; another replica finishes
// the batch. Each letter is then replayed once, by one action, and counted once.
func TestABatchSurvivesAnyCrash(t *testing.T) {
	const letters = 5
	for _, lands := range []bool{false, true} {
		for at := 1; ; at++ {
			store := documenttest.NewStore()
			repair := broken(store, "u1")
			healthy := newMoving(replica(store, "a"))
			n := healthy.notifications()
			events := orderEvents("u1", letters)
			dead(t, n, events...)
			poison := orderEvent("u1", 77, noon)
			poison.Data = []byte(`{}`)
			dead(t, n, poison)
			repair()
			batch, err := n.StartBatch(t.Context(), replayAll("k", domain.LetterFilter{}, 1)) // each letter's progress is written
			if err != nil {
				t.Fatal(err)
			}
			p := &process{store: store, name: "doomed", now: healthy.Now, left: at, lands: lands}
			doomed := moving{p, healthy.mu, healthy.at, healthy.slept}
			_ = app.NewBatchWorker(doomed.notifications()).Work(t.Context(), active(batch)) // what it leaves behind is the point
			*healthy.at = healthy.at.Add(time.Minute)
			if err := app.NewBatchWorker(n).Work(t.Context(), active(batch)); err != nil {
				t.Fatalf("crash at %d: %v", at, err)
			}
			batch, err = n.ShowBatch(t.Context(), domain.BatchReplay, batch.ID)
			if err != nil || batch.Status != domain.BatchFinished || batch.Done != letters || batch.Failed != 1 || batch.Scanned != letters+1 {
				t.Fatalf("crash at %d: the batch is %+v, %v", at, batch, err)
			}
			for _, l := range listed(t, n, domain.LetterFilter{}) {
				if len(l.History) != 2 {
					t.Fatalf("crash at %d: history is %+v", at, l.History)
				}
			}
			if err := exactlyOnce(t.Context(), n, map[string][]event.Event{"u1": events}); err != nil {
				t.Fatalf("crash at %d: %v", at, err)
			}
			if !p.crashed() {
				break
			}
		}
	}
}

// Two workers that both think they have the batch, as its claim lapsed while one was frozen, replay each letter once
// and count it once.
func TestTwoWorkersOfOneBatch(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		store := documenttest.NewStore()
		repair := broken(store, "u1")
		clock := newMoving(replica(store, "a"))
		n := clock.notifications()
		events := orderEvents("u1", 12)
		dead(t, n, events...)
		repair()
		batch, err := n.StartBatch(rt.Context(), replayAll("k", domain.LetterFilter{}, 2))
		if err != nil {
			rt.Fatal(err)
		}
		frozenAt := rapid.IntRange(1, 60).Draw(rt, "frozenAt")
		// The other one has the batch meanwhile, perhaps only for a while.
		other := replica(store, "other")
		other.left = rapid.SampledFrom([]int{-1, -1, 5, 12, 20, 30, 40}).Draw(rt, "other lives for")
		slow := replica(store, "slow")
		touched := 0
		slow.meanwhile = func(string) {
			if touched++; touched != frozenAt {
				return
			}
			clock.advance(time.Minute)
			err := app.NewBatchWorker(moving{other, clock.mu, clock.at, clock.slept}.notifications()).Work(rt.Context(), active(batch))
			if err != nil && !other.crashed() {
				rt.Error(err)
			}
		}
		frozen := moving{slow, clock.mu, clock.at, clock.slept}
		for range 2 {
			if err := app.NewBatchWorker(frozen.notifications()).Work(rt.Context(), active(batch)); err != nil {
				rt.Fatal(err)
			}
			clock.advance(time.Minute)
		}
		batch, err = n.ShowBatch(rt.Context(), domain.BatchReplay, batch.ID)
		if err != nil || batch.Status != domain.BatchFinished || batch.Done != len(events) || batch.Failed != 0 {
			rt.Fatalf("the batch is %+v, %v", batch, err)
		}
		if err := exactlyOnce(rt.Context(), n, map[string][]event.Event{"u1": events}); err != nil {
			rt.Fatal(err)
		}
	})
}

// A worker finds the batches that run by itself, and stops when it is told to.
func TestAWorkerFindsItsBatches(t *testing.T) {
	store := documenttest.NewStore()
	n := replica(store, "a").notifications()
	if err := n.ReceiveDeadLetter(t.Context(), []byte("garbage")); err != nil {
		t.Fatal(err)
	}
	batch, err := n.StartBatch(t.Context(), app.BatchRequest{Kind: domain.BatchDiscard, PerSecond: 100, Reason: "x", By: "ada", Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	p := replica(store, "b")
	go func() { ended <- app.NewBatchWorker(p.notifications()).Run(ctx) }()
	for batch.Status == domain.BatchRunning {
		if batch, err = n.ShowBatch(t.Context(), domain.BatchDiscard, batch.ID); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if err := <-ended; err != nil || batch.Done != 1 {
		t.Errorf("the batch is %+v; the worker ended with %v", batch, err)
	}
}

func TestSearchingDeadLetters(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		store := documenttest.NewStore()
		clock := newMoving(replica(store, "a"))
		n := clock.notifications()
		var all []*domain.DeadLetter
		for i := range rapid.IntRange(0, 70).Draw(rt, "letters") {
			e := orderEvent("u1", i, noon)
			e.Source = rapid.SampledFrom([]string{"orders", "users"}).Draw(rt, "topic")
			e.Type = rapid.SampledFrom([]string{"orders.confirmed.v1", "orders.confirmed.v2"}).Draw(rt, "type")
			e.ID = event.ID(e.Source, e.Subject, e.Sequence)
			*clock.at = clock.at.Add(time.Duration(rapid.IntRange(0, 90).Draw(rt, "later")) * time.Second)
			if err := n.PutAway(rt.Context(), e, errors.New(rapid.SampledFrom([]string{"Broken inbox", "nonsense"}).Draw(rt, "reason"))); err != nil {
				rt.Fatal(err)
			}
			letter, err := n.ShowDeadLetter(rt.Context(), domain.LetterID(e))
			if err != nil {
				rt.Fatal(err)
			}
			if rapid.IntRange(0, 3).Draw(rt, "discard") == 0 {
				if letter, err = n.DiscardDeadLetter(rt.Context(), letter.ID, app.Instruction{By: "ada", Reason: "x"}); err != nil {
					rt.Fatal(err)
				}
			}
			all = append([]*domain.DeadLetter{letter}, all...)
		}
		either := func(name string, some ...string) string {
			return rapid.SampledFrom(append(some, "")).Draw(rt, name)
		}
		f := domain.LetterFilter{
			Topic: either("of topic", "orders", "users"), Type: either("of type", "orders.confirmed.v2"), Reason: either("for", "INBOX"),
			Status: domain.LetterStatus(either("status", "open", "discarded")),
		}
		if rapid.Bool().Draw(rt, "bounded") {
			f.Since = noon.Add(time.Duration(rapid.IntRange(-60, 3000).Draw(rt, "since")) * time.Second)
			f.Until = f.Since.Add(time.Duration(rapid.IntRange(0, 3000).Draw(rt, "span")) * time.Second)
		}
		var want, got []string
		for _, l := range all {
			if f.Matches(l) {
				want = append(want, l.EventID)
			}
		}
		limit := rapid.IntRange(1, 20).Draw(rt, "limit")
		for cursor := ""; ; {
			page, next, err := n.ListDeadLetters(rt.Context(), f, cursor, limit)
			if err != nil || len(page) > limit {
				rt.Fatalf("a page of %d, %v", len(page), err)
			}
			for _, l := range page {
				got = append(got, l.EventID)
			}
			if cursor = next; cursor == "" {
				break
			}
		}
		if !slices.Equal(got, want) {
			rt.Fatalf("%+v found %v; want %v", f, got, want)
		}
	})
}

// Letters that arrive while a batch is in its first stretch of the list move no other into its way again.
func TestLettersThatArriveInABatchsFirstSecond(t *testing.T) {
	for _, kind := range []domain.BatchKind{domain.BatchReplay, domain.BatchDiscard} {
		for _, arriving := range []int{1, 3, 20, 60} {
			store := documenttest.NewStore()
			repair := broken(store, "u1")
			clock := newMoving(replica(store, "a"))
			n := clock.notifications()
			dead(t, n, orderEvents("u1", 30)...)
			repair()
			ask := replayAll("k", domain.LetterFilter{}, 5)
			ask.Kind = kind
			batch, err := n.StartBatch(t.Context(), ask)
			if err != nil {
				t.Fatal(err)
			}
			others := moving{replica(store, "b"), clock.mu, clock.at, clock.slept}.notifications()
			var done atomic.Int32
			store.AfterPut = func(key string, _ []byte) error {
				if !strings.HasPrefix(key, "dead-letter/") || done.Add(1) != 3 {
					return nil
				}
				for i := range arriving {
					if err := others.PutAway(t.Context(), orderEvent("u1", 1000+i, noon), errors.New("later")); err != nil {
						t.Error(err)
					}
				}
				return nil
			}
			if err := app.NewBatchWorker(n).Work(t.Context(), active(batch)); err != nil {
				t.Fatal(err)
			}
			store.AfterPut = nil
			batch, err = n.ShowBatch(t.Context(), kind, batch.ID)
			if err != nil || batch.Status != domain.BatchFinished || batch.Done != 30 || batch.Failed != 0 || batch.Scanned != 30 {
				t.Errorf("%s, %d arrive: it did %d and failed %d of %d, %v", kind, arriving, batch.Done, batch.Failed, batch.Scanned, err)
			}
		}
	}
}

// A page of the list continues where it ended, although letters arrive while it is read.
func TestLettersThatArriveWhileTheListIsRead(t *testing.T) {
	store := documenttest.NewStore()
	list := replica(store, "a")
	for i := range 30 {
		if err := list.notifications().PutAway(t.Context(), orderEvent("u1", i, noon), errors.New("nonsense")); err != nil {
			t.Fatal(err)
		}
	}
	others, arrived := replica(store, "b").notifications(), 0
	n := list.notifications()
	list.meanwhile = func(string) { // before each read of the one that lists
		arrived++
		if err := others.PutAway(t.Context(), orderEvent("u1", 1000+arrived, noon), errors.New("later")); err != nil {
			t.Error(err)
		}
	}
	seen := make(map[string]int)
	for cursor := ""; ; {
		page, next, err := n.ListDeadLetters(t.Context(), domain.LetterFilter{}, cursor, 7)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range page {
			seen[l.ID]++
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	for i := range 30 {
		if times := seen[domain.LetterID(orderEvent("u1", i, noon))]; times != 1 {
			t.Errorf("letter %d was listed %d times", i, times)
		}
	}
}
