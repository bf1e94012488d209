package main

import (
	"strings"
	"testing"

	"caravan/dapr/launcher"
)

func TestWhereSpansAreSent(t *testing.T) {
	for name, test := range map[string]struct{ flag, variable, want, refused string }{
		"nowhere":        {"", "", "", ""},
		"by the flag":    {"http://a:1", "", "http://a:1", ""},
		"by a variable":  {"", "http://b:2", "http://b:2", ""},
		"flag over it":   {"http://a:1", "http://b:2", "http://a:1", ""},
		"no URL":         {"", "b:2", "", otlpVariable + ": want a URL"},
		"the flag alone": {"http://a:1", "b:2", "http://a:1", ""},
	} {
		up := upOptions{otlp: test.flag}
		got, err := up.otlpEndpoint(func(string) string { return test.variable })
		if got != test.want || (err == nil) != (test.refused == "") || err != nil && !strings.Contains(err.Error(), test.refused) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestUpStoresLogLinesAndBenchDoesNot(t *testing.T) {
	for command, choice := range map[string]string{"up": "logs", "bench": "off"} {
		status, out, _ := invoke(t, "help", command)
		if status != exitOK || !strings.Contains(out, "a store for log lines and spans, which takes processor time for each order;") ||
			!strings.Contains(out, "a store for metrics with dashboards (default "+choice+")") {
			t.Errorf("help %s says %s", command, out)
		}
	}
	for _, args := range [][]string{{"up", "--observe", "all"}, {"up", "--sidecar-spans", "2"}, {"up", "--sidecar-spans", "0"}} {
		if status, _, stderr := invoke(t, args...); status != exitUsage || !strings.Contains(stderr, args[1]) {
			t.Errorf("%v: status %d, said %q", args, status, stderr)
		}
	}
}

func TestStatusSaysWhatWasLost(t *testing.T) {
	for want, done := range map[string]*launcher.Collected{
		"the collector does not answer":                        nil,
		"1 row stored, 0 spans received":                       {Lines: 1},
		"9 rows stored, 4 spans received; 2 kB of files to go": {Lines: 9, Spans: 4, BytesBehind: 1025},
		"0 rows stored, 0 spans received; the store does not answer; 7 spans refused for lack of space; 1 export could not be read": {StoreFailures: 3, SpansRefused: 7, ExportsInvalid: 1},
	} {
		if got := collected(done); got != want {
			t.Errorf("says %q, want %q", got, want)
		}
	}
}
