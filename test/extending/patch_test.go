package extending

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// examples are the patches of a document, in its order.
func examples(document string) []string {
	var all []string
	for _, part := range strings.Split(document, "\n```diff\n")[1:] {
		patch, _, _ := strings.Cut(part, "\n```\n")
		all = append(all, patch+"\n")
	}
	return all
}

// apply applies a patch in git's form. The old text of each hunk has to be in its file exactly once, wherever that is.
func apply(root, patch string) error {
	for _, part := range strings.Split("\n"+patch, "\ndiff --git ")[1:] {
		header, hunks, found := strings.Cut(part, "\n@@ ")
		_, name, named := strings.Cut(header, "\n+++ b/")
		if !found || !named {
			return fmt.Errorf("not a patch: %.60q", part)
		}
		if err := applyTo(filepath.Join(root, filepath.FromSlash(name)), strings.Split(hunks, "\n@@ ")); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func applyTo(file string, hunks []string) error {
	raw, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	content := string(raw)
	for _, hunk := range hunks {
		_, lines, _ := strings.Cut(strings.TrimSuffix(hunk, "\n")+"\n", "\n")
		var before, after strings.Builder
		for line := range strings.Lines(lines) {
			switch line[0] {
			case '+':
				after.WriteString(line[1:])
			case '-':
				before.WriteString(line[1:])
			default: // an editor may have removed the space of an empty line
				before.WriteString(strings.TrimPrefix(line, " "))
				after.WriteString(strings.TrimPrefix(line, " "))
			}
		}
		if n := strings.Count(content, before.String()); before.Len() > 0 && n != 1 {
			return fmt.Errorf("the lines of a hunk are there %d times:\n%s", n, before.String())
		}
		content = strings.Replace(content, before.String(), after.String(), 1)
	}
	return os.WriteFile(file, []byte(content), 0o644)
}

func TestApply(t *testing.T) {
	const document = "text\n```diff\ndiff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1,3 +1,3 @@ x\n a\n-b\n+c\n\n@@ -9,1 +9,2 @@\n z\n+y\n" +
		"diff --git a/g b/g\nnew file mode 100644\n--- /dev/null\n+++ b/g\n@@ -0,0 +1 @@\n+new\n```\nmore\n"
	root := t.TempDir()
	file := filepath.Join(root, "f")
	if err := os.WriteFile(file, []byte("0\na\nb\n\nz\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	patches := examples(document)
	if len(patches) != 1 {
		t.Fatalf("patches are %q", patches)
	}
	if err := apply(root, patches[0]); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"f": "0\na\nc\n\nz\ny\n", "g": "new\n"} {
		if got, err := os.ReadFile(filepath.Join(root, name)); err != nil || string(got) != want {
			t.Errorf("%s is %q, %v", name, got, err)
		}
	}
	if err := apply(root, patches[0]); err == nil || !strings.Contains(err.Error(), "0 times") {
		t.Errorf("a second time: %v", err)
	}
}
