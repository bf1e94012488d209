package shop

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"
)

// admin is who the manifests make the first administrator.
const admin = "admin@caravan.example"

// load gives the node's containerd the images of an archive.
func load(t *testing.T, file string) {
	t.Helper()
	if out, err := exec.Command("ctr", "-n", "k8s.io", "images", "import", file).CombinedOutput(); err != nil {
		t.Fatalf("loading %s: %v: %s", file, err, out)
	}
}

// deploy loads the images that CLUSTER_IMAGES names, makes the secrets and applies the overlay. It returns the
// administrator's password and when the overlay was applied.
func deploy(t *testing.T, overlay string) (password string, applied time.Time) {
	t.Helper()
	for _, file := range []string{"caravan.tar", "servers.tar"} {
		began := time.Now()
		load(t, os.Getenv("CLUSTER_IMAGES")+"/"+file)
		t.Logf("%s loaded in %s", file, seconds(time.Since(began)))
	}
	must(t, "create", "namespace", namespace)
	password = random(16)
	if _, err := kubectlWith(secrets(t, password), "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	applied = time.Now()
	must(t, "apply", "-k", overlay)
	return password, applied
}

// secrets are those that the manifests name, as a list.
func secrets(t *testing.T, password string) string {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	broker, store := random(16), random(16)
	all := map[string]map[string]string{
		"admin":             {"password": password},
		"users-keys":        {"initial.pem": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "refresh.key": random(32)},
		"rabbitmq-password": {"rabbitmq-password": broker},
		"rabbitmq-url":      {"rabbitmq-url": "amqp://caravan:" + broker + "@broker:5672/"},
		"postgres-password": {"postgres-password": store},
		"postgres-url":      {"postgres-url": "host=store port=5432 user=caravan password=" + store + " dbname=caravan sslmode=disable connect_timeout=10"},
	}
	for _, program := range programs {
		all[program+"-api-token"] = map[string]string{"token": random(32)}
		all[program+"-app-token"] = map[string]string{"token": random(32)}
	}
	var items []any
	for name, data := range all {
		items = append(items, map[string]any{
			"apiVersion": "v1", "kind": "Secret", "metadata": map[string]string{"name": name, "namespace": namespace}, "stringData": data,
		})
	}
	list, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "List", "items": items})
	if err != nil {
		t.Fatal(err)
	}
	return string(list)
}

// random is a secret of so many bytes.
func random(bytes int) string {
	raw := make([]byte, bytes)
	_, _ = rand.Read(raw) // never fails
	return hex.EncodeToString(raw)
}

// ready waits until every program is available.
func ready(t *testing.T) {
	t.Helper()
	for _, program := range programs {
		must(t, "rollout", "status", "deployment/"+program, "--timeout="+patience.String())
	}
}

// gateway is the address of the gateway's Service.
func gateway(t *testing.T) string {
	t.Helper()
	return "http://" + must(t, "get", "service", "gateway", "-o", "jsonpath={.spec.clusterIP}")
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
