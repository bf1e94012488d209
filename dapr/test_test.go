package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"
)

// events is output of go test -json for two packages: one has a test that passes and two that are skipped, the other
// one has a test that fails.
const events = `{"Action":"start","Package":"caravan/test/chaos"}
{"Action":"run","Package":"caravan/test/chaos","Test":"TestGood"}
{"Action":"output","Package":"caravan/test/chaos","Test":"TestGood","Output":"=== RUN   TestGood\n"}
{"Action":"pass","Package":"caravan/test/chaos","Test":"TestGood"}
{"Action":"output","Package":"caravan/test/chaos","Test":"TestStorm","Output":"=== RUN   TestStorm\n"}
{"Action":"output","Package":"caravan/test/chaos","Test":"TestStorm","Output":"    chaos_test.go:105: starting the stack: rabbitmq is not installed: apt install rabbitmq-server\n"}
{"Action":"output","Package":"caravan/test/chaos","Test":"TestStorm","Output":"--- SKIP: TestStorm (0.00s)\n"}
{"Action":"skip","Package":"caravan/test/chaos","Test":"TestStorm"}
{"Action":"output","Package":"caravan/test/chaos","Test":"TestFlash","Output":"    chaos_test.go:105: starting the stack: rabbitmq is not installed: apt install rabbitmq-server\n"}
{"Action":"skip","Package":"caravan/test/chaos","Test":"TestFlash"}
{"Action":"output","Package":"caravan/test/chaos","Output":"PASS\n"}
{"Action":"output","Package":"caravan/test/chaos","Output":"ok  \tcaravan/test/chaos\t1.0s\n"}
{"Action":"pass","Package":"caravan/test/chaos"}
{"ImportPath":"caravan/x","Action":"build-output","Output":"x.go:1:1: no package\n"}
{"Action":"output","Package":"caravan/y","Test":"TestBad","Output":"    y_test.go:1: it is broken\n"}
{"Action":"fail","Package":"caravan/y","Test":"TestBad"}
{"Action":"output","Package":"caravan/y","Test":"TestEnded","Output":"panic: at once\n"}
{"Action":"fail","Package":"caravan/y"}
go: a line of the go command
`

func TestWhatWasSkippedIsNamed(t *testing.T) {
	var shown, last bytes.Buffer
	omitted := omissions{}
	if err := showTests(strings.NewReader(events), &shown, omitted); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ok  \tcaravan/test/chaos", "it is broken", "panic: at once", "x.go:1:1: no package", "go: a line of the go command"} {
		if !strings.Contains(shown.String(), want) {
			t.Errorf("%q was not shown", want)
		}
	}
	for _, hidden := range []string{"TestGood", "TestStorm", "{"} {
		if strings.Contains(shown.String(), hidden) {
			t.Errorf("%q was shown", hidden)
		}
	}
	c := &cli{out: &last}
	c.showPassed(time.Minute, omitted)
	if got := last.String(); !strings.Contains(got, "Everything that could run here passed in 1m0s. Not tested:") ||
		!strings.Contains(got, "2 tests of test/chaos: starting the stack: rabbitmq is not installed: apt install rabbitmq-server") {
		t.Errorf("said %q", got)
	}
	last.Reset()
	c.showPassed(time.Minute, omissions{})
	if last.String() != "Everything passed in 1m0s.\n" {
		t.Errorf("said %q", last.String())
	}
}

func TestTheSuitesOverComposeAreNamed(t *testing.T) {
	c := &cli{}
	c.options.test.target, c.options.test.run = targetCompose, "TestX"
	steps := c.testSteps()
	if len(steps) != 1 || !slices.Contains(steps[0].env, "CARAVAN_E2E_TARGET=compose") ||
		!strings.HasSuffix(strings.Join(steps[0].args, " "), "-run TestX -count=1 ./test/e2e ./test/contract") {
		t.Errorf("the steps are %+v", steps)
	}
	for _, with := range []string{"--short", "--matrix"} {
		if status, _, said := invoke(t, "test", "--target", "compose", with); status != exitUsage || !strings.Contains(said, with) {
			t.Errorf("with %s: status %d, said %q", with, status, said)
		}
	}
}
