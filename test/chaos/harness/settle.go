package harness

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"caravan/dapr/client"
)

// Violation is something that must never happen.
type Violation struct {
	Invariant string `json:"invariant"`
	Key       string `json:"key"`
	Detail    string `json:"detail"`
}

// String returns the violation as a line of a report.
func (v Violation) String() string {
	return fmt.Sprintf("%s (%s): %s", v.Invariant, v.Key, v.Detail)
}

// findings gathers violations.
type findings struct {
	mu  sync.Mutex
	all []Violation
}

func (f *findings) add(invariant, key, format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = append(f.all, Violation{invariant, key, fmt.Sprintf(format, args...)})
}

// list are the violations so far, never nil.
func (f *findings) list() []Violation {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Violation{}, f.all...)
}

// settler waits, after the last fault, until everything in progress has ended. Then it compares the system with the
// knowledge of its clients.
type settler struct {
	shop     *shop
	deadline time.Duration // for everything that has to happen by itself
	findings *findings
	say      func(format string, args ...any)

	mu     sync.Mutex
	orders map[string]client.Order // by id, at the end
	audit  client.Audit
}

// parallel is how many requests run at once.
const parallel = 32

// settle waits for the end and checks everything.
func (s *settler) settle(ctx context.Context) {
	s.orders = make(map[string]client.Order)
	s.resume(ctx)
	s.await(ctx)
	s.say("%d orders have ended; comparing the books …", len(s.orders))
	s.checkOrders(ctx)
	s.checkMoney(ctx)
	s.checkStock(ctx)
	s.checkInboxes(ctx)
	s.checkAudit(ctx)
}

// resume repeats the requests that clients left without an answer. With its key, a request finds that it was done, or
// is done now.
func (s *settler) resume(ctx context.Context) {
	var group errgroup.Group
	group.SetLimit(parallel)
	for _, op := range s.shop.log.of("") {
		if op.outcome() != Unknown || op.Key == "" {
			continue
		}
		group.Go(func() error {
			err := op.persist(ctx, s.deadline, s.shop.requestOf(op))
			if err != nil && !definite(err) {
				s.findings.add("a request under a key can be brought to its end", op.Kind+" "+op.Key, "%v", err)
			}
			return nil
		})
	}
	_ = group.Wait() // failures are in findings
}

// await polls every acknowledged order until it has ended.
func (s *settler) await(ctx context.Context) {
	deadline := time.Now().Add(s.deadline)
	var group errgroup.Group
	group.SetLimit(parallel)
	for _, op := range s.shop.log.of("order") {
		for _, order := range op.answers() {
			group.Go(func() error {
				s.awaitOne(ctx, op, order, deadline)
				return nil
			})
		}
	}
	_ = group.Wait() // failures are in findings
}

func (s *settler) awaitOne(ctx context.Context, op *Op, order string, deadline time.Time) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	customer := s.shop.customers[op.User]
	var last error
	for {
		got, err := customer.WaitForOrder(ctx, order, 5*time.Second)
		switch {
		case err == nil && got.Status.Ended():
			s.mu.Lock()
			s.orders[order] = got
			s.mu.Unlock()
			return
		case err == nil:
			last = fmt.Errorf("is %s, waiting: %+v", got.Status, got.Waiting)
		case definite(err):
			s.findings.add("an acknowledged order exists", order, "acknowledged to key %s: %v", op.Key, err)
			return
		case ctx.Err() == nil:
			last = err
		}
		if !pause(ctx, 100*time.Millisecond) {
			s.findings.add("every order comes to an end", order, "after %s: %v", s.deadline, last)
			return
		}
	}
}

// eventually repeats a comparison until it holds. Its last result is the violation. The pauses grow, because
// comparisons are a load too.
func (s *settler) eventually(ctx context.Context, invariant, key string, compare func(ctx context.Context) error) {
	ctx, cancel := context.WithTimeout(ctx, s.deadline)
	defer cancel()
	for wait := 300 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		err := once(ctx, compare)
		var final *finalError
		if err == nil {
			return
		}
		if errors.As(err, &final) || !pause(ctx, wait) {
			s.findings.add(invariant, key, "%v", err)
			return
		}
	}
}

// finalError is a violation that does not disappear with time.
type finalError struct{ text string }

func (e *finalError) Error() string { return e.text }

func final(format string, args ...any) error { return &finalError{fmt.Sprintf(format, args...)} }

// everyCustomer runs a check for each customer.
func (s *settler) everyCustomer(check func(c *customer)) {
	var group errgroup.Group
	group.SetLimit(parallel)
	for _, c := range s.shop.customers {
		group.Go(func() error {
			check(c)
			return nil
		})
	}
	_ = group.Wait() // failures are in findings
}

// checkAudit runs an audit of the system.
func (s *settler) checkAudit(ctx context.Context) {
	s.eventually(ctx, "the audit comes to its end", "", func(ctx context.Context) error {
		report, err := s.shop.staff.OpsAudit(ctx)
		if err != nil {
			return err
		}
		if !report.Complete {
			return errors.New("it is not complete")
		}
		s.audit = report
		return nil
	})
	for _, f := range s.audit.Findings {
		s.findings.add("audit of "+f.Service+": "+f.Invariant, f.Key, "%s", f.Detail)
	}
	if n := s.audit.Counts["orders.inFlight"]; n > 0 {
		s.findings.add("every order comes to an end", "", "%d orders are under way", n)
	}
}
