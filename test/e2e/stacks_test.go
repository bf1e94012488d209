package e2e

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"caravan/dapr/launcher"

	"github.com/twmb/franz-go/pkg/kfake"
)

// TestRunningCluster makes a stack use a running Kafka cluster of three nodes without automatic topics. The cluster is
// kfake of the franz-go project, which has Kafka's protocol. A real cluster is used in the same way, with KAFKA_BROKERS
// set for the whole suite.
func TestRunningCluster(t *testing.T) {
	skipShort(t)
	cluster, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.DefaultNumPartitions(3))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	t.Setenv("KAFKA_BROKERS", strings.Join(cluster.ListenAddrs(), ","))
	s := own(t, launcher.Options{Broker: "kafka", Store: "sqlite"})
	for _, p := range s.processes(t) {
		if strings.HasPrefix(p.Name, "broker") {
			t.Errorf("it has started %s beside the cluster", p.Name)
		}
	}
	sh := open(t, s)
	p, c := sh.product(100, 5), sh.customer(1000)
	o := c.buys(p, 1)
	o.expect(t, "confirmed", "")
	eventually(t, "the event over the cluster", func() error { return s.pushed(t, o.ID) })
}

// TestTwoStacks runs two stacks at the same time and shows that neither affects the other.
func TestTwoStacks(t *testing.T) {
	first := shared(t)
	second := own(t, launcher.Options{Broker: settings.broker, Store: settings.store})
	ports := make(map[string]string)
	for _, s := range []*stack{first, second} {
		for _, p := range s.processes(t) {
			if other, taken := ports[p.URL]; taken && p.URL != "" {
				t.Errorf("%s of both stacks is at %s, as is %s", p.Name, p.URL, other)
			}
			ports[p.URL] = p.Name
		}
	}
	var both sync.WaitGroup
	for name, s := range map[string]*stack{"first": first, "second": second} {
		both.Go(func() { t.Run(name, func(t *testing.T) { journey(t, s) }) })
	}
	both.Wait()

	here, there := open(t, first), open(t, second)
	p := here.product(100, 1)
	there.admin.must(http.StatusNotFound, http.MethodGet, "/v1/products/"+p.SKU, nil, nil)
	c := here.customer(100)
	outsider := newClient(t, second, there.trail)
	outsider.email, outsider.password = c.email, c.password
	if _, err := outsider.token(); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("a customer of one stack logs in at the other: %v", err)
	}
	token, err := c.token()
	if err != nil {
		t.Fatal(err)
	}
	foreign := newClient(t, second, there.trail)
	foreign.must(http.StatusUnauthorized, http.MethodGet, "/v1/wallet", nil, nil, header{"Authorization", "Bearer " + token})
}
