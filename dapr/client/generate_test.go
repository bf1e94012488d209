package client_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The client must equal the generator's output for gateway/openapi.yaml. If not, it is outdated or was changed by hand.
func TestTheClientIsGeneratedFromTheDocument(t *testing.T) {
	fresh := filepath.Join(t.TempDir(), "client.gen.go")
	command := exec.CommandContext(t.Context(), "go", "tool", "-modfile=../../tools.mod", "oapi-codegen",
		"-config", "generate/config.yaml", "-o", fresh, "../../gateway/openapi.yaml")
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("the generator failed: %v\n%s", err, out)
	}
	want, err := os.ReadFile(fresh)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("client.gen.go")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("dapr/client/client.gen.go is not what gateway/openapi.yaml gives. Run: go generate ./dapr/client")
	}
}
