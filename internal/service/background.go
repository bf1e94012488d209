package service

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

const (
	restartFirst = 100 * time.Millisecond
	restartMost  = 30 * time.Second
	restartReset = time.Minute // the pause of a worker that ran this long starts again at its first value
)

// worker is a goroutine that the program owns.
type worker struct {
	name string
	run  func(ctx context.Context) error
	last bool // stopped after the requests and the other workers
}

// start runs the workers that are stopped last, or the others, until ctx ends. The group is done when all of them are.
func (s *Service) start(ctx context.Context, group *sync.WaitGroup, last bool) {
	for _, w := range s.workers {
		if w.last == last {
			group.Go(func() { s.keep(ctx, w) })
		}
	}
}

// keep runs one worker, again after each failure. The pause doubles. A part of it is random, so that the workers of
// many replicas do not restart at the same moment.
func (s *Service) keep(ctx context.Context, w worker) {
	pause := restartFirst
	for {
		began := s.Clock.Now()
		err := protect(ctx, w.run)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			s.Log.InfoContext(ctx, "background work finished", "worker", w.name)
			return
		}
		if s.Clock.Now().Sub(began) >= restartReset {
			pause = restartFirst
		}
		s.Log.ErrorContext(ctx, "background work failed and starts again", "worker", w.name, "error", err, "pause_ms", pause.Milliseconds())
		if s.Clock.Sleep(ctx, pause/2+time.Duration(float64(pause/2)*s.Jitter())) != nil {
			return
		}
		pause = min(pause*2, restartMost)
	}
}

func protect(ctx context.Context, run func(ctx context.Context) error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = fmt.Errorf("panic: %v\n%s", value, debug.Stack())
		}
	}()
	return run(ctx)
}
