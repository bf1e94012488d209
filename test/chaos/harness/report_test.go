package harness

import (
	"strings"
	"testing"
)

func TestAReportFromElsewhereSaysNothingOfFaults(t *testing.T) {
	own := &Report{Campaign: "storm", Broker: "rabbitmq", Store: "sqlite", Passed: true, Faults: make([]Fired, 2), Orders: map[string]int{"acknowledged": 3}}
	elsewhere := *own
	elsewhere.Broker, elsewhere.Store, elsewhere.Where, elsewhere.Faults = "", "", "docker compose", nil
	for _, test := range []struct {
		report *Report
		says   []string
		not    []string
	}{
		{own, []string{"broker rabbitmq, store sqlite", "2 of 0 scheduled faults", "After the last fault", "rabbitmq and sqlite: 3 orders, 2 faults, 0 kills, 0 violations"}, nil},
		{&elsewhere, []string{"docker compose, ", "Load for 0s", "docker compose: 3 orders, 0 violations"}, []string{"fault", "kill", "broker", "store", " and "}},
	} {
		var out strings.Builder
		test.report.Text(&out)
		for _, want := range test.says {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%q does not say %q", out.String(), want)
			}
		}
		for _, word := range test.not {
			if strings.Contains(out.String(), word) {
				t.Errorf("%q says %q", out.String(), word)
			}
		}
	}
}
