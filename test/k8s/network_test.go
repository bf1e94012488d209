package k8s

import (
	"cmp"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// endpoint is a pod for NetworkPolicies, or something outside of the cluster, which has no labels.
type endpoint struct {
	name      string
	namespace string
	labels    map[string]string
	address   string // "" for one inside the cluster
	ports     []corev1.ContainerPort
}

const ourNamespace = "caravan"

// endpoints returns all pods of the cluster, and others that may try to connect.
func (c *cluster) endpoints() (ours, others []endpoint) {
	for _, w := range c.workloads() {
		e := endpoint{name: w.name, namespace: c.home, labels: w.Labels}
		for _, container := range w.Spec.Containers {
			e.ports = append(e.ports, container.Ports...)
		}
		ours = append(ours, e)
	}
	return ours, []endpoint{
		{name: "a pod of another namespace", namespace: "elsewhere", labels: map[string]string{"app.kubernetes.io/name": "orders", "app.kubernetes.io/part-of": "caravan"}},
		{name: "a client outside"},
	}
}

// leaves reports whether the policies of the source allow a connection.
func (c *cluster) leaves(from, to endpoint, port int32) bool {
	return from.namespace != c.home || slices.ContainsFunc(c.policies, func(p networkingv1.NetworkPolicy) bool {
		return governs(p, networkingv1.PolicyTypeEgress, from) && slices.ContainsFunc(p.Spec.Egress, func(rule networkingv1.NetworkPolicyEgressRule) bool {
			return c.matches(rule.To, to) && opens(rule.Ports, to, port)
		})
	})
}

// enters reports whether the policies of the destination allow it.
func (c *cluster) enters(from, to endpoint, port int32) bool {
	return to.namespace != c.home || slices.ContainsFunc(c.policies, func(p networkingv1.NetworkPolicy) bool {
		return governs(p, networkingv1.PolicyTypeIngress, to) && slices.ContainsFunc(p.Spec.Ingress, func(rule networkingv1.NetworkPolicyIngressRule) bool {
			return c.matches(rule.From, from) && opens(rule.Ports, to, port)
		})
	})
}

func governs(p networkingv1.NetworkPolicy, direction networkingv1.PolicyType, e endpoint) bool {
	return slices.Contains(p.Spec.PolicyTypes, direction) && selects(&p.Spec.PodSelector, e.labels)
}

func (c *cluster) matches(peers []networkingv1.NetworkPolicyPeer, e endpoint) bool {
	if len(peers) == 0 {
		return true
	}
	return slices.ContainsFunc(peers, func(peer networkingv1.NetworkPolicyPeer) bool {
		switch {
		case peer.IPBlock != nil:
			return e.within(*peer.IPBlock)
		case e.namespace == "":
			return false
		case peer.NamespaceSelector == nil && e.namespace != c.home:
			return false
		case peer.NamespaceSelector != nil && !selects(peer.NamespaceSelector, map[string]string{"kubernetes.io/metadata.name": e.namespace}):
			return false
		}
		return peer.PodSelector == nil || selects(peer.PodSelector, e.labels)
	})
}

// inside is the address of everything inside the cluster.
const inside = "10.42.0.7"

// within reports whether the address is in a block.
func (e endpoint) within(block networkingv1.IPBlock) bool {
	address, err := netip.ParseAddr(cmp.Or(e.address, inside))
	in := func(cidr string) bool {
		prefix, wrong := netip.ParsePrefix(cidr)
		return err == nil && wrong == nil && prefix.Contains(address)
	}
	return in(block.CIDR) && !slices.ContainsFunc(block.Except, in)
}

func opens(ports []networkingv1.NetworkPolicyPort, to endpoint, port int32) bool {
	if len(ports) == 0 {
		return true
	}
	return slices.ContainsFunc(ports, func(p networkingv1.NetworkPolicyPort) bool {
		if p.Port.StrVal == "" {
			return p.Port.IntVal == port
		}
		return slices.ContainsFunc(to.ports, func(c corev1.ContainerPort) bool { return c.Name == p.Port.StrVal && c.ContainerPort == port })
	})
}

// serverPorts are the ports of brokers and stores.
var serverPorts = map[string]int32{"rabbitmq": 5672, "kafka": 9092, "postgres": 5432, "redis": 6379}

// mailPorts are the ports of mail servers: that of the one for development, and of others.
var mailPorts = []int32{1025, 25, 465, 587}

// network checks which connections are possible.
func (r *review) network() {
	callers, err := callersInCode()
	if err != nil {
		r.report("%v", err)
		return
	}
	denied := slices.ContainsFunc(r.policies, func(p networkingv1.NetworkPolicy) bool {
		return len(p.Spec.PodSelector.MatchLabels)+len(p.Spec.PodSelector.MatchExpressions)+len(p.Spec.Ingress)+len(p.Spec.Egress) == 0 && len(p.Spec.PolicyTypes) == 2
	})
	if !denied {
		r.report("no NetworkPolicy denies everything by default")
	}
	ours, others := r.endpoints()
	for _, to := range ours {
		for _, from := range slices.Concat(ours, others) {
			for _, port := range []int32{int32(r.apps[to.name].Port), 80, 3500, 3501, 50001, 50002, 9090, 5672, 9092, 5432, 6379, 1025, 8025, 4318} {
				enters, want := r.enters(from, to, port), r.mayEnter(from, to, port, callers)
				if enters != want {
					r.report("%s may enter %s on port %d: %t, not %t", from.name, to.name, port, enters, want)
				}
				// The gateway's clients are outside: our own programs must not reach its port.
				if leaves := r.leaves(from, to, port); want && !leaves && to.name != "gateway" {
					r.report("%s has no way to %s on port %d", from.name, to.name, port)
				}
			}
		}
	}
	r.waysOut(ours)
}

// mayEnter is the rule: a sidecar accepts calls of its callers' sidecars, the gateway those of clients, a server those
// of the services' sidecars, the mail server those of notifications. Nothing else is allowed.
func (r *review) mayEnter(from, to endpoint, port int32, callers map[string][]string) bool {
	_, program := r.apps[from.name]
	switch {
	case to.name == "broker" || to.name == "store":
		server := map[string]string{"broker": r.broker, "store": r.store}[to.name]
		return program && from.name != "gateway" && port == serverPorts[server]
	case to.name == "mail":
		return from.name == "notifications" && port == mailPorts[0]
	case to.name == "gateway":
		return port == int32(r.apps["gateway"].Port)
	}
	return from.namespace == ourNamespace && port == 50002 && slices.Contains(callers[to.name], from.name)
}

// waysOut checks what programs reach outside of the namespace: DNS, broker, store, mail server and push services, collectors, and Dapr's
// control plane.
func (r *review) waysOut(ours []endpoint) {
	dns := endpoint{name: "the cluster's DNS", namespace: "kube-system", labels: map[string]string{"k8s-app": "kube-dns"}}
	control := endpoint{name: "Dapr's control plane", namespace: "dapr-system", labels: map[string]string{"app": "dapr-operator"}}
	gatherer := endpoint{name: "a collector", namespace: observeNamespace, labels: map[string]string{"app.kubernetes.io/name": "collector"}}
	logs := endpoint{name: "the log store", namespace: observeNamespace, labels: map[string]string{"app.kubernetes.io/name": "logstore"}}
	outside := []endpoint{{name: "a server outside", address: "203.0.113.9"}, {name: "a server outside over IPv6", address: "2001:db8::9"}}
	private := []endpoint{
		{name: "the metadata of the cloud", address: "169.254.169.254"}, {name: "a neighbour", address: "192.168.1.2"},
		{name: "another neighbour", address: "172.16.0.2"}, {name: "a neighbour over IPv6", address: "fd00::2"},
	}
	for _, from := range ours {
		_, program := r.apps[from.name]
		service := program && from.name != "gateway"
		for _, port := range append([]int32{53, 80, 443, 50001, 6500, 50002, 5672, 9092, 5432, 6379, 8025, 4318, 9428}, mailPorts...) {
			server := service && (port == serverPorts[r.broker] || port == serverPorts[r.store]) || from.name == "notifications" && slices.Contains(mailPorts, port)
			expect := func(want bool, endpoints ...endpoint) {
				for _, to := range endpoints {
					if got := r.leaves(from, to, port); got != want {
						r.report("%s reaches %s on port %d: %t, not %t", from.name, to.name, port, got, want)
					}
				}
			}
			expect(port == 53 || server, dns)
			expect(server || program && r.overlay == "dapr" && (port == 50001 || port == 6500), control)
			expect(server || program && r.observe && port == 4318, gatherer)
			expect(server, logs)
			expect(server, private...)
			expect(server || r.push() && from.name == "notifications" && port == 443, outside...)
		}
	}
}

// push reports whether notifications sends push messages.
func (r *review) push() bool {
	for _, w := range r.workloads() {
		if program := w.container("program"); w.name == "notifications" && program != nil {
			return environment(program)["CARAVAN_PUSH_PRIVATE_KEY"] != ""
		}
	}
	return false
}

// pushSettings checks that the key comes from a Secret, so that all replicas have it, and that a development cluster has one.
func (r *review) pushSettings() {
	if r.production {
		return
	}
	for _, w := range r.workloads() {
		if w.name == "notifications" && w.container("program") != nil {
			r.expect(w.name, environment(w.container("program")), map[string]string{
				"CARAVAN_PUSH_PRIVATE_KEY": "secret push-private-key push-private-key", "CARAVAN_PUSH_CONTACT": "secret push-contact push-contact",
			})
		}
	}
}

// callersInCode are the callers of each service, found by the contracts that they import. The gateway calls all.
var callersInCode = sync.OnceValues(func() (map[string][]string, error) {
	found := map[string]map[string]bool{}
	services := filepath.Join(root, "services")
	err := filepath.WalkDir(services, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return fmt.Errorf("looking for callers: %w", err)
		}
		inside, err := filepath.Rel(services, file)
		if err != nil {
			return err
		}
		caller, _, _ := strings.Cut(filepath.ToSlash(inside), "/")
		if found[caller] == nil {
			found[caller] = map[string]bool{}
		}
		for _, imported := range parsed.Imports {
			callee, isContract := strings.CutSuffix(strings.Trim(imported.Path.Value, `"`), "/contract")
			if name, isService := strings.CutPrefix(callee, "caravan/services/"); isContract && isService && name != caller {
				found[caller][name] = true
			}
		}
		return nil
	})
	callers := map[string][]string{}
	for _, service := range slices.Sorted(maps.Keys(found)) {
		callers[service] = append(callers[service], "gateway")
		for _, callee := range slices.Sorted(maps.Keys(found[service])) {
			callers[callee] = append(callers[callee], service)
		}
	}
	return callers, err
})
