package workqueue_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"caravan/internal/clock"
	"caravan/internal/racetest"
	"caravan/internal/workqueue"
)

func TestMain(m *testing.M) { racetest.Main(m) }

// order is one job, with the time at which it may be done.
type order struct {
	n  int
	at time.Time
}

// workers do jobs and note what is wrong.
type workers struct {
	takes time.Duration

	mu      sync.Mutex
	running map[string]bool
	most    int
	done    []int
	wrong   []string
}

func (w *workers) do(_ context.Context, key string, jobs []order) {
	w.mu.Lock()
	if w.running[key] {
		w.wrong = append(w.wrong, key+" is worked on twice at once")
	}
	if !slices.ContainsFunc(jobs, func(o order) bool { return !o.at.After(time.Now()) }) {
		w.wrong = append(w.wrong, fmt.Sprintf("%s is done before its time: %v", key, jobs))
	}
	w.running[key] = true
	w.most = max(w.most, len(w.running))
	for _, o := range jobs {
		w.done = append(w.done, o.n)
	}
	w.mu.Unlock()
	time.Sleep(w.takes)
	w.mu.Lock()
	delete(w.running, key)
	w.mu.Unlock()
}

// did are the jobs that are done or begun.
func (w *workers) did() []int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.done)
}

func (w *workers) queue(number, room int) *workqueue.Queue[[]order] {
	w.running = make(map[string]bool)
	return workqueue.New(workqueue.Options[[]order]{
		Do: w.do, Merge: func(earlier, later []order) []order { return slices.Concat(earlier, later) },
		Clock: clock.System{}, Workers: number, Room: room, Tick: 10 * time.Millisecond,
	})
}

// TestEachJobIsDoneOnce adds jobs at any times, also while their key is worked on. Each is done once, at its time or with an earlier
// one of its key, and no key twice at once.
func TestEachJobIsDoneOnce(t *testing.T) {
	type step struct {
		key   string
		delay time.Duration // 0 is at once
		pause time.Duration
	}
	milliseconds := func(most int) *rapid.Generator[time.Duration] {
		return rapid.Map(rapid.IntRange(0, most), func(n int) time.Duration { return time.Duration(n) * time.Millisecond })
	}
	steps := rapid.SliceOf(rapid.Custom(func(rt *rapid.T) step {
		return step{rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(rt, "key"), milliseconds(80).Draw(rt, "delay"), milliseconds(20).Draw(rt, "pause")}
	}))
	rapid.Check(t, func(rt *rapid.T) {
		todo, number := steps.Draw(rt, "steps"), rapid.IntRange(1, 3).Draw(rt, "workers")
		w := &workers{takes: milliseconds(40).Draw(rt, "takes")}
		waiting := 0
		synctest.Test(t, func(t *testing.T) {
			q := w.queue(number, 100)
			ctx, stop := context.WithCancel(t.Context())
			go func() { _ = q.Run(ctx) }()
			for n, s := range todo {
				job := order{n: n}
				added := false
				if s.delay == 0 {
					added = q.Add(s.key, []order{job})
				} else {
					job.at = time.Now().Add(s.delay)
					added = q.AddAt(s.key, []order{job}, job.at)
				}
				if !added {
					t.Errorf("there is no room for job %d", n)
				}
				time.Sleep(s.pause)
			}
			time.Sleep(time.Minute)
			waiting = q.Waiting()
			stop()
		})
		slices.Sort(w.done)
		if len(w.wrong) > 0 || w.most > number || waiting != 0 || len(w.done) != len(todo) {
			rt.Fatalf("%d of %d jobs are done, %v; %d keys at once, %d wait; %v", len(w.done), len(todo), w.done, w.most, waiting, w.wrong)
		}
		for n, done := range w.done {
			if n != done {
				rt.Fatalf("the jobs done are %v", w.done)
			}
		}
	})
}

func TestAJobDuringARunIsDoneAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workers{takes: time.Second}
		q := w.queue(2, 1)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go func() { _ = q.Run(ctx) }()
		for n := range 4 { // the first runs; the others wait for its end as one, and need no room
			if !q.Add("a", []order{{n: n}}) {
				t.Errorf("job %d has no room", n)
			}
			synctest.Wait()
		}
		if len(w.did()) != 1 || q.Waiting() != 0 {
			t.Errorf("at first %v are done, %d keys wait", w.did(), q.Waiting())
		}
		time.Sleep(3 * time.Second)
		if !slices.Equal(w.did(), []int{0, 1, 2, 3}) || len(w.wrong) > 0 {
			t.Errorf("done are %v, %v", w.did(), w.wrong)
		}
	})
}

func TestAQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workers{}
		q := w.queue(1, 2)
		soon := time.Now().Add(time.Second)
		for n, key := range []string{"a", "b", "c", "a"} {
			if added := q.Add(key, []order{{n: n}}); added != (key != "c") {
				t.Errorf("adding job %d of %s: %t", n, key, added)
			}
		}
		for n, key := range []string{"d", "e", "f"} {
			if added := q.AddAt(key, []order{{n: 4 + n, at: soon}}, soon); added != (key != "f") {
				t.Errorf("adding job %d of %s at a time: %t", n, key, added)
			}
		}
		if !q.Add("e", []order{{n: 7}}) || q.Ready() != 2 || q.Waiting() != 4 { // it has a place, and waits there for its turn
			t.Errorf("%d wait for their turn, %d in all", q.Ready(), q.Waiting())
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go func() { _ = q.Run(ctx) }()
		time.Sleep(100 * time.Millisecond)
		if !slices.Equal(w.did(), []int{0, 3, 1, 5, 7}) {
			t.Errorf("done are %v", w.did())
		}
		time.Sleep(time.Second)
		if !slices.Equal(w.did(), []int{0, 3, 1, 5, 7, 4}) || q.Waiting() != 0 || len(w.wrong) > 0 {
			t.Errorf("done are %v, %d wait, %v", w.did(), q.Waiting(), w.wrong)
		}
	})
}

// The queue stops with its owner: Run waits for the job that runs, and begins no other.
func TestRunWaitsForItsJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workers{takes: time.Second}
		q := w.queue(1, 10)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- q.Run(ctx) }()
		for n, key := range []string{"a", "b"} {
			q.Add(key, []order{{n: n}})
			synctest.Wait()
		}
		q.Add("a", []order{{n: 2}})
		began := time.Now()
		stop()
		if err := <-ended; err != nil || time.Since(began) != time.Second || !slices.Equal(w.did(), []int{0}) {
			t.Errorf("it ended after %s with %v; done are %v", time.Since(began), err, w.done)
		}
	})
}
