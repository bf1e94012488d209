// Package cells runs the fault matrix of checkout on the real stack: nine steps
// by nine faults, each fault injected at its very call (package intercept), and
// each case held to the same books at its end.
package cells

import (
	"testing"
)

// cell is one case of the matrix.
type cell struct {
	name string
	run  func(*trial)
}

// phases are all cells, in groups that run one after the other.
var phases = []phase{
	{name: "duplicates, disorder, delay and conflicts", cells: []cell{
		{"RSV-DUP", reserveDuplicate},
		{"RSV-REO", reserveReorder},
		{"RSV-EC", reserveConflict},
	}},
	{name: "crashes", cells: []cell{
		{"RSV-CB", reserveCrashBefore},
		{"RSV-CA", reserveCrashAfter},
	}},
}

// TestMatrix runs the cells.
func TestMatrix(t *testing.T) {
	w := start(t)
	for _, p := range phases {
		p.run(t, w)
	}
}
