package cells

import (
	"os"
	"regexp"
	"slices"
	"testing"
)

// The rows and columns of the matrix.
var (
	matrixSteps  = []string{"PLC", "QTE", "RSV", "AUT", "CAP", "CNF", "NTF", "CNL", "RFD"}
	matrixFaults = []string{"CB", "CA", "DUP", "REO", "DLY", "PD", "BD", "SD", "EC"}
)

// names are the names of all cells, in the phases' order.
func names() []string {
	var all []string
	for _, p := range everything() {
		for _, c := range p.cells {
			all = append(all, c.name)
		}
	}
	return all
}

// TestTheMatrixIsWhole checks that each of the 81 cells of the matrix exists once.
func TestTheMatrixIsWhole(t *testing.T) {
	all := names()
	for _, step := range matrixSteps {
		for _, fault := range matrixFaults {
			if !slices.Contains(all, step+"-"+fault) {
				t.Errorf("no cell is called %s-%s", step, fault)
			}
		}
	}
	slices.Sort(all)
	if n := len(slices.Compact(slices.Clone(all))); n != len(all) {
		t.Errorf("%d cells have %d names", len(all), n)
	}
	for _, name := range smoke {
		if !slices.Contains(all, name) {
			t.Errorf("the smoke asks for %s, which is no cell", name)
		}
	}
}

// TestTheTableNamesTheCells compares docs/fault-matrix.md with the cells.
func TestTheTableNamesTheCells(t *testing.T) {
	raw, err := os.ReadFile("../../../docs/fault-matrix.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, row := range regexp.MustCompile("(?m)^\\| ([A-Z]{3}[-+][A-Za-z+]+) \\|.*\\| `([^`]+)` \\|$").FindAllStringSubmatch(string(raw), -1) {
		listed = append(listed, row[1])
		if row[2] != "TestMatrix/"+row[1] {
			t.Errorf("the row of %s names the test %s", row[1], row[2])
		}
	}
	all := names()
	for _, name := range all {
		if n := len(slices.DeleteFunc(slices.Clone(listed), func(other string) bool { return other != name })); n != 1 {
			t.Errorf("the table has %d rows for %s", n, name)
		}
	}
	for _, name := range listed {
		if !slices.Contains(all, name) {
			t.Errorf("the table has a row for %s, which is no cell", name)
		}
	}
}
