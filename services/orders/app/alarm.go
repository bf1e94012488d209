package app

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"caravan/internal/clock"
	"caravan/services/orders/domain"
)

const (
	// alarmEvery is the least time between two alarms in the log.
	alarmEvery = time.Minute
	// alarmMax bounds the overdue orders that are kept, and the waiting ones.
	alarmMax = maxQueued
)

// Alarm reports orders past the pivot that wait too long: they hold or owe a customer's money, and nobody can cancel them. It
// sees the attempts that this replica makes, so it does not have to read orders.
type Alarm struct {
	after time.Duration
	clock clock.Clock
	log   *slog.Logger

	mu      sync.Mutex
	overdue map[string]domain.Waiting // by order
	waiting map[string]domain.Waiting // by order, also before the pivot and for a short time
	logged  time.Time
}

// NewAlarm makes an Alarm for orders that wait longer than after.
func NewAlarm(after time.Duration, clk clock.Clock, log *slog.Logger) *Alarm {
	return &Alarm{after: after, clock: clk, log: log, overdue: make(map[string]domain.Waiting), waiting: make(map[string]domain.Waiting)}
}

// Observe takes an order as it is stored after an attempt.
func (a *Alarm) Observe(ctx context.Context, o *domain.Order) {
	now := a.clock.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if o.Waiting == nil {
		delete(a.waiting, o.ID)
	} else if len(a.waiting) < alarmMax {
		a.waiting[o.ID] = *o.Waiting
	}
	if o.Waiting == nil || !o.PastPivot() || now.Sub(o.Waiting.Since) <= a.after {
		delete(a.overdue, o.ID)
		return
	}
	if len(a.overdue) < alarmMax {
		a.overdue[o.ID] = *o.Waiting
	}
	if now.Sub(a.logged) < alarmEvery {
		return
	}
	a.logged = now
	longest, w := a.longest()
	a.log.WarnContext(ctx, "orders past the pivot wait too long", "orders", len(a.overdue), "aggregate", longest, "step", w.Step,
		"reason", w.Reason, "attempts", w.Attempts, "since", w.Since, "age_s", int64(now.Sub(w.Since).Seconds()))
}

func (a *Alarm) longest() (orderID string, w domain.Waiting) {
	for id, other := range a.overdue {
		if orderID == "" || other.Since.Before(w.Since) || other.Since.Equal(w.Since) && id < orderID {
			orderID, w = id, other
		}
	}
	return orderID, w
}

// Overdue returns how many orders past the pivot wait too long, and the longest of these waits.
func (a *Alarm) Overdue() (orders int, age time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, w := a.longest(); len(a.overdue) > 0 {
		age = a.clock.Now().Sub(w.Since)
	}
	return len(a.overdue), age
}

// Waits are the orders that wait at one step.
type Waits struct {
	Orders  int
	Longest time.Duration
}

// Waiting returns the orders of this replica that wait for their next attempt, by step.
func (a *Alarm) Waiting() map[string]Waits {
	a.mu.Lock()
	defer a.mu.Unlock()
	now, steps := a.clock.Now(), make(map[string]Waits)
	for _, w := range a.waiting {
		of := steps[w.Step]
		steps[w.Step] = Waits{of.Orders + 1, max(of.Longest, now.Sub(w.Since))}
	}
	return steps
}
