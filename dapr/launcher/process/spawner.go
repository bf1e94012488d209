// Package process runs operating-system processes for the launcher: each in a
// process group of its own that dies with the launcher, restarted with back-off
// when it ends, its output kept in a log file.
//
// It is written for Linux: it relies on the parent-death signal and on /proc.
package process

import (
	"os/exec"
	"runtime"
)

// spawner starts processes from one operating-system thread that lives as long
// as the supervisor. The parent-death signal of a child is sent when the thread
// that forked it ends, not when the process does (prctl(2), PR_SET_PDEATHSIG),
// and the Go runtime may end any other thread at any time.
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

// close ends the thread; every process it started must have ended before.
func (s *spawner) close() {
	close(s.requests)
	<-s.done
}
