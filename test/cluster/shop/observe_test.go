package shop

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"caravan/dapr/records"
	"caravan/dapr/records/store"
	"caravan/test/cluster/pods"
)

// observeNamespace is where k8s/observe puts the log store and its collector.
const observeNamespace = "caravan-observe"

// observing waits until spans are received and stored.
func observing(t *testing.T) {
	t.Helper()
	for _, workload := range []string{"statefulset/logstore", "daemonset/collector"} {
		must(t, "rollout", "status", "--namespace="+observeNamespace, workload, "--timeout="+waitLimit.String())
	}
}

// observers deletes the collector's pod, and kills the log store. Nobody who places orders may notice.
func observers(t *testing.T, r *traffic) {
	replaced := r.during(t, "the pod of the collector is deleted", func() {
		must(t, "delete", "pod", "--namespace="+observeNamespace, onePodIn(t, observeNamespace, "collector").Metadata.Name)
		observing(t)
	})
	killed := r.during(t, "the log store is killed", func() {
		kill(t, onePodIn(t, observeNamespace, "logstore"), "victoria-logs")
		observing(t)
	})
	if failed := replaced.failures("checkout") + killed.failures("checkout"); failed > 0 {
		t.Errorf("%d failed checkouts", failed)
	}
}

// recorded proves that the log store has the lines and spans of an order from before all faults and of one from after them, and
// what "kubectl logs" shows of each container, each line once.
func recorded(t *testing.T, r *traffic) {
	s := store.New("http://" + must(t, "get", "service", "logstore", "--namespace="+observeNamespace, "-o", "jsonpath={.spec.clusterIP}") + ":9428")
	defer s.Close()
	orders := slices.SortedFunc(maps.Values(r.orders), func(a, b placed) int { return a.at.Compare(b.at) })
	for _, order := range []placed{orders[0], orders[len(orders)-1]} {
		eventually(t, "lines and spans of "+order.cause, func() error { return followed(t, s, order.cause) })
	}
	once(t, s)
	for _, program := range []string{"collector", "logstore"} {
		used, err := onePodIn(t, observeNamespace, program).Memory()
		if err != nil || len(used) == 0 {
			t.Errorf("memory of %s: %v, %v", program, used, err)
		}
		t.Logf("memory of %s in MiB: %v", program, used)
	}
}

// followed returns which lines and spans a correlation id of an order does not find: each program that handles an order has both, and its
// sidecar has spans.
func followed(t *testing.T, s *store.Client, cause string) error {
	query := records.Query{Correlation: cause}
	lines, err := s.Rows(t.Context(), query.LogsQL(), time.Time{})
	if err != nil {
		return err
	}
	traces, err := s.Values(t.Context(), records.TracesQL(cause), records.ColumnTrace, time.Time{})
	if err != nil {
		return err
	}
	spans, err := s.Rows(t.Context(), records.SpansQL(traces), time.Time{})
	if err != nil {
		return err
	}
	found := map[string]int{}
	for _, row := range slices.Concat(lines, spans) {
		name := fmt.Sprintf("%ss of %s", row.Kind, row.App)
		if records.IsSidecar(row.Instance) {
			name += "'s sidecar"
		}
		found[name]++
	}
	for _, app := range []string{"gateway", "orders", "products", "payments", "notifications"} {
		for _, name := range []string{"logs of " + app, "spans of " + app, "spans of " + app + "'s sidecar"} {
			if found[name] == 0 {
				err = errors.Join(err, errors.New("no "+name))
			}
		}
	}
	if err == nil {
		t.Logf("%s: %d lines and %d spans: %v", cause, len(lines), len(spans), found)
	}
	return err
}

// line is a line of a container.
type line struct{ instance, text string }

// once waits until the store has all that the containers have written so far, and holds that it has none of it twice.
func once(t *testing.T, s *store.Client) {
	t.Helper()
	lines := written(t)
	var have map[line]int
	eventually(t, "the log store to have all lines", func() (err error) {
		if have, err = stored(t, s); err != nil {
			return err
		}
		lacking := 0
		for of, n := range lines {
			if have[of] < n {
				lacking += n - have[of]
				err = fmt.Errorf("it lacks %d lines, one of %s: %.300s", lacking, of.instance, of.text)
			}
		}
		return err
	})
	// Of a text without a time there could be more, of an earlier pod of the same name.
	for of, n := range written(t) {
		if have[of] > n && strings.HasPrefix(of.text, "{") {
			t.Errorf("%s: the log store has %d, not %d: %.300s", of.instance, have[of], n, of.text)
		}
	}
	counts := map[string]int{}
	for of, n := range lines {
		counts[records.AppOf(of.instance)] += n
	}
	t.Logf("the log store has each line of \"kubectl logs\", by program and sidecar together: %v", counts)
}

// written are the lines of "kubectl logs" of each container, also of those that were killed, as the store should have them, and how
// often each was written.
func written(t *testing.T) map[line]int {
	t.Helper()
	out := must(t, "logs", "-l", "app.kubernetes.io/name", "--all-containers", "--prefix", "--tail=-1")
	all, err := pods.List(t.Context(), "app.kubernetes.io/name")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		for _, c := range p.Status.ContainerStatuses {
			if c.RestartCount > 0 {
				out += "\n" + must(t, "logs", p.Metadata.Name, "-c", c.Name, "--previous", "--prefix")
			}
		}
	}
	lines := map[line]int{}
	for text := range strings.Lines(out) {
		source, text, _ := strings.Cut(strings.TrimRight(text, "\r\n"), "] ")
		parts := strings.Split(source, "/") // [pod/NAME/CONTAINER
		if len(parts) != 3 || text == "" {
			continue
		}
		instance := parts[1]
		if parts[2] == "daprd" {
			instance += "-daprd"
		}
		lines[line{instance, records.Mask(text)}]++
	}
	return lines
}

// stored are the lines that the store has. None may have the place of another.
func stored(t *testing.T, s *store.Client) (map[line]int, error) {
	t.Helper()
	lines, places := map[line]int{}, map[string]bool{}
	err := s.Query(t.Context(), (&records.Query{}).LogsQL(), time.Time{}, func(raw []byte) error {
		row, err := records.DecodeRow(raw)
		place := fmt.Sprintf("%s %s %d", row.Instance, row.File, row.Offset)
		if places[place] {
			t.Errorf("the log store has twice: %.300s", raw)
		}
		places[place] = true
		lines[line{row.Instance, row.Text()}]++
		return err
	})
	return lines, err
}
