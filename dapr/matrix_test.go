package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"caravan/dapr/launcher"
)

func TestMatrixHasEverySet(t *testing.T) {
	for _, broker := range launcher.Brokers()[1:] {
		if !slices.ContainsFunc(matrix(), func(p pairing) bool { return p.broker == broker }) {
			t.Errorf("no run on %s", broker)
		}
	}
	for _, store := range launcher.Stores() {
		if !slices.ContainsFunc(matrix(), func(p pairing) bool { return p.store == store }) {
			t.Errorf("no run on %s", store)
		}
	}
	seen := map[pairing]bool{}
	for _, p := range matrix() {
		if seen[p] || p.broker == launcher.Brokers()[0] {
			t.Errorf("%v is run twice, or on whatever is at hand", p)
		}
		seen[p] = true
	}
}

func TestTestsAreCounted(t *testing.T) {
	var out bytes.Buffer
	var counted trial
	if err := (&cli{out: &out}).countTests(strings.NewReader(`
{"Action":"run","Test":"TestA"}
{"Action":"pass","Test":"TestA/inner"}
{"Action":"pass","Test":"TestA"}
not a line of JSON
{"Action":"fail","Test":"TestB/inner"}
{"Action":"fail","Test":"TestB"}
{"Action":"skip","Test":"TestC"}
{"Action":"fail"}
`), &counted); err != nil {
		t.Fatal(err)
	}
	if counted.passed != 1 || counted.failed != 1 || counted.skipped != 1 || !slices.Equal(counted.failures, []string{"TestB", "TestB/inner"}) {
		t.Errorf("counted %+v", counted)
	}
	if !strings.Contains(out.String(), "FAILED TestB/inner") {
		t.Errorf("said %q", out.String())
	}
}

// TestMatrixTable shows that nothing that was not run counts as passed.
func TestMatrixTable(t *testing.T) {
	suites, storms := map[pairing]trial{}, map[pairing]trial{}
	for _, p := range matrix() {
		suites[p], storms[p] = trial{passed: 40, took: 1}, trial{took: 1}
	}
	var out bytes.Buffer
	c := &cli{out: &out}
	if c.showMatrix(suites, storms) {
		t.Errorf("everything passed, and it says otherwise:\n%s", out.String())
	}
	for name, spoil := range map[string]func(p pairing){
		"a failed test":   func(p pairing) { suites[p] = trial{passed: 39, failed: 1, took: 1} },
		"a failed storm":  func(p pairing) { storms[p] = trial{err: errFailed, took: 1} },
		"a suite not run": func(p pairing) { delete(suites, p) },
	} {
		spoil(matrix()[0])
		if !c.showMatrix(suites, storms) {
			t.Errorf("%s is not told:\n%s", name, out.String())
		}
		suites[matrix()[0]], storms[matrix()[0]] = trial{passed: 40, took: 1}, trial{took: 1}
	}
}
