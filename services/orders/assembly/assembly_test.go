package assembly

import (
	"os"
	"reflect"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// defaultOf is the default of a setting of the saga.
func defaultOf(t *testing.T, name string) time.Duration {
	t.Helper()
	saga, _ := reflect.TypeFor[settings]().FieldByName("Saga")
	field, ok := saga.Type.FieldByName(name)
	d, err := time.ParseDuration(field.Tag.Get("default"))
	if !ok || err != nil {
		t.Fatalf("saga has no duration %s: %v", name, err)
	}
	return d
}

// TestTheSidecarGivesUpBeforeTheStep compares the settings with the sidecar's policies: an attempt makes at most two calls, one
// after the other, and an open breaker lets a call through again long before the deadline.
func TestTheSidecarGivesUpBeforeTheStep(t *testing.T) {
	raw, err := os.ReadFile("../../../dapr/resources/resiliency-orders.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Spec struct {
			Policies struct {
				Timeouts        struct{ Step time.Duration }
				CircuitBreakers struct {
					Step struct{ Timeout time.Duration }
				} `yaml:"circuitBreakers"`
			}
		}
	}
	if err := yaml.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	call, open := file.Spec.Policies.Timeouts.Step, file.Spec.Policies.CircuitBreakers.Step.Timeout
	attempt, longest, deadline := defaultOf(t, "StepTimeout"), defaultOf(t, "MaxBackoff"), defaultOf(t, "Deadline")
	if call <= 0 || 2*call > attempt {
		t.Errorf("two calls of %s do not fit into an attempt of %s", call, attempt)
	}
	if open <= 0 || 10*(open+longest) > deadline {
		t.Errorf("a breaker is open for %s, a pause takes up to %s and the deadline is %s", open, longest, deadline)
	}
}
