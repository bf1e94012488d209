package extending

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// project is the folder of the project.
const project = "../.."

// name is that of the service which the document adds.
const name = "reviews"

// TestRecipes follows docs/extending.md.
func TestRecipes(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a copy of the project")
	}
	document, err := os.ReadFile(filepath.Join(project, "docs", "extending.md"))
	if err != nil {
		t.Fatal(err)
	}
	patches := examples(string(document))
	if len(patches) != 2 {
		t.Fatalf("the document has %d examples", len(patches))
	}
	root := copyOf(t)
	// With it Go's cache does not tell one copy from another, and a second run builds only what has changed.
	t.Setenv("GOFLAGS", os.Getenv("GOFLAGS")+" -trimpath")

	// Add a service. What the command has made is checked before an example changes it.
	if output := run(t, root, "go", "run", "./dapr", "new", "service", name, "--dry-run"); !strings.Contains(output, "Nothing was written") {
		t.Fatalf("a dry run says %s", output)
	}
	run(t, root, "go", "run", "./dapr", "new", "service", name)
	check(t, root)
	t.Run("compose", func(t *testing.T) {
		run(t, filepath.Join(root, "test", "compose"), "go", "test", "-count=1", "-run", "TestEveryVariant|TestTheMissingSecrets", ".")
	})
	t.Run("k8s", func(t *testing.T) {
		run(t, filepath.Join(root, "test", "k8s"), "go", "test", "-count=1", "-run", "TestEveryCluster", ".")
	})

	// Add an endpoint.
	if err := apply(root, patches[0]); err != nil {
		t.Fatal(err)
	}
	run(t, root, "go", "generate", "./gateway/...", "./dapr/client")

	// Add an event consumer. What the command has made is checked before its effect is written.
	run(t, root, "go", "run", "./dapr", "new", "consumer", name, "orders.confirmed.v1", "--name", "ThankCustomer")
	run(t, root, "go", "vet", "./services/"+name+"/...")
	run(t, root, "go", "test", "./services/"+name+"/...")
	if err := apply(root, patches[1]); err != nil {
		t.Fatal(err)
	}
	check(t, root)
	t.Run("k8s with the examples", func(t *testing.T) {
		run(t, filepath.Join(root, "test", "k8s"), "go", "test", "-count=1", "-run", "TestEveryCluster.*/(plain|dapr)-development-rabbitmq-postgres", ".")
	})
	t.Run("stack", func(t *testing.T) { stack(t, root) })
}

// check builds, vets and tests what a new service touches.
func check(t *testing.T, root string) {
	t.Helper()
	if changed := run(t, root, "gofmt", "-l", "services", "gateway", "dapr"); changed != "" {
		t.Errorf("gofmt would change %s", changed)
	}
	run(t, root, "go", "build", "-buildvcs=false", "./...")
	run(t, root, "go", "vet", "./services/...", "./test/e2e")
	run(t, root, "go", "test", "./services/"+name+"/...", "./services/users/contract", "./gateway/...", "./dapr/client", "./dapr/launcher/manifest", "./test/apicheck", "./test/boundaries")
	run(t, root, "go", "test", "-short", "./dapr/launcher", "./dapr/scaffold", "./internal/service")
	run(t, root, "go", "test", "-run", "TestTheDocumentIsKept", "./test/sim")
}

// run runs a command in a folder and returns what it prints.
func run(t *testing.T, folder string, command ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute) // a guard against a command that does not end
	defer cancel()
	began := time.Now()
	c := exec.CommandContext(ctx, command[0], command[1:]...)
	c.Dir = folder
	var output bytes.Buffer
	c.Stdout, c.Stderr = &output, &output
	if err := c.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, output.String())
	}
	t.Logf("%s: %s", strings.Join(command, " "), time.Since(began).Round(100*time.Millisecond))
	return output.String()
}

// copyOf copies the project without what git and stacks keep in it.
func copyOf(t *testing.T) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "caravan")
	err := filepath.WalkDir(project, func(path string, entry fs.DirEntry, err error) error {
		inside, _ := filepath.Rel(project, path)
		switch {
		case err != nil:
			return err
		case entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && inside != "." && inside != ".ci": // a test reads .ci
			return fs.SkipDir
		case entry.IsDir():
			return os.MkdirAll(filepath.Join(to, inside), 0o755)
		case !entry.Type().IsRegular() || inside == ".git" || strings.HasPrefix(entry.Name(), ".env"):
			return nil
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, inside), raw, info.Mode().Perm())
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}
