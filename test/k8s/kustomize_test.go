package k8s

import (
	"testing"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

func TestBuild(t *testing.T) {
	for _, name := range []string{"plain-development", "plain-production", "dapr-development", "dapr-production"} {
		_, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), "../../k8s/clusters/"+name)
		if err != nil {
			t.Fatal(name, err)
		}
	}
}
