// Package workqueue runs jobs by key: each key at most once at a time.
package workqueue

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"caravan/internal/clock"
)

// Options configure a Queue.
type Options[J any] struct {
	// Do does a job. It never runs twice at a time for one key. stop ends with the queue; the job should end soon then.
	Do func(stop context.Context, key string, job J)
	// Merge makes one job of two for the same key that wait.
	Merge func(earlier, later J) J
	Clock clock.Clock
	// Workers is how many jobs are done at once; at least 1.
	Workers int
	// Room bounds the keys that wait for their turn, and those that wait for their time.
	Room int
	// Tick is how often keys are looked for whose time has come.
	Tick time.Duration
}

// Queue has the jobs of one program, in memory. A job for a key that waits already is merged with that one. A job for a key that is
// being worked on waits until that ends; so none is lost, and none runs beside another of its key.
type Queue[J any] struct {
	Options[J]
	wake chan struct{}

	mu      sync.Mutex
	entries map[string]*entry[J] // of all keys that wait or run
	turns   []*entry[J]
	times   schedule[J]
}

// entry is what a Queue knows of a key. While it runs it is neither in turns nor in times.
type entry[J any] struct {
	key   string
	job   J         // the one that waits
	at    time.Time // when it may run; zero is at once
	waits bool
	place int // in times; -1 if it is not there
}

// New makes a Queue. It works while Run runs.
func New[J any](opts Options[J]) *Queue[J] {
	return &Queue[J]{Options: opts, wake: make(chan struct{}, 1), entries: make(map[string]*entry[J])}
}

// Add has a job done soon. It never waits; it returns false, and forgets the job, if there is no room.
func (q *Queue[J]) Add(key string, job J) bool { return q.add(key, job, time.Time{}) }

// AddAt is Add for a job that is done at a time. It is done before if the same key is added for an earlier time.
func (q *Queue[J]) AddAt(key string, job J, at time.Time) bool { return q.add(key, job, at) }

func (q *Queue[J]) add(key string, job J, at time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.entries[key]
	switch {
	case e == nil:
		e = &entry[J]{key: key, job: job, at: at, waits: true, place: -1}
		if !q.enqueue(e) {
			return false
		}
		q.entries[key] = e
	case !e.waits:
		e.job, e.at, e.waits = job, at, true
	default:
		e.job = q.Merge(e.job, job)
		if at.Before(e.at) {
			q.hasten(e, at)
		}
	}
	return true
}

// enqueue has an entry wait for its turn or for its time.
func (q *Queue[J]) enqueue(e *entry[J]) bool {
	if e.at.IsZero() {
		if len(q.turns) >= q.Room {
			return false
		}
		q.turns = append(q.turns, e)
		q.signal()
		return true
	}
	if len(q.times) >= q.Room {
		return false
	}
	heap.Push(&q.times, e)
	return true
}

// hasten lets an entry run earlier. One without room among the turns keeps its place, and gets its turn when there is room.
func (q *Queue[J]) hasten(e *entry[J], at time.Time) {
	e.at = at
	if e.place < 0 {
		return // it runs
	}
	heap.Fix(&q.times, e.place)
	if at.IsZero() && len(q.turns) < q.Room {
		heap.Remove(&q.times, e.place)
		q.enqueue(e)
	}
}

func (q *Queue[J]) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Run does jobs until ctx ends. Then it waits for those that run.
func (q *Queue[J]) Run(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { q.promote(ctx) })
	slots := make(chan struct{}, max(q.Workers, 1))
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		e, job, ok := q.next(ctx)
		if !ok {
			return nil
		}
		all.Go(func() {
			defer func() { <-slots }()
			for more := true; more && ctx.Err() == nil; job, more = q.end(e) {
				q.Do(ctx, e.key, job)
			}
		})
	}
}

// next waits for a key that has its turn, and begins it. It returns false when ctx ends.
func (q *Queue[J]) next(ctx context.Context) (e *entry[J], job J, ok bool) {
	for {
		if e, job, ok = q.first(); ok {
			return e, job, true
		}
		select {
		case <-q.wake:
		case <-ctx.Done():
			return nil, job, false
		}
	}
}

func (q *Queue[J]) first() (e *entry[J], job J, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.turns) == 0 {
		return nil, job, false
	}
	e, q.turns[0] = q.turns[0], nil
	q.turns = q.turns[1:]
	return e, e.take(), true
}

// take returns the job that waits, and forgets it.
func (e *entry[J]) take() (job J) {
	job, e.job = e.job, job
	e.waits, e.at = false, time.Time{}
	return job
}

// end ends a run of a key. It returns the next job of that key if it is to be done at once.
func (q *Queue[J]) end(e *entry[J]) (job J, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e.waits && e.at.IsZero() {
		return e.take(), true
	}
	if !e.waits || !q.enqueue(e) {
		delete(q.entries, e.key)
	}
	return job, false
}

// promote gives keys their turn when their time has come, until ctx ends.
func (q *Queue[J]) promote(ctx context.Context) {
	for q.Clock.Sleep(ctx, q.Tick) == nil {
		q.due(q.Clock.Now())
	}
}

func (q *Queue[J]) due(now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.times) > 0 && len(q.turns) < q.Room && !q.times[0].at.After(now) {
		e := heap.Pop(&q.times).(*entry[J])
		e.at = time.Time{}
		q.enqueue(e)
	}
}

// Ready is how many keys wait for their turn.
func (q *Queue[J]) Ready() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.turns)
}

// Waiting is how many keys wait for their turn or for their time.
func (q *Queue[J]) Waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.turns) + len(q.times)
}

// schedule is a heap of entries by their time.
type schedule[J any] []*entry[J]

// Len, Less, Swap, Push and Pop implement heap.Interface.
func (s schedule[J]) Len() int           { return len(s) }
func (s schedule[J]) Less(i, j int) bool { return s[i].at.Before(s[j].at) }
func (s schedule[J]) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].place, s[j].place = i, j
}
func (s *schedule[J]) Push(x any) {
	e := x.(*entry[J])
	e.place = len(*s)
	*s = append(*s, e)
}
func (s *schedule[J]) Pop() any {
	last := len(*s) - 1
	e := (*s)[last]
	(*s)[last] = nil
	*s, e.place = (*s)[:last], -1
	return e
}
