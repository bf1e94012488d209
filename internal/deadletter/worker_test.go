package deadletter_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"caravan/internal/deadletter"
	"caravan/internal/document/documenttest"
	"caravan/internal/event"
)

// TestABatchSurvivesAnyCrash crashes the worker of a batch at each operation of the store in turn, and another replica
// finishes the batch. Each letter is replayed once, by one action, and counted once.
func TestABatchSurvivesAnyCrash(t *testing.T) {
	const letters = 5
	for _, lands := range []bool{false, true} {
		for at := 1; ; at++ {
			store := documenttest.NewStore()
			repair := broken(store, "u1")
			healthy := newMoving(replica(store, "a"))
			n := healthy.queue()
			events := orderEvents("u1", letters)
			dead(t, n, events...)
			poison := orderEvent("u1", 77, noon)
			poison.Data = []byte(`{}`)
			dead(t, n, poison)
			repair()
			batch, err := n.StartBatch(t.Context(), replayAll("k", deadletter.Filter{}, 1)) // the progress of each letter is written
			if err != nil {
				t.Fatal(err)
			}
			p := process{&documenttest.Replica{Store: store, Name: "doomed", Time: healthy.Now, Left: at, Lands: lands}}
			doomed := moving{p, healthy.mu, healthy.at, healthy.slept}
			_ = deadletter.NewBatchWorker(doomed.queue()).Work(t.Context(), active(batch)) // the test looks at what the worker leaves behind
			*healthy.at = healthy.at.Add(time.Minute)
			if err := deadletter.NewBatchWorker(n).Work(t.Context(), active(batch)); err != nil {
				t.Fatalf("crash at %d: %v", at, err)
			}
			batch, err = n.ShowBatch(t.Context(), deadletter.BatchReplay, batch.ID)
			if err != nil || batch.Status != deadletter.BatchFinished || batch.Done != letters || batch.Failed != 1 || batch.Scanned != letters+1 {
				t.Fatalf("crash at %d: the batch is %+v, %v", at, batch, err)
			}
			for _, l := range listed(t, n, deadletter.Filter{}) {
				if len(l.History) != 2 {
					t.Fatalf("crash at %d: history is %+v", at, l.History)
				}
			}
			if err := exactlyOnce(t.Context(), n, map[string][]event.Event{"u1": events}); err != nil {
				t.Fatalf("crash at %d: %v", at, err)
			}
			if !p.Crashed() {
				break
			}
		}
	}
}

// Two workers both act as if they had the claim, because it expired while one was paused. They replay each letter once
// and count it once.
func TestTwoWorkersOfOneBatch(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		store := documenttest.NewStore()
		repair := broken(store, "u1")
		clock := newMoving(replica(store, "a"))
		n := clock.queue()
		events := orderEvents("u1", 12)
		dead(t, n, events...)
		repair()
		batch, err := n.StartBatch(rt.Context(), replayAll("k", deadletter.Filter{}, 2))
		if err != nil {
			rt.Fatal(err)
		}
		frozenAt := rapid.IntRange(1, 60).Draw(rt, "frozenAt")
		// The other worker has the claim meanwhile, perhaps only for a while.
		other := replica(store, "other")
		other.Left = rapid.SampledFrom([]int{-1, -1, 5, 12, 20, 30, 40}).Draw(rt, "other lives for")
		slow := replica(store, "slow")
		touched := 0
		slow.Meanwhile = func(string) {
			if touched++; touched != frozenAt {
				return
			}
			clock.advance(time.Minute)
			err := deadletter.NewBatchWorker(moving{other, clock.mu, clock.at, clock.slept}.queue()).Work(rt.Context(), active(batch))
			if err != nil && !other.Crashed() {
				rt.Error(err)
			}
		}
		frozen := moving{slow, clock.mu, clock.at, clock.slept}
		for range 2 {
			if err := deadletter.NewBatchWorker(frozen.queue()).Work(rt.Context(), active(batch)); err != nil {
				rt.Fatal(err)
			}
			clock.advance(time.Minute)
		}
		batch, err = n.ShowBatch(rt.Context(), deadletter.BatchReplay, batch.ID)
		if err != nil || batch.Status != deadletter.BatchFinished || batch.Done != len(events) || batch.Failed != 0 {
			rt.Fatalf("the batch is %+v, %v", batch, err)
		}
		if err := exactlyOnce(rt.Context(), n, map[string][]event.Event{"u1": events}); err != nil {
			rt.Fatal(err)
		}
	})
}

// A worker finds the running batches without help, and stops when its context ends.
func TestAWorkerFindsItsBatches(t *testing.T) {
	store := documenttest.NewStore()
	n := replica(store, "a").queue()
	if err := n.Receive(t.Context(), []byte("garbage")); err != nil {
		t.Fatal(err)
	}
	batch, err := n.StartBatch(t.Context(), deadletter.BatchRequest{Kind: deadletter.BatchDiscard, PerSecond: 100, Reason: "x", By: "ada", Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	p := replica(store, "b")
	go func() { ended <- deadletter.NewBatchWorker(p.queue()).Run(ctx) }()
	for batch.Status == deadletter.BatchRunning {
		if batch, err = n.ShowBatch(t.Context(), deadletter.BatchDiscard, batch.ID); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if err := <-ended; err != nil || batch.Done != 1 {
		t.Errorf("the batch is %+v; the worker ended with %v", batch, err)
	}
}

// Letters that arrive while a batch is in its first stretch of the list do not make it process another letter twice.
func TestLettersThatArriveInABatchsFirstSecond(t *testing.T) {
	for _, kind := range []deadletter.BatchKind{deadletter.BatchReplay, deadletter.BatchDiscard} {
		for _, arriving := range []int{1, 3, 20, 60} {
			store := documenttest.NewStore()
			repair := broken(store, "u1")
			clock := newMoving(replica(store, "a"))
			n := clock.queue()
			dead(t, n, orderEvents("u1", 30)...)
			repair()
			ask := replayAll("k", deadletter.Filter{}, 5)
			ask.Kind = kind
			batch, err := n.StartBatch(t.Context(), ask)
			if err != nil {
				t.Fatal(err)
			}
			others := moving{replica(store, "b"), clock.mu, clock.at, clock.slept}.queue()
			var done atomic.Int32
			store.AfterPut(func(key string, _ []byte) error {
				if !strings.HasPrefix(key, "dead-letter/") || done.Add(1) != 3 {
					return nil
				}
				for i := range arriving {
					if err := others.DeadLetter(t.Context(), orderEvent("u1", 1000+i, noon), errors.New("later")); err != nil {
						t.Error(err)
					}
				}
				return nil
			})
			if err := deadletter.NewBatchWorker(n).Work(t.Context(), active(batch)); err != nil {
				t.Fatal(err)
			}
			store.AfterPut(nil)
			batch, err = n.ShowBatch(t.Context(), kind, batch.ID)
			if err != nil || batch.Status != deadletter.BatchFinished || batch.Done != 30 || batch.Failed != 0 || batch.Scanned != 30 {
				t.Errorf("%s, %d arrive: it did %d and failed %d of %d, %v", kind, arriving, batch.Done, batch.Failed, batch.Scanned, err)
			}
		}
	}
}
