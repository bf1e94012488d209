// Package cells runs the fault matrix of checkout on the real stack: nine steps by nine faults. Each fault is injected
// at the exact call (package intercept), and each case ends with the same checks.
//
// The steps are PLC place, QTE quote, RSV reserve, AUT authorize, CAP capture, CNF confirm, NTF notify, CNL cancel and
// RFD refund. The faults are CB crash before the effect, CA crash after it, DUP duplicate, REO disorder, DLY late
// arrival, PD participant down, BD broker down, SD store down and EC ETag conflict. docs/fault-matrix.md lists the
// expected result of each case.
//
// By default a short list runs. CARAVAN_CHAOS_CELLS=all runs every case, and -run selects single ones.
// CARAVAN_E2E_BROKER and CARAVAN_E2E_STORE choose broker and store.
package cells

import (
	"slices"
	"testing"
)

// cell is one case of the matrix.
type cell struct {
	name string
	run  func(*trial)
}

// phases are all cells, in groups that run one after the other. A name with a plus is an addition to the 81.
var phases = []phase{
	{name: "duplicates, disorder, late arrivals and conflicts", cells: []cell{
		{"PLC-DUP", placeDuplicate}, {"PLC-REO", placeReorder}, {"PLC-DLY", placeDelay}, {"PLC-EC", placeConflict},
		{"QTE-DUP", quoteDuplicate}, {"QTE-REO", quoteReorder}, {"QTE-DLY", quoteDelay}, {"QTE-EC", quoteConflict},
		{"RSV-DUP", reserveDuplicate}, {"RSV-REO", reserveReorder}, {"RSV-DLY", reserveDelay}, {"RSV-EC", reserveConflict},
		{"AUT-DUP", authorizeDuplicate}, {"AUT-REO", authorizeReorder}, {"AUT-DLY", authorizeDelay}, {"AUT-EC", authorizeConflict},
		{"AUT+declined", authorizeDeclined},
		{"RSV+deadline", reserveDeadline}, {"AUT+deadline", authorizeDeadline}, {"CAP+deadline", captureDeadline},
		{"CAP-DUP", captureDuplicate}, {"CAP-REO", captureReorder}, {"CAP-DLY", captureDelay}, {"CAP-EC", captureConflict},
		{"CNF-DUP", confirmDuplicate}, {"CNF-REO", confirmReorder}, {"CNF-DLY", confirmDelay}, {"CNF-EC", confirmConflict},
		{"NTF-DUP", notifyDuplicate}, {"NTF-REO", notifyReorder}, {"NTF-DLY", notifyDelay}, {"NTF-EC", notifyConflict},
		{"CNL-DUP", cancelDuplicate}, {"CNL-REO", cancelReorder}, {"CNL-DLY", cancelDelay}, {"CNL-EC", cancelConflict},
		{"RFD-DUP", refundDuplicate}, {"RFD-REO", refundReorder}, {"RFD-DLY", refundDelay}, {"RFD-EC", refundConflict},
		{"RFD+restock", refundRestock},
		{"NTF+poison", poisonEvent},
	}},
	{name: "stores that fail", cells: []cell{
		{"PLC-SD", placeStoreDown}, {"QTE-SD", quoteStoreDown}, {"RSV-SD", reserveStoreDown},
		{"AUT-SD", authorizeStoreDown}, {"CAP-SD", captureStoreDown}, {"CNF-SD", confirmStoreDown},
		{"NTF-SD", notifyStoreDown}, {"CNL-SD", cancelStoreDown}, {"RFD-SD", refundStoreDown},
	}},
	{name: "crashes", cells: []cell{
		{"PLC-CB", placeCrashBefore}, {"PLC-CA", placeCrashAfter},
		{"QTE-CB", quoteCrashBefore}, {"QTE-CA", quoteCrashAfter},
		{"RSV-CB", reserveCrashBefore}, {"RSV-CA", reserveCrashAfter}, {"RSV+part", reserveInPart},
		{"AUT-CB", authorizeCrashBefore}, {"AUT-CA", authorizeCrashAfter}, {"AUT+bank", depositCrash},
		{"CAP-CB", captureCrashBefore}, {"CAP-CA", captureCrashAfter}, {"CAP+sidecar", sidecarKilled},
		{"CNF-CB", confirmCrashBefore}, {"CNF-CA", confirmCrashAfter},
		{"CNF+before", confirmCrashBeforeWrite}, {"CNF+after", confirmCrashAfterCommit},
		{"NTF-CB", notifyCrashBefore}, {"NTF-CA", notifyCrashAfter},
		{"CNL-CB", cancelCrashBefore}, {"CNL-CA", cancelCrashAfter},
		{"RFD-CB", refundCrashBefore}, {"RFD-CA", refundCrashAfter},
		{"AUT+alone", programBeforeSidecar},
	}},
	{name: "orders down", victim: "orders", cells: []cell{{"PLC-PD", placeParticipantDown}}},
	{name: "products down", victim: "products", cells: []cell{
		{"QTE-PD", quoteParticipantDown}, {"RSV-PD", reserveParticipantDown}, {"CNF-PD", confirmParticipantDown}, {"CNL-PD", cancelParticipantDown},
	}},
	{name: "payments down", victim: "payments", cells: []cell{
		{"AUT-PD", authorizeParticipantDown}, {"CAP-PD", captureParticipantDown}, {"RFD-PD", refundParticipantDown},
	}},
	{name: "notifications down", victim: "notifications", cells: []cell{{"NTF-PD", notifyParticipantDown}}},
	{name: "the broker down", victim: "broker", cells: []cell{
		{"PLC-BD", placeBrokerDown}, {"QTE-BD", quoteBrokerDown}, {"RSV-BD", reserveBrokerDown},
		{"AUT-BD", authorizeBrokerDown}, {"CAP-BD", captureBrokerDown}, {"CNF-BD", confirmBrokerDown},
		{"NTF-BD", notifyBrokerDown}, {"CNL-BD", cancelBrokerDown}, {"RFD-BD", refundBrokerDown},
	}},
}

// smoke are the cells that run by default: at least one of each step and of each fault.
var smoke = []string{
	"PLC-DUP", "PLC-CA", "QTE-CA", "RSV-REO", "RSV-CB", "PLC-SD", "AUT-DLY", "AUT-CA", "CAP-CB", "CAP-EC",
	"CNF-CA", "CNF-DUP", "NTF-DUP", "CNL-REO", "RFD-DUP", "RFD-PD", "QTE-BD",
}

// everything has all phases, including those that only some stores allow.
func everything() []phase { return append(slices.Clone(phases), storeServerDown) }

// selected are the phases with the cells that run on a store.
func selected(all bool, store string) []phase {
	var chosen []phase
	for _, p := range everything() {
		if p.victim == "store" && store == "sqlite" {
			continue // the store's documents are files of the sidecars
		}
		p.cells = slices.DeleteFunc(slices.Clone(p.cells), func(c cell) bool { return !all && !slices.Contains(smoke, c.name) })
		if len(p.cells) > 0 {
			chosen = append(chosen, p)
		}
	}
	return chosen
}

// TestMatrix runs the cells.
func TestMatrix(t *testing.T) {
	w := start(t)
	for _, p := range selected(settings.cells == "all", settings.store) {
		p.run(t, w)
	}
}
