package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"caravan/test/apicheck"
)

// auditLimit is the longest wait for an audit. It looks at everything in a stack that many tests share, on processors that they share.
const auditLimit = 5 * time.Minute

// audit runs the system's audit and fails on every finding.
func (sh *shop) audit() {
	sh.t.Helper()
	began := time.Now()
	audit := sh.complete()
	if err := audit.sound(); err != nil {
		sh.t.Error(err)
	}
	sh.t.Logf("the audit took %s", time.Since(began).Round(time.Millisecond))
}

// complete runs the audit to its end.
func (sh *shop) complete() auditBody {
	sh.t.Helper()
	audit, err := completeAudit(sh.admin, auditLimit)
	if err != nil {
		sh.t.Fatal(err)
	}
	return audit
}

// completeAudit runs the audit to its end.
func completeAudit(admin *client, limit time.Duration) (audit auditBody, err error) {
	err = within(limit, func() error {
		audit = auditBody{}
		if err := admin.try("/v1/ops/audit", &audit); err != nil {
			return err
		}
		if !audit.Complete {
			return errors.New("it is not")
		}
		return nil
	})
	if err != nil {
		return audit, fmt.Errorf("waiting for the audit to be complete: %w", err)
	}
	return audit, nil
}

// sound returns an error with all findings, or if orders are under way when all have ended.
func (a auditBody) sound() error {
	var wrong []error
	for _, f := range a.Findings {
		wrong = append(wrong, fmt.Errorf("the audit of %s finds against %q: %s: %s", f.Service, f.Invariant, f.Key, f.Detail))
	}
	if n := a.Counts["orders.inFlight"]; n > 0 {
		wrong = append(wrong, fmt.Errorf("%d orders are under way although all have ended: %v", n, a.Counts))
	}
	return errors.Join(wrong...)
}

// auditFaults audits the stack if a test has ended processes of it. The audit of a stack that many tests share looks at the orders of
// all of them; so it is left out after tests that only used the API, and lastAudit makes up for it.
func (s *stack) auditFaults(t *testing.T) {
	if !s.faulted.Swap(false) || t.Failed() {
		return // look at the first failure only
	}
	began := time.Now()
	audit, err := completeAudit(s.admin(), auditLimit)
	if err = errors.Join(err, audit.sound()); err != nil {
		t.Error(err)
	}
	t.Logf("the audit took %s", time.Since(began).Round(time.Millisecond))
}

// lastAudit audits the stack when no test runs, and checks the answers against the API's document.
func (s *stack) lastAudit() error {
	var wrong []error
	admin := s.admin()
	admin.http = &http.Client{Transport: &apicheck.Transport{
		Next: http.DefaultTransport, Document: s.document, Report: func(err error) { wrong = append(wrong, err) },
	}}
	audit, err := completeAudit(admin, auditLimit)
	return errors.Join(err, audit.sound(), errors.Join(wrong...))
}
