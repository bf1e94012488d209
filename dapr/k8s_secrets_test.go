package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"caravan/internal/clock"
	"caravan/services/notifications/adapters/vapid"
	"caravan/services/users/adapters/keyring"
)

// asked are the places where the files in k8s/ name a Secret, and one of its keys.
var asked = []struct {
	pattern *regexp.Regexp
	key     string // if the pattern has none
}{
	{regexp.MustCompile(`secretKeyRef: \{name: ([a-z-]+), key: ([a-z-]+)\}`), ""},
	{regexp.MustCompile(`dapr\.io/(?:api|app)-token-secret: ([a-z-]+)`), "token"},
	{regexp.MustCompile(`secretName: ([a-z-]+)`), "initial.pem"},
}

// empty are the Secrets that the mail server for development, which asks for no login, leaves empty.
var empty = []string{"smtp-user", "smtp-password"}

func TestTheMailServerOfAClusterIsTheOneGiven(t *testing.T) {
	c := inFolder(t)
	for _, given := range []struct{ address, want string }{
		{"", "mail 1025  "},
		{"smtp://shop:pass%20word@smtp.example:587", "smtp.example 587 shop pass word"},
		{"", "smtp.example 587 shop pass word"}, // it is kept
		{"smtp://other.example:25", "other.example 25  "},
	} {
		if err := c.k8sSecrets(func(name string) string { return map[string]string{"SMTP_URL": given.address}[name] }); err != nil {
			t.Fatal(err)
		}
		made := secretsIn(t, c)
		got := made["smtp-host"]["smtp-host"] + " " + made["smtp-port"]["smtp-port"] + " " + made["smtp-user"]["smtp-user"] + " " + made["smtp-password"]["smtp-password"]
		if got != given.want {
			t.Errorf("after %q the mail server is %q, not %q", given.address, got, given.want)
		}
	}
	err := c.k8sSecrets(func(name string) string { return map[string]string{"SMTP_URL": "smtp://shop:hush@"}[name] })
	if err == nil || strings.Contains(err.Error(), "hush") || !strings.Contains(err.Error(), "SMTP_URL") {
		t.Errorf("a wrong address: %v", err)
	}
}

