package shop

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"caravan/test/cluster/pods"
)

// TestDapr is Caravan in a cluster with Dapr: its operator, sentry and injector.
func TestDapr(t *testing.T) {
	onNode(t)
	folder := os.Getenv("CLUSTER_IMAGES")
	load(t, folder+"/dapr.tar")
	began := time.Now()
	must(t, "create", "namespace", "dapr-system")
	must(t, "apply", "--namespace=", "--server-side", "-f", folder+"/crds.yaml")
	must(t, "wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
	must(t, "apply", "--namespace=", "--server-side", "-f", folder+"/dapr.yaml")
	must(t, "wait", "--namespace=dapr-system", "--for=condition=Available", "deployment", "--all", "--timeout="+waitLimit.String())
	t.Logf("operator, sentry and injector are ready after %s", seconds(time.Since(began)))

	password, applied := deploy(t, "../overlays/dapr")
	ready(t)
	r := open(t, gateway(t), password)
	journey(t, r)
	t.Logf("the first order was confirmed %s after the manifests were applied", seconds(time.Since(applied)))
	t.Run("MutualTLS", mutualTLS)
	t.Run("AllowList", allowList)
	r.start(t)
	t.Run("Rollout", func(t *testing.T) { roll(t, r, "orders") })
	r.settle(t)
}

// mutualTLS proves that sidecars show each other certificates of Dapr's sentry, and talk to nobody without one.
func mutualTLS(t *testing.T) {
	address := onePod(t, "orders").Status.PodIP + ":50002"
	var shown string
	connection, err := tls.Dial("tcp", address, &tls.Config{
		InsecureSkipVerify: true, // whatever it shows; it is compared below
		NextProtos:         []string{"h2"},
		VerifyConnection: func(state tls.ConnectionState) error {
			for _, uri := range state.PeerCertificates[0].URIs {
				shown = uri.String()
			}
			return nil
		},
	})
	if err == nil {
		_ = connection.SetDeadline(time.Now().Add(5 * time.Second))
		_, err = connection.Read(make([]byte, 1)) // a server that wants a certificate says so only now
		_ = connection.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("a caller without a certificate: %v", err)
	}
	if want := "spiffe://public/ns/" + pods.Namespace + "/orders"; shown != want {
		t.Errorf("the sidecar of orders shows a certificate of %q, want %q", shown, want)
	}
}

// allowList proves that a sidecar refuses callers that its list does not name, also where the network lets them come:
// users does not call payments, orders does.
func allowList(t *testing.T) {
	if _, err := kubectl(`{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "everybody"}, "spec": {
		"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"ports": [{"port": 50002}]}]}}`, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	defer must(t, "delete", "networkpolicy", "everybody")
	for caller, want := range map[string]int{"orders": http.StatusNotFound, "users": http.StatusForbidden} {
		eventually(t, "payments to answer "+caller, func() error { // the policy takes a moment
			status, body := invoke(t, caller, "payments", "/no-such-path")
			if status != want {
				return fmt.Errorf("%d %s, want %d", status, body, want)
			}
			t.Logf("%s calls payments: %d %s", caller, status, body)
			return nil
		})
	}
}

// invoke calls a service through the sidecar of another, as that other's program would.
func invoke(t *testing.T, caller, callee, path string) (status int, body string) {
	t.Helper()
	token := must(t, "get", "secret", caller+"-api-token", "-o", "go-template={{.data.token | base64decode}}")
	client := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: onePod(t, caller).Container("daprd").Dial}}
	request, err := http.NewRequest(http.MethodGet, "http://127.0.0.1:3500/v1.0/invoke/"+callee+"/method"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("dapr-api-token", token)
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(raw)
}
