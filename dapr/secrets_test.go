package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"caravan/dapr/launcher/compose"
	"caravan/services/notifications/adapters/vapid"
)

func TestSecretsAreWrittenOnceAndKept(t *testing.T) {
	root := t.TempDir()
	folder := filepath.Join(root, "compose")
	write := func(name, content string) {
		t.Helper()
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	read := func() string {
		t.Helper()
		file := filepath.Join(folder, ".env")
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the file's mode is %v (%v)", info.Mode(), err)
		}
		return string(content)
	}
	var out bytes.Buffer
	c := &cli{out: &out, root: root}
	write("compose.yaml", "a: ${A_TOKEN:?run it}\nb: ${B_TOKEN:?run it} ${TAG:-dev}\nagain: ${A_TOKEN:?run it}\n")
	if err := c.secrets(); err != nil {
		t.Fatal(err)
	}
	if next := "Wrote 2 secrets to " + filepath.Join(folder, ".env") + ".\nNext: docker compose -f compose/compose.yaml up -d\n"; out.String() != next {
		t.Errorf("it said %q", out.String())
	}
	first := read()
	values := map[string]bool{}
	for line := range strings.Lines(first) {
		if name, value, found := strings.Cut(strings.TrimSpace(line), "="); found {
			if len(value) < 20 || !strings.HasSuffix(name, "_TOKEN") {
				t.Errorf("a secret is %q", line)
			}
			values[value] = true
		}
	}
	if len(values) != 2 {
		t.Errorf("there are %d different secrets in:\n%s", len(values), first)
	}

	write("more.yaml", "c: ${C_TOKEN:?run it}\nd: ${PUSH_PRIVATE_KEY:?run it}\n")
	if err := os.Chmod(filepath.Join(folder, ".env"), 0o644); err != nil { // like a file that an editor has written
		t.Fatal(err)
	}
	if err := c.secrets(); err != nil {
		t.Fatal(err)
	}
	second := read()
	if !strings.HasPrefix(second, first) || !strings.Contains(second, "C_TOKEN=") {
		t.Errorf("after a new file the secrets are\n%s", second)
	}
	if _, err := vapid.Parse(compose.ParseEnv(second)[compose.PushKey]); err != nil {
		t.Errorf("the key for push: %v", err)
	}
	if err := c.secrets(); err != nil || read() != second {
		t.Errorf("complete secrets were changed (%v)", err)
	}
	c.options.secrets.force = true
	if err := c.secrets(); err != nil {
		t.Fatal(err)
	}
	if third := read(); strings.Contains(third, strings.TrimSpace(strings.Split(first, "\n")[1])) {
		t.Errorf("--force kept a secret:\n%s", third)
	}
}
