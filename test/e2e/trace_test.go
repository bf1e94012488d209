package e2e

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"caravan/test/tracesink"
)

// replicaNumber matches the number in the names of all replicas except the first.
var replicaNumber = regexp.MustCompile(`-\d+\b`)

// TestOneTrace shows one order as one connected trace: one root at the gateway, every span's parent in it, and a span
// of every service that took part, including the notification, which comes over the broker.
func TestOneTrace(t *testing.T) {
	s := shared(t)
	sh := open(t, s)
	p := sh.product(100, 5)
	c := sh.customer(1000)
	accepted, got := c.place(items(p, 1))
	parts := strings.Split(got.header.Get("traceparent"), "-")
	if len(parts) != 4 {
		t.Fatalf("%s has the traceparent %q", got, got.header.Get("traceparent"))
	}
	c.await(accepted.ID).expect(t, "confirmed", "")
	want := []string{"gateway", "orders", "products", "payments", "notifications", "gateway-daprd", "orders-daprd", "products-daprd", "payments-daprd", "notifications-daprd"}
	var spans []tracesink.Span
	err := within(waitLimit/2, func() error {
		spans = s.sink.Trace(parts[1])
		took := tracesink.Services(spans)
		for i, service := range took { // any replica will do
			took[i] = replicaNumber.ReplaceAllString(service, "")
		}
		for _, service := range want {
			if !slices.Contains(took, service) {
				return errorf("%s is not in it; %v are", service, took)
			}
		}
		if orphans := tracesink.Orphans(spans); len(orphans) > 0 {
			return errorf("%d of %d spans miss their parent", len(orphans), len(spans))
		}
		if roots := tracesink.Roots(spans); len(roots) != 1 || roots[0].Service != "gateway" {
			return errorf("it has the roots %v", roots)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("waiting for the trace to be whole: %v\n%s", err, tracesink.Render(spans))
	}
}