func TestTheSecretsOfAClusterAreThoseThatItsFilesAskFor(t *testing.T) {
	c := inFolder(t)
	if err := c.k8sSecrets(func(string) string { return "" }); err != nil {
		t.Fatal(err)
	}
	made := secretsIn(t, c)
	used := map[string]bool{}
	err := filepath.WalkDir(filepath.Join("..", "k8s"), func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(file, ".yaml") || strings.HasPrefix(entry.Name(), "secrets") {
			return err
		}
		content, err := os.ReadFile(file)
		for _, place := range asked {
			for _, match := range place.pattern.FindAllStringSubmatch(string(content), -1) {
				key := slices.Concat(match[2:], []string{place.key})[0]
				if value, found := made[match[1]][key]; !found || value == "" && !slices.Contains(empty, match[1]) {
					t.Errorf("%s asks for %s of the Secret %s", file, key, match[1])
				}
				used[match[1]] = true
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range made {
		if !used[name] {
			t.Errorf("nobody asks for the Secret %s", name)
		}
	}
	values := map[string]string{}
	for name, data := range made {
		for _, value := range data {
			if slices.Contains(empty, name) {
				continue
			}
			if other := values[value]; other != "" {
				t.Errorf("%s and %s are the same", name, other)
			}
			values[value] = name
		}
	}
}

// TestThePushKeyOfAClusterIsKept: subscriptions belong to it.
func TestThePushKeyOfAClusterIsKept(t *testing.T) {
	c := inFolder(t)
	var keys, contacts []string
	for _, contact := range []string{"", "mailto:push@shop.example", ""} {
		if err := c.k8sSecrets(func(name string) string { return map[string]string{"PUSH_CONTACT": contact}[name] }); err != nil {
			t.Fatal(err)
		}
		made := secretsIn(t, c)
		keys, contacts = append(keys, made["push-private-key"]["push-private-key"]), append(contacts, made["push-contact"]["push-contact"])
	}
	if _, err := vapid.Parse(keys[0]); err != nil || keys[1] != keys[0] || keys[2] != keys[0] {
		t.Errorf("the key is not one, or has changed: %v", err)
	}
	if want := []string{"mailto:admin@caravan.example", "mailto:push@shop.example", "mailto:push@shop.example"}; !slices.Equal(contacts, want) {
		t.Errorf("the contacts are %v", contacts)
	}
}

func TestTheSecretsOfAClusterAreKept(t *testing.T) {
	c := inFolder(t)
	none := func(string) string { return "" }
	if err := c.k8sSecrets(none); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(c.root, "k8s", "secrets.yaml")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the file's mode is %v (%v)", info.Mode(), err)
	}
	first := secretsIn(t, c)
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// Without one of them, like the file of an earlier version.
	at := strings.Index(string(content), "---\n")
	if err := os.WriteFile(file, content[at:], 0o644); err != nil {
		t.Fatal(err)
	}
	if err := c.k8sSecrets(none); err != nil {
		t.Fatal(err)
	}
	second := secretsIn(t, c)
	for name := range first {
		if changed := second[name]["token"] != first[name]["token"]; changed != (name == "users-api-token") || second[name] == nil {
			t.Errorf("Secret %s: changed %t", name, changed)
		}
	}
	if second["rabbitmq-url"]["rabbitmq-url"] != "amqp://caravan:"+second["rabbitmq-password"]["rabbitmq-password"]+"@broker:5672/" {
		t.Errorf("the broker's address is %v", second["rabbitmq-url"])
	}
	before, _ := os.ReadFile(file)
	if err := c.k8sSecrets(none); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.ReadFile(file); !bytes.Equal(before, after) {
		t.Error("a complete file was changed")
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v (%v)", info.Mode(), err)
	}
	given := func(name string) string { return map[string]string{"RABBITMQ_URL": "amqps://mq.example/"}[name] }
	if err := c.k8sSecrets(given); err != nil {
		t.Fatal(err)
	}
	if err := c.k8sSecrets(none); err != nil { // and the new one is kept
		t.Fatal(err)
	}
	if got := secretsIn(t, c)["rabbitmq-url"]["rabbitmq-url"]; got != "amqps://mq.example/" {
		t.Errorf("the broker's address is %q", got)
	}
	c.options.k8s.force = true
	if err := c.k8sSecrets(none); err != nil {
		t.Fatal(err)
	}
	for name, data := range secretsIn(t, c) {
		if token := data["token"]; token != "" && token == second[name]["token"] {
			t.Errorf("--force kept the Secret %s", name)
		}
	}
}

// TestTheKeyringOfAClusterOpens opens the keys as a pod does: from read-only files.
func TestTheKeyringOfAClusterOpens(t *testing.T) {
	files, err := newKeyring()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o440); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(folder, 0o555); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(folder, 0o755) })
	if _, err := keyring.Open(folder, time.Minute, nil, clock.System{}); err != nil { // no random source, so it cannot create keys
		t.Error(err)
	}
}

func TestMistakesWithAClusterAreExplained(t *testing.T) {
	for _, args := range [][]string{{"k8s", "images"}, {"k8s", "images", "--kind", "a", "--output", "b"}} {
		if status, _, err := invoke(t, args...); status != exitUsage || !strings.Contains(err, "--kind CLUSTER") {
			t.Errorf("%v: %d, %q", args, status, err)
		}
	}
	if status, _, err := invoke(t, "k8s", "image"); status != exitUsage || !strings.Contains(err, `"k8s images"`) {
		t.Errorf("a misspelt command: %d, %q", status, err)
	}
	if status, _, err := invoke(t, "k8s", "render", "none"); status != exitUsage || !strings.Contains(err, "Clusters: dapr-development") {
		t.Errorf("a cluster that is none: %d, %q", status, err)
	}
	if status, out, _ := invoke(t, "help", "k8s", "secrets"); status != exitOK || !strings.Contains(out, "go run ./dapr k8s secrets") {
		t.Errorf("help: %d, %q", status, out)
	}
}

// inFolder is a command line in a folder that has only the run file.
func inFolder(t *testing.T) *cli {
	t.Helper()
	root := t.TempDir()
	content, err := os.ReadFile("dapr.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{"dapr", "k8s"} {
		if err := os.MkdirAll(filepath.Join(root, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "dapr", "dapr.yaml"), content, 0o644); err != nil {
		t.Fatal(err)
	}
	return &cli{out: &bytes.Buffer{}, root: root}
}

func secretsIn(t *testing.T, c *cli) map[string]map[string]string {
	t.Helper()
	read, err := readSecrets(filepath.Join(c.root, "k8s", "secrets.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]map[string]string{}
	for _, s := range read {
		name, _ := s.Metadata["name"].(string)
		if values[name] != nil {
			t.Errorf("there are two Secrets %s", name)
		}
		values[name] = s.StringData
	}
	return values
}
