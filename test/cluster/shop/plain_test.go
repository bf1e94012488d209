package shop

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"caravan/dapr/client"
	"caravan/test/cluster/pods"
)

// TestPlain is Caravan without Dapr in the cluster. The parts use what those before them have made; with -short each of
// them breaks fewer things.
func TestPlain(t *testing.T) {
	onNode(t)
	password, applied := deploy(t, "../overlays/observed", "../../../k8s/observe")
	observing(t)
	r := open(t, gateway(t), password)
	journey(t, r)
	t.Logf("the first order was confirmed %s after the manifests were applied", seconds(time.Since(applied)))
	ready(t)
	t.Logf("all programs are available %s after they were applied", seconds(time.Since(applied)))
	unbroken(t)
	for _, program := range append(slices.Clone(programs), "broker", "store") {
		used, err := onePod(t, program).Memory()
		if err != nil || len(used) == 0 {
			t.Fatalf("memory of %s: %v, %v", program, used, err)
		}
		t.Logf("memory of %s in MiB: %v", program, used)
	}
	steps := []struct {
		name string
		do   func(*testing.T, *traffic)
	}{
		{"Outsider", func(t *testing.T, _ *traffic) { outsider(t) }},
		{"Rollouts", rollouts},
		{"Drain", drain},
		{"Faults", faults},
		{"Observers", observers},
	}
	r.start(t)
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) { step.do(t, r) })
	}
	r.settle(t)
	t.Run("Records", func(t *testing.T) { recorded(t, r) })
}

// journey is the golden one: an order from its placing to the notice of its confirmation.
func journey(t *testing.T, r *traffic) {
	t.Helper()
	began := time.Now()
	eventually(t, "an order to be confirmed", func() error { return r.checkOut(t.Context(), r.customers[0]) })
	confirmed := time.Now()
	eventually(t, "the customer to be notified", func() error {
		list, err := r.customers[0].ListNotifications(t.Context(), client.ListNotificationsParams{Limit: 100})
		if err != nil {
			return err
		}
		for _, notice := range list.Items {
			if _, ours := r.orders[notice.Data.OrderID]; ours && strings.HasPrefix(notice.Type, "orders.confirmed") {
				return nil
			}
		}
		return fmt.Errorf("%d notices, none of the order", len(list.Items))
	})
	mailed(t, r.customers[0])
	t.Logf("an order was confirmed after %s, and its customer notified %s later", seconds(confirmed.Sub(began)), seconds(time.Since(confirmed)))
}

