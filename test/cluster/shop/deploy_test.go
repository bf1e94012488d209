package shop

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"caravan/test/cluster/pods"
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

// deploy loads the images that CLUSTER_IMAGES names, and applies the secrets and the overlay, after what lies in other
// namespaces. It returns the administrator's password and when the overlay was applied.
func deploy(t *testing.T, overlay string, elsewhere ...string) (password string, applied time.Time) {
	t.Helper()
	for _, file := range []string{"caravan.tar", "servers.tar"} {
		began := time.Now()
		load(t, os.Getenv("CLUSTER_IMAGES")+"/"+file)
		t.Logf("%s loaded in %s", file, seconds(time.Since(began)))
	}
	must(t, "apply", "-f", "../../../k8s/base/namespace.yaml", "-f", "../../../k8s/secrets.yaml")
	for _, folder := range elsewhere {
		must(t, "apply", "--namespace=", "-k", folder)
	}
	applied = time.Now()
	must(t, "apply", "-k", overlay)
	return must(t, "get", "secret", "admin", "-o", "go-template={{.data.password | base64decode}}"), applied
}

// ready waits until every program is available.
func ready(t *testing.T) {
	t.Helper()
	for _, program := range programs {
		must(t, "rollout", "status", "deployment/"+program, "--timeout="+waitLimit.String())
	}
}

// replicas tells which program has not a number of replicas that are ready.
func replicas(t *testing.T, wanted string) error {
	t.Helper()
	for _, program := range programs {
		if n := must(t, "get", "deployment", program, "-o", "jsonpath={.status.readyReplicas}"); n != wanted {
			return fmt.Errorf("%s has %q ready replicas", program, n)
		}
	}
	return nil
}

// unbroken holds that no container has ended since its pod was made: the kubelet would make a pause before a later start.
func unbroken(t *testing.T) {
	t.Helper()
	all, err := pods.List(t.Context(), "app.kubernetes.io/name")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		for _, c := range p.Status.ContainerStatuses {
			if c.RestartCount > 0 {
				t.Errorf("%s of %s was started %d times more", c.Name, p.Metadata.Name, c.RestartCount)
			}
		}
	}
}

// gateway is the address of the gateway's Service.
func gateway(t *testing.T) string {
	t.Helper()
	return "http://" + must(t, "get", "service", "gateway", "-o", "jsonpath={.spec.clusterIP}")
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
