package sim

import (
	"fmt"
	"testing"
	"time"
)

// auditedPlan is a shop that is audited all the time. Clocks differ by up to 15 s and calls take long, so audits see
// orders, products and e-mails in every state. The mail server defers some e-mails, and its answers are lost.
func auditedPlan(seed uint64, keys string) Plan {
	return Plan{Seed: seed, Keys: keys, Log: silent(), Audited: true,
		Faults: Faults{Kind: Kind(seed % 3), Slow: 0.15, Skew: 7500 * time.Millisecond, Replicas: 2, Email: true, MailFails: 0.1, MailReplyLost: 0.05},
		Size:   Size{Products: 6, Customers: 3, Orders: 5, Changes: 4, Stock: 50, Pause: 5 * time.Second, Wishes: true}}
}

// TestTheAuditHasNoFalsePositives audits shops while customers buy and staff create products.
func TestTheAuditHasNoFalsePositives(t *testing.T) {
	if *only != 0 {
		examine(t, auditedPlan(*only, t.TempDir()))
		return
	}
	const runs = 24
	if !*share {
		shareOut(t, "TestTheAuditHasNoFalsePositives", runs)
		return
	}
	keys := t.TempDir()
	audits := 0
	for n := range *seeds {
		seed := *first + uint64(n)
		result := Run(t, auditedPlan(seed, keys))
		report(t, fmt.Sprintf("-run TestTheAuditHasNoFalsePositives -sim.seed=%d", seed), result)
		audits += result.Audits
	}
	if audits == 0 {
		t.Error("no audit came to its end while customers were in the shop")
	}
	t.Logf("%d audits while customers bought, in %d shops", audits, *seeds)
}