// mailed waits until the mail server of development has the mail about a customer's order.
func mailed(t *testing.T, customer *client.Client) {
	t.Helper()
	me, err := customer.GetOwnUser(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mails := "http://" + must(t, "get", "service", "mail", "-o", "jsonpath={.spec.clusterIP}") + ":8025/mails?to=" + url.QueryEscape(me.Email)
	eventually(t, "the e-mail about the order", func() error {
		response, err := http.Get(mails)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		raw, err := io.ReadAll(response.Body)
		if err == nil && !strings.Contains(string(raw), "Your order is confirmed") {
			err = fmt.Errorf("%s: %s", response.Status, raw)
		}
		return err
	})
}

// outsider proves that a pod of another namespace reaches the gateway and nothing else, whatever listens, also of the log store and
// its collector.
func outsider(t *testing.T) {
	if _, err := kubectl(`
{"apiVersion": "v1", "kind": "List", "items": [
  {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "elsewhere"}},
  {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "outsider", "namespace": "elsewhere"}, "spec": {
    "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 1,
    "containers": [{"name": "pause", "image": "localhost/pause:1", "imagePullPolicy": "Never"}]}}]}`, "apply", "--namespace=", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	must(t, "wait", "--namespace=elsewhere", "--for=condition=Ready", "pod/outsider", "--timeout=60s")
	listening := map[string]string{}
	for _, namespace := range []string{pods.Namespace, observeNamespace} {
		all, err := pods.In(t.Context(), namespace, "app.kubernetes.io/name")
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range all {
			ports, err := p.Listeners()
			if err != nil {
				t.Fatal(err)
			}
			for _, port := range ports {
				listening[net.JoinHostPort(p.Status.PodIP, strconv.Itoa(port))] = fmt.Sprintf("%s:%d", p.Program(), port)
			}
		}
		services := must(t, "get", "services", "--namespace="+namespace, "-o", `jsonpath={range .items[*]}{.metadata.name} {.spec.clusterIP}:{.spec.ports[0].port}{"\n"}{end}`)
		for line := range strings.Lines(services) {
			name, address, _ := strings.Cut(strings.TrimSpace(line), " ")
			listening[address] = "service " + name
		}
	}
	out := must(t, append([]string{"exec", "--namespace=elsewhere", "outsider", "--", "/pause"}, slices.Sorted(maps.Keys(listening))...)...)
	var reached []string
	for _, line := range strings.Split(out, "\n") {
		if address, ok := strings.CutSuffix(line, " open"); ok {
			reached = append(reached, listening[address])
		}
	}
	slices.Sort(reached)
	t.Logf("of %d addresses where something listens a outsider reaches %v", len(listening), reached)
	if want := []string{"gateway:8080", "service gateway"}; !slices.Equal(reached, want) {
		t.Errorf("a outsider reaches %v, want %v", reached, want)
	}
	if len(listening) < 29 { // each program, its sidecar's three ports, broker, store, log store, collector, services
		t.Errorf("only %v listen", listening)
	}
}

// rollouts replaces each program in turn and then all at once. No checkout may fail.
func rollouts(t *testing.T, r *traffic) {
	for _, program := range programs {
		if !testing.Short() || program == "orders" {
			roll(t, r, program)
		}
	}
	roll(t, r, programs...)
}

// roll replaces programs at once and waits until the old pods are gone.
func roll(t *testing.T, r *traffic, which ...string) {
	t.Helper()
	var names []string
	for _, program := range which {
		names = append(names, "deployment/"+program)
	}
	o := r.during(t, "rollout of "+strings.Join(which, ", "), func() {
		must(t, append([]string{"rollout", "restart"}, names...)...)
		for _, name := range names {
			must(t, "rollout", "status", name, "--timeout="+waitLimit.String())
		}
		gone(t)
	})
	if failed := o.failures("checkout"); failed > 0 {
		t.Errorf("rollout of %v: %d failed checkouts", which, failed)
	}
}

// gone waits until no pod is ending.
func gone(t *testing.T) {
	t.Helper()
	eventually(t, "old pods to be gone", func() error {
		out, err := kubectl("", "get", "pods", "-o", "jsonpath={.items[?(@.metadata.deletionTimestamp)].metadata.name}")
		if err == nil && out != "" {
			err = fmt.Errorf("there are %s", out)
		}
		return err
	})
}

// drain empties the only node of two replicas of everything. Their disruption budgets let one of each go, and no more,
// as the new ones find no node; that keeps the shop open. Afterwards the node takes pods again.
func drain(t *testing.T, r *traffic) {
	two := make([]string, 0, len(programs))
	for _, program := range programs {
		two = append(two, "deployment/"+program)
	}
	must(t, append([]string{"scale", "--replicas=2"}, two...)...)
	ready(t)
	o := r.during(t, "drain of the node", func() {
		out, err := kubectl("", "drain", "node", "--pod-selector=app.kubernetes.io/part-of=caravan", "--delete-emptydir-data", "--timeout=30s")
		if err == nil || !strings.Contains(err.Error(), "would violate the pod's disruption budget") {
			t.Errorf("drain: %v: %s", err, out)
		}
		if err := replicas(t, "1"); err != nil {
			t.Errorf("of two replicas one is to remain: %v", err)
		}
	})
	if failed := o.failures("checkout"); failed > 0 {
		t.Errorf("drain: %d failed checkouts", failed)
	}
	r.during(t, "the node takes pods again", func() {
		must(t, "uncordon", "node")
		ready(t)
	})
	r.during(t, "back to one replica", func() {
		must(t, append([]string{"scale", "--replicas=1"}, two...)...)
		ready(t)
		gone(t)
	})
}

// faults deletes each pod, kills each program, sidecar and server, and replaces broker and store. Checkouts may fail
// meanwhile; what was accepted has to come to its end.
func faults(t *testing.T, r *traffic) {
	deleted, killed := append(slices.Clone(programs), "broker", "store"), programs
	if testing.Short() {
		deleted, killed = []string{"orders"}, []string{"payments"}
	}
	for _, program := range deleted {
		r.during(t, "the pod of "+program+" is deleted", func() {
			must(t, "delete", "pod", onePod(t, program).Metadata.Name)
			back(t)
		})
	}
	for _, program := range killed {
		for _, container := range []string{"program", "daprd"} {
			r.during(t, container+" of "+program+" is killed", func() {
				kill(t, onePod(t, program), container)
				back(t)
			})
		}
	}
	for _, server := range []string{"broker", "store"} {
		p := onePod(t, server)
		r.during(t, server+" is killed", func() {
			kill(t, p, p.Spec.Containers[0].Name)
			back(t)
		})
	}
	if !testing.Short() {
		r.during(t, "a rollout of broker and store", func() {
			must(t, "rollout", "restart", "statefulset/broker", "statefulset/store")
			back(t)
		})
	}
}

// back waits until everything is there again.
func back(t *testing.T) {
	t.Helper()
	for _, server := range []string{"broker", "store"} {
		must(t, "rollout", "status", "statefulset/"+server, "--timeout="+waitLimit.String())
	}
	ready(t)
}
