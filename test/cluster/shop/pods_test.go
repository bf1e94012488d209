package shop

import (
	"fmt"
	"slices"
	"testing"

	"caravan/test/cluster/pods"
)

// onePod is the only pod of a program.
func onePod(t *testing.T, program string) pods.Pod {
	t.Helper()
	return onePodIn(t, pods.Namespace, program)
}

// onePodIn is the only pod of a program in a namespace.
func onePodIn(t *testing.T, namespace, program string) pods.Pod {
	t.Helper()
	found, err := pods.In(t.Context(), namespace, "app.kubernetes.io/name="+program)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 {
		t.Fatalf("%d pods of %s, want one", len(found), program)
	}
	return found[0]
}

// kill ends the processes of a pod's container as a crash would, and waits until the container runs and is ready again.
func kill(t *testing.T, p pods.Pod, name string) {
	t.Helper()
	was := p.Container(name)
	if err := was.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, name+" of "+p.Metadata.Name+" to be restarted", func() error {
		found, err := pods.In(t.Context(), p.Metadata.Namespace, "app.kubernetes.io/name="+p.Program())
		if err != nil {
			return err
		}
		i := slices.IndexFunc(found, func(now pods.Pod) bool { return now.Metadata.UID == p.Metadata.UID })
		if i < 0 || found[i].Container(name).RestartCount <= was.RestartCount || !found[i].Ready() {
			return fmt.Errorf("pods: %+v", found)
		}
		return nil
	})
}
