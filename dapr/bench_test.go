package main

import (
	"caravan/dapr/launcher"
	"flag"
	"io"
	"strings"
	"testing"
)

func TestBenchTakesKindsOfMessages(t *testing.T) {
	if status, _, stderr := invoke(t, "bench", "--messages", "pigeon"); status != exitUsage || !strings.Contains(stderr, "want one of none, email, push") {
		t.Errorf("status %d, said %q", status, stderr)
	}
	c := &cli{out: io.Discard}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	benchCommand().flags(c, flags)
	if c.options.bench.messages != "email" {
		t.Errorf("by default the messages are %q", c.options.bench.messages)
	}
	if err := flags.Parse([]string{"--messages", "push"}); err != nil || c.options.bench.messages != "push" {
		t.Errorf("the messages are %q, %v", c.options.bench.messages, err)
	}
	if status, out, _ := invoke(t, "help", "bench"); status != exitOK || !strings.Contains(out, "--messages") {
		t.Errorf("help: %d, %q", status, out)
	}
}

func TestBenchTakesAnyStack(t *testing.T) {
	withoutPasswords(t)
	if status, _, stderr := invoke(t, "bench", "--gateway", "http://127.0.0.1:1", "--broker", launcher.Brokers()[0]); status != exitUsage || !strings.Contains(stderr, "do not give --target or --gateway") {
		t.Errorf("status %d, said %q", status, stderr)
	}
	composeRepository(t, "ADMIN_PASSWORD=x\nCARAVAN_PORT=8099\n")
	broker := strings.Replace(inspected("broker", healthy), "broker:1", "registry.example:5000/caravan/rabbitmq:3.13.7", 1)
	fakeDocker(t, "["+broker+","+published("127.0.0.1", "8098")+"]")
	c := &cli{root: "."}
	c.options.access.target = targetCompose
	stack, release, err := c.benchTarget(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	report, err := stack.Report(t.Context())
	if err != nil || len(report.Processes) != 2 || stack.Broker != "rabbitmq" || stack.Gateway != "http://127.0.0.1:8098" {
		t.Errorf("it measures %+v with %+v (%v)", stack, report, err)
	}
}

func TestNumbersOfReplicasAreChecked(t *testing.T) {
	for _, args := range [][]string{{"up", "--replicas", "6"}, {"bench", "--replicas", "0"}} {
		if status, _, stderr := invoke(t, args...); status != exitUsage || !strings.Contains(stderr, "from 1 to 5") {
			t.Errorf("%v: status %d, said %q", args, status, stderr)
		}
	}
	withoutPasswords(t)
	if status, _, stderr := invoke(t, "bench", "--gateway", "http://127.0.0.1:1", "--replicas", "2"); status != exitUsage || !strings.Contains(stderr, "do not give --target or --gateway") {
		t.Errorf("status %d, said %q", status, stderr)
	}
}

func TestFlagsOfStreamsAreChecked(t *testing.T) {
	withoutPasswords(t)
	for want, args := range map[string][]string{
		"from 1 to 10000":       {"--streams", "0"},
		"a number from 1 to 10": {"--streams", "10001"},
		"from 0.1 to 10000":     {"--streams", "5", "--rate", "0"},
		"--rate is for":         {"--rate", "5"},
		"do not give --clients": {"--streams", "5", "--clients", "1"},
		"do not give --compare": {"--streams", "5", "--compare", "f"},
	} {
		if status, _, stderr := invoke(t, append([]string{"bench"}, args...)...); status != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("%v: status %d, said %q", args, status, stderr)
		}
	}
}
