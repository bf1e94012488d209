// Package process runs operating-system processes for the launcher. Each has its own process group, ends when the
// launcher does, is restarted with back-off when it ends, and writes its output to a log file.
//
// It is written for Linux: it relies on the parent-death signal and on /proc.
package process

import (
	"os/exec"
	"runtime"
)

// spawner starts processes from one operating-system thread that exists as long as the supervisor. A child gets the
// parent-death signal when the thread that forked it ends, not the process (prctl(2), PR_SET_PDEATHSIG), and the Go
// runtime may end any other thread at any time.
type spawner struct {
	requests chan func()
	done     chan struct{}
}

func newSpawner() *spawner {
	s := &spawner{requests: make(chan func()), done: make(chan struct{})}
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(s.done)
		for request := range s.requests {
			request()
		}
	}()
	return s
}

// start starts the command on the spawner's thread.
func (s *spawner) start(cmd *exec.Cmd) error {
	result := make(chan error, 1)
	s.requests <- func() { result <- cmd.Start() }
	return <-result
}

// close ends the thread. Every process that it started must have ended before.
func (s *spawner) close() {
	close(s.requests)
	<-s.done
}
