package cells

import (
	"sync"
	"sync/atomic"
	"testing"
)

// meeting lets the cells of a phase wait for each other. A cell that will never come is reported as absent, so that
// nobody waits for it.
type meeting struct {
	mu       sync.Mutex
	missing  map[string]bool
	happened chan struct{}
	action   func() // runs once, before any cell continues
}

func newMeeting(cells []cell, action func()) *meeting {
	m := &meeting{missing: make(map[string]bool), happened: make(chan struct{}), action: action}
	for _, c := range cells {
		m.missing[c.name] = true
	}
	return m
}

// join waits until every cell has joined or is absent.
func (m *meeting) join(name string) {
	m.absent(name)
	<-m.happened
}

func (m *meeting) absent(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.missing[name] {
		return
	}
	delete(m.missing, name)
	if len(m.missing) == 0 {
		if m.action != nil {
			m.action()
		}
		close(m.happened)
	}
}

// phase is a group of cells that run at the same time. Their faults affect only their own orders, or they share an
// outage.
type phase struct {
	name string
	// victim is the app or server that is down from the cells' first meeting to their second. "" is none.
	victim string
	cells  []cell
}

// run runs the cells of a phase, and then an audit of the system.
func (p phase) run(t *testing.T, w *world) {
	t.Helper()
	var ran atomic.Bool // -run may exclude all cells
	ready := newMeeting(p.cells, nil)
	down := newMeeting(p.cells, func() { p.toggle(t, w, &ran, w.crash) })
	up := newMeeting(p.cells, func() { p.toggle(t, w, &ran, w.raise) })
	var all sync.WaitGroup
	for _, c := range p.cells {
		all.Go(func() {
			defer func() {
				for _, m := range []*meeting{ready, down, up} {
					m.absent(c.name)
				}
			}()
			t.Run(c.name, func(t *testing.T) {
				ran.Store(true)
				trial := arrange(t, w, c)
				trial.down = func() { down.join(c.name) }
				trial.up = func() {
					down.absent(c.name)
					up.join(c.name)
				}
				ready.join(c.name)
				c.run(trial)
				if p.victim != "" {
					trial.up() // for a cell that did not call it
				}
				trial.settle()
			})
		})
	}
	all.Wait()
	if ran.Load() {
		w.audit(t, p.name)
	}
}

// toggle crashes or raises the victim.
func (p phase) toggle(t *testing.T, w *world, ran *atomic.Bool, do func(string) error) {
	if p.victim == "" || !ran.Load() {
		return
	}
	for _, name := range w.programs(p.victim) {
		if err := do(name); err != nil {
			t.Errorf("the outage of %s: %v", name, err)
		}
	}
}
