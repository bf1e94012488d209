package launcher

import (
	"context"
	"strings"
	"sync"
	"time"

	"caravan/internal/launcher/process"
)

const (
	mendTries = 5 // looks at the broker before it is started again in order
	mendPause = time.Second
)

// mender looks after the broker each time it was started again: it may run and take connections, and yet not
// serve. Sidecars and programs are looked after by the supervisor, which starts again what ends, and by the
// programs themselves, which end a sidecar whose subscriptions are dead (internal/service).
type mender struct {
	stack   *Stack
	again   chan struct{} // takes that the broker is ready again
	context context.Context
	cancel  context.CancelFunc
	done    sync.WaitGroup

	mu    sync.Mutex
	first bool // the broker has been ready once
	state process.State
}

func newMender(s *Stack) *mender {
	m := &mender{stack: s, again: make(chan struct{}, 1)}
	m.context, m.cancel = context.WithCancel(context.Background())
	m.done.Go(m.run)
	return m
}

// close ends the mender and what it has under way.
func (m *mender) close() {
	if m == nil {
		return
	}
	m.cancel()
	m.done.Wait()
}

// changed hears of a process's state.
func (m *mender) changed(status process.Status) {
	if m == nil || status.Name != "broker" {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	ready := status.State == process.Ready && m.state != process.Ready
	m.state = status.State
	if !ready {
		return
	}
	if !m.first {
		m.first = true
		return
	}
	select {
	case m.again <- struct{}{}:
	default: // it will look anyway
	}
}

func (m *mender) run() {
	for {
		select {
		case <-m.again:
			m.mend()
		case <-m.context.Done():
			return
		}
	}
}

// mend looks until all is well, the broker has ended again, or nothing helps.
func (m *mender) mend() {
	if m.stack.broker.Mend == nil {
		return
	}
	broker, err := m.stack.process("broker")
	if err != nil {
		return // it is not the stack's own
	}
	for restarted := false; ; restarted = true {
		switch m.look(broker) {
		case wellAgain, endedAgain:
			return
		}
		if restarted {
			m.say("the broker still does not serve all its queues; the feed delivers what they should")
			return
		}
		m.say("the broker does not serve all its queues: starting it again, in order")
		broker.Stop(m.context)
		if m.context.Err() != nil {
			return
		}
		broker.Start()
		if err := broker.WaitReady(m.context, mendTries); err != nil {
			return
		}
	}
}

// outcome is how the broker was found.
type outcome int

const (
	wellAgain outcome = iota
	endedAgain
	notServing
)

// look looks at the broker, several times while something is wrong. What cannot be looked at is left alone.
func (m *mender) look(broker *process.Process) outcome {
	life := broker.Status().PID
	found := wellAgain
	for range mendTries {
		broken, err := m.stack.broker.Mend(m.context)
		switch status := broker.Status(); {
		case m.context.Err() != nil || status.PID != life || status.State != process.Ready:
			return endedAgain // its next life wakes the mender again
		case err != nil:
			m.say("the broker could not be looked after: " + err.Error())
		case len(broken) == 0:
			return wellAgain
		default:
			found = notServing
			m.say("queues without a leader after a crash, told to elect one: " + strings.Join(broken, ", "))
		}
		select {
		case <-time.After(mendPause):
		case <-m.context.Done():
			return endedAgain
		}
	}
	return found
}

// say tells people, and the stack's logs.
func (m *mender) say(what string) {
	m.stack.console.say("%s.", what)
	_ = m.stack.Remark(what, "process", "broker") // a remark that cannot be written was shown
}
