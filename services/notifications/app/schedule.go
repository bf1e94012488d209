package app

import (
	"container/heap"
	"context"
	"time"
)

// later has a thread driven at a time.
func (d *Driver) later(s start, at time.Time) {
	s.thread = nil
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.queued) < maxStarts {
		heap.Push(&d.queued, scheduled{at, s})
	}
}

// dueTick is how often the driver looks for threads that are due.
const dueTick = 500 * time.Millisecond

// startDue starts waiting threads when they are due.
func (d *Driver) startDue(ctx context.Context) {
	for d.Clock.Sleep(ctx, dueTick) == nil {
		now := d.Clock.Now()
		for {
			s, ok := d.due(now)
			if !ok {
				break
			}
			select {
			case d.starts <- s:
			default: // the sweep finds it
			}
		}
	}
}

func (d *Driver) due(now time.Time) (start, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.queued) == 0 || d.queued[0].at.After(now) {
		return start{}, false
	}
	return heap.Pop(&d.queued).(scheduled).start, true
}

// schedule is a heap of threads by the time of their next attempt.
type schedule []scheduled

type scheduled struct {
	at    time.Time
	start start
}

// Len, Less, Swap, Push and Pop implement heap.Interface.
func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, j int) bool { return s[i].at.Before(s[j].at) }
func (s schedule) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }
func (s *schedule) Push(x any)        { *s = append(*s, x.(scheduled)) }
func (s *schedule) Pop() any {
	old := *s
	last := old[len(old)-1]
	*s = old[:len(old)-1]
	return last
}

// Waiting is how many threads wait in this driver, for their turn or for their time.
func (d *Driver) Waiting() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.queued) + len(d.starts)
}
