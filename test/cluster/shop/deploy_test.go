package shop

import (
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

// deploy loads the images that CLUSTER_IMAGES names, and applies the secrets and the overlay. It returns the
// administrator's password and when the overlay was applied.
func deploy(t *testing.T, overlay string) (password string, applied time.Time) {
	t.Helper()
	for _, file := range []string{"caravan.tar", "servers.tar"} {
		began := time.Now()
		load(t, os.Getenv("CLUSTER_IMAGES")+"/"+file)
		t.Logf("%s loaded in %s", file, seconds(time.Since(began)))
	}
	must(t, "apply", "-f", "../../../k8s/base/namespace.yaml", "-f", "../../../k8s/secrets.yaml")
	applied = time.Now()
	must(t, "apply", "-k", overlay)
	return must(t, "get", "secret", "admin", "-o", "go-template={{.data.password | base64decode}}"), applied
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
