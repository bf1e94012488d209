package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// mode is a kind of fault.
type mode string

// The modes of a fault. "" is none.
const (
	refuse    mode = "refuse" // recipients are refused for ever (550)
	deferring mode = "defer"  // recipients are refused for now (451)
	stall     mode = "stall"  // recipients get no answer until the fault ends
	lose      mode = "lose"   // the e-mail is kept, and the connection closed instead of the answer
)

// longestFault is the longest time that a fault may be given.
const longestFault = time.Hour

// fault is what clients set and get as JSON.
type fault struct {
	Mode mode `json:"mode"`
	// Share is the part of recipients or e-mails that have the fault, more than 0 and at most 1.
	Share float64 `json:"share"`
	// For is how long it lasts, as "60s"; until it is ended if "".
	For string `json:"for,omitempty"`
	// Count is how often it had its effect.
	Count int `json:"count"`
}

// faults is the present fault, of which there is at most one.
type faults struct {
	now func() time.Time

	mu    sync.Mutex
	fault fault
	until time.Time     // zero: until it is ended
	ended chan struct{} // closed when the fault is replaced or ended; never nil
}

func newFaults(now func() time.Time) *faults { return &faults{now: now, ended: make(chan struct{})} }

// set replaces the fault. A fault without a mode ends the present one.
func (f *faults) set(next fault) error {
	if next.Share == 0 {
		next.Share = 1
	}
	if !slices.Contains([]mode{"", refuse, deferring, stall, lose}, next.Mode) {
		return fmt.Errorf("mode is one of %s, %s, %s, %s", refuse, deferring, stall, lose)
	}
	if !(next.Share > 0 && next.Share <= 1) { // NaN neither
		return errors.New("share is more than 0 and at most 1")
	}
	var until time.Time
	if next.For != "" {
		lasting, err := time.ParseDuration(next.For)
		if err != nil || lasting <= 0 || lasting > longestFault {
			return fmt.Errorf("for is a time of at most %s, as 60s", longestFault)
		}
		until = f.now().Add(lasting)
	}
	next.Count = 0
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.ended)
	f.fault, f.until, f.ended = next, until, make(chan struct{})
	return nil
}

// present is the fault that is in effect; its For is the rest of the time.
func (f *faults) present() fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.expire()
	present := f.fault
	if present.Mode != "" && !f.until.IsZero() {
		present.For = f.until.Sub(f.now()).Round(time.Millisecond).String()
	}
	return present
}

func (f *faults) expire() {
	if !f.until.IsZero() && !f.now().Before(f.until) {
		f.fault, f.until = fault{}, time.Time{}
	}
}

// drawn is a fault that one recipient or e-mail has.
type drawn struct {
	mode  mode            // "" is none
	ended <-chan struct{} // closed when the fault is replaced or ended
	until time.Time       // zero: until it is ended
}

// draw returns the present fault if it has one of the given modes and its share includes this time.
func (f *faults) draw(modes ...mode) drawn {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.expire()
	if !slices.Contains(modes, f.fault.Mode) || rand.Float64() >= f.fault.Share {
		return drawn{}
	}
	f.fault.Count++
	return drawn{f.fault.Mode, f.ended, f.until}
}

// wait returns when the fault has ended, or with an error when the context has.
func (d drawn) wait(ctx context.Context) error {
	limited := ctx
	if !d.until.IsZero() {
		var cancel context.CancelFunc
		limited, cancel = context.WithDeadline(ctx, d.until)
		defer cancel()
	}
	select {
	case <-d.ended:
		return nil
	case <-limited.Done():
		return ctx.Err()
	}
}
