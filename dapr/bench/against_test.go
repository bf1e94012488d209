package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fakeVariant is a variant whose program writes its name to a file of calls, and one of the results for each run.
func fakeVariant(t *testing.T, name, calls string, results ...Result) Variant {
	t.Helper()
	dir := t.TempDir()
	for i, result := range results {
		if err := result.Keep(filepath.Join(dir, fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(dir, "dapr")
	script := `#!/bin/sh
if [ "$1" = help ]; then echo "  --store name  the store"; exit; fi
n=$(grep -c "^` + name + `$" ` + calls + `)
echo ` + name + ` >> ` + calls + `
[ -e ` + dir + `/$n ] || { echo "this is the reason"; exit 1; }
while [ $# -gt 0 ]; do [ "$1" = --json ] && cp ` + dir + `/$n "$2"; shift; done
`
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return Variant{Name: name, Root: dir, Program: program, Flags: []string{"--store=sqlite"}}
}

func measured(rate, cpu, others float64) Result {
	return Result{
		Setting: Setting{Broker: "rabbitmq", Store: "sqlite"}, Others: others,
		Orders:    []Load{{Name: "orders to their end", Clients: 64, PerSecond: rate, P50: 10, P99: 20}},
		Processor: []ProcessTime{{Name: "orders", PerOrder: cpu, Switches: 3, Calls: 4}, {Name: "all", PerOrder: cpu, Switches: 3, Calls: 4}},
	}
}

func compare(t *testing.T, ctx context.Context, other, this Variant, rounds int) (*Comparison, int, error) {
	t.Helper()
	kept := 0
	c, err := Against(ctx, other, this, AgainstOptions{
		Dir: t.TempDir(), Rounds: rounds, Out: new(bytes.Buffer), Kept: func(*Comparison) error { kept++; return nil },
	})
	return c, kept, err
}

func TestVariantsAreMeasuredInTurn(t *testing.T) {
	calls := filepath.Join(t.TempDir(), "calls")
	old := measured(100, 20, 0.5)
	old.Processor[1].Switches, old.Processor[1].Calls = 0, 0 // as an older revision has it
	other := fakeVariant(t, "old", calls, old, measured(300, 40, 0.5), measured(200, 30, 0.5))
	this := fakeVariant(t, "new", calls, measured(400, 10, 0.1), measured(350, 16, 0.1), measured(500, 15, 0.1))
	if err := os.WriteFile(calls, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c, kept, err := compare(t, t.Context(), other, this, 3)
	if err != nil || kept != 3 || c.Store != "sqlite" {
		t.Fatalf("kept %d times, %v", kept, err)
	}
	if order, _ := os.ReadFile(calls); string(order) != strings.Repeat("old\nnew\n", 3) {
		t.Errorf("they ran as %q", order)
	}
	var out bytes.Buffer
	c.Show(&out)
	for _, want := range []string{
		"orders to their end, 64 clients, per s", "200.0      400.0     2.00   100.0 300.0 200.0 | 400.0 350.0 500.0",
		"processor time of an order, ms: all", "30.0       15.0     0.50", "processors used by others, %                         50.0       10.0",
		"context switches of an order                         3.00       3.00     1.00   3.00 3.00 | 3.00 3.00 3.00",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
	file := filepath.Join(t.TempDir(), "kept.json")
	if err := c.Keep(file); err != nil {
		t.Fatal(err)
	}
	var read Comparison
	if raw, _ := os.ReadFile(file); json.Unmarshal(raw, &read) != nil || len(read.Other.Results) != 3 || read.This.Results[2].Orders[0].PerSecond != 500 {
		t.Errorf("the file has %+v", read)
	}
}

func TestARunThatFailsSaysWhy(t *testing.T) {
	calls := filepath.Join(t.TempDir(), "calls")
	if err := os.WriteFile(calls, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	one := measured(1, 1, 0)
	c, kept, err := compare(t, t.Context(), fakeVariant(t, "old", calls, one, one), fakeVariant(t, "new", calls, one), 2)
	if err == nil || !strings.Contains(err.Error(), "measuring new") || !strings.Contains(err.Error(), "this is the reason") {
		t.Errorf("it fails with %v", err)
	}
	if kept != 1 || len(c.Other.Results) != 1 || len(c.This.Results) != 1 {
		t.Errorf("kept %d times: %d and %d results, want the complete round", kept, len(c.Other.Results), len(c.This.Results))
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, kept, err := compare(t, ended, fakeVariant(t, "old", calls, one), fakeVariant(t, "new", calls, one), 1); !errors.Is(err, context.Canceled) || kept != 0 {
		t.Errorf("interrupted: kept %d, %v", kept, err)
	}
}

func TestFlagsThatAnOlderRevisionLacks(t *testing.T) {
	v := fakeVariant(t, "old", filepath.Join(t.TempDir(), "calls"))
	if missing, err := v.Lacks(t.Context(), []string{"store", "messages"}); err != nil || len(missing) != 1 || missing[0] != "messages" {
		t.Errorf("it lacks %v, %v", missing, err)
	}
}

func TestMedian(t *testing.T) {
	for want, values := range map[float64][]float64{0: nil, 2: {3, 2, 1}, 1.5: {2, 1}, 7: {7}} {
		if got := median(values); got != want {
			t.Errorf("median(%v) = %v", values, got)
		}
	}
}

func TestWhatOthersUse(t *testing.T) {
	since := busy{all: 10 * time.Second, work: 2 * time.Second, bench: time.Second}
	now := busy{all: 20 * time.Second, work: 10 * time.Second, bench: 2 * time.Second}
	if got := now.others(since, 3*time.Second); got != 0.4 { // 8 s of work, 1 s its own, 3 s of the stack, of 10 s
		t.Errorf("others use %v", got)
	}
	if got := now.others(since, 0); got != 0 {
		t.Errorf("of an unknown stack, others use %v", got)
	}
	if real := measureBusy(); real.all <= 0 || real.work <= 0 || real.work > real.all || real.bench <= 0 {
		t.Errorf("this machine has %+v", real)
	}
}
