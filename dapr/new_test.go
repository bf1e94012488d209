package main

import (
	"strings"
	"testing"
)

func TestNewServiceDryRun(t *testing.T) {
	status, out, stderr := invoke(t, "new", "service", "qreviews", "--dry-run")
	if status != exitOK {
		t.Fatalf("status %d: %s", status, stderr)
	}
	for _, want := range []string{
		"write   services/qreviews/main.go\n", "write   k8s/base/qreviews.yaml\n", "change  dapr/dapr.yaml\n", "change  gateway/openapi.yaml\n",
		"go generate ./gateway/...\n",
		"Nothing was written. There would be ",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
}

func TestNewServiceRefusesNames(t *testing.T) {
	for name, want := range map[string]string{
		"Reviews": "is not a name for a service", "orders": `There is a service "orders" already`, "store": "is reserved",
	} {
		status, out, stderr := invoke(t, "new", "service", name, "--dry-run")
		if status != exitUsage || out != "" || !strings.Contains(strings.ToLower(stderr), strings.ToLower(want)) {
			t.Errorf("%s: status %d, %q, %q", name, status, out, stderr)
		}
	}
	if status, _, stderr := invoke(t, "new", "servic"); status != exitUsage || !strings.Contains(stderr, `Did you mean "new service"?`) {
		t.Errorf("a misspelt command: status %d, %q", status, stderr)
	}
	if status, out, _ := invoke(t, "new"); status != exitOK || !strings.Contains(out, "new service") {
		t.Errorf("the group: status %d, %q", status, out)
	}
}

func TestNewConsumerRefuses(t *testing.T) {
	for _, c := range []struct{ service, event, want string }{
		{"nobody", "orders.confirmed.v1", `There is no service "nobody"`},
		{"notifications", "orders.shipped.v1", `orders has no event "orders.shipped.v1". Its events are `},
		{"products", "orders.confirmed.v1", "products consumes no events yet"},
	} {
		status, out, stderr := invoke(t, "new", "consumer", c.service, c.event, "--dry-run")
		if status != exitUsage || out != "" || !strings.Contains(stderr, c.want) {
			t.Errorf("%s %s: status %d, %q, %q", c.service, c.event, status, out, stderr)
		}
	}
	if status, out, _ := invoke(t, "new"); status != exitOK || !strings.Contains(out, "new consumer") {
		t.Errorf("the group: status %d, %q", status, out)
	}
}
