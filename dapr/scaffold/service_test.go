package scaffold

import (
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"caravan/dapr/launcher"
)

const root = "../.."

// The new services of these tests are qreviews and qratings: names that no real service is likely to have.

// copied is a copy of the files that a plan reads.
func copied(t *testing.T) string {
	t.Helper()
	to := t.TempDir()
	files := []string{"go.mod"}
	for _, p := range places() {
		file, err := p.locate(root)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	for _, pattern := range []string{"services/*/contract/*.go", "services/*/assembly/assembly.go", "k8s/base/*.yaml"} { // for a consumer
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range found {
			files = append(files, strings.TrimPrefix(file, root+"/"))
		}
	}
	for _, file := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(files, copies)))) {
		content, err := os.ReadFile(filepath.Join(root, file))
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(to, file)), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(to, file), content, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// read is the content of all files in a folder, by their paths.
func read(t *testing.T, folder string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(folder, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		all[path] = string(raw)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestNames(t *testing.T) {
	for name, want := range map[string]string{
		"qreviews": "", "r2": "", "stock": "", "orders": "already", "gateway": "reserved", "r": "not a name", "Reviews": "not a name",
		"2reviews": "not a name", "re-views": "not a name", "re_views": "not a name", "": "not a name", "../x": "not a name",
		strings.Repeat("a", 21): "not a name", "func": "reserved", "string": "reserved", "contract": "reserved", "broker": "reserved",
	} {
		_, err := Service(root, name)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v; want %q", name, err, want)
		}
	}
}

// TestEditsKeepEverything: a place loses no line, but for lists in one line and imports, to which something is added.
func TestEditsKeepEverything(t *testing.T) {
	changes, err := Service(root, "qreviews")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range changes {
		if c.New {
			if strings.Contains(c.Content, model) || strings.Contains(c.Content, "<%") {
				t.Errorf("%s is not about the new service", c.Path)
			}
			continue
		}
		if !strings.Contains(c.Content, "qreviews") && !strings.Contains(c.Content, "Qreviews") {
			t.Errorf("%s does not name the new service", c.Path)
		}
		lines := strings.Split(c.Content, "\n")
		for line := range strings.SplitSeq(c.old, "\n") {
			kept := slices.Contains(lines, line)
			head, _, list := strings.Cut(strings.TrimRight(line, "]}"), "[")
			extended := list && slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, head+"[") && strings.Contains(l, "qreviews") })
			if !kept && !extended && !strings.Contains(line, "-topics=") && filepath.Ext(c.Path) != ".go" {
				t.Errorf("%s loses the line %q", c.Path, line)
			}
		}
	}
}

// TestEveryPlaceIsKnown: a file that names each service of a stack has to name a new one too.
func TestEveryPlaceIsKnown(t *testing.T) {
	known := slices.Clone(copies)
	for _, p := range places() {
		known = append(known, p.file)
	}
	services, err := filepath.Glob(filepath.Join(root, "services", "*", "contract"))
	if err != nil || len(services) < 5 {
		t.Fatal(services, err)
	}
	for _, folder := range []string{"components", "compose", "k8s", "dapr/resources"} {
		for path, content := range read(t, filepath.Join(root, folder)) {
			inside, err := filepath.Rel(root, path)
			if err != nil {
				t.Fatal(err)
			}
			lacks := func(service string) bool {
				return !regexp.MustCompile(`\b` + filepath.Base(filepath.Dir(service)) + `\b`).MatchString(content)
			}
			if filepath.Ext(path) == ".yaml" && !slices.ContainsFunc(services, lacks) && !slices.Contains(known, filepath.ToSlash(inside)) {
				t.Errorf("%s names every service, but the scaffold does not add a new one to it", inside)
			}
		}
	}
}

func TestApplyTwoServices(t *testing.T) {
	to := copied(t)
	highest := [5]int{} // of the services' ports, before
	apps, err := launcher.AppPorts(to)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range apps {
		for n, port := range a.Ports {
			if a.ID != "gateway" {
				highest[n] = max(highest[n], port)
			}
		}
	}
	two := []string{"qreviews", "qratings"}
	for _, name := range two {
		changes, err := Service(to, name)
		if err != nil {
			t.Fatal(err)
		}
		if err := Apply(to, changes); err != nil {
			t.Fatal(err)
		}
		if _, err := Service(to, name); err == nil || !strings.Contains(err.Error(), "already") {
			t.Errorf("a second %s: %v", name, err)
		}
	}
	if apps, err = launcher.AppPorts(to); err != nil {
		t.Fatal(err)
	}
	for i, name := range two {
		at := slices.IndexFunc(apps, func(a launcher.AppPort) bool { return a.ID == name })
		if at < 0 {
			t.Fatalf("dapr.yaml lacks %s", name)
		}
		for n, port := range apps[at].Ports {
			if port != highest[n]+i+1 {
				t.Errorf("port %d of %s is %d; want %d", n, name, port, highest[n]+i+1)
			}
		}
	}
	runFile := read(t, filepath.Join(to, "dapr"))[filepath.Join(to, "dapr", "dapr.yaml")]
	if !strings.Contains(runFile, "./services/qratings") {
		t.Error("dapr.yaml does not start ./services/qratings")
	}
	if strings.Count(runFile, "./components/email") != 1 {
		t.Error("dapr.yaml: not only notifications has the binding for e-mails")
	}
}

// TestEventStreamsStayWithTheModel: the component live is for notifications alone.
func TestEventStreamsStayWithTheModel(t *testing.T) {
	to := copied(t)
	before := mentionsOfLive(t, to)
	if before == 0 {
		t.Fatal("no copied file mentions the component")
	}
	changes, err := Service(to, "qreviews")
	if err != nil {
		t.Fatal(err)
	}
	if err := Apply(to, changes); err != nil {
		t.Fatal(err)
	}
	if after := mentionsOfLive(t, to); after != before {
		t.Errorf("live.yaml is named %d times, before the new service %d times", after, before)
	}
}

// mentionsOfLive counts how often the file of the component is named.
func mentionsOfLive(t *testing.T, folder string) (n int) {
	for path, content := range read(t, folder) {
		n += strings.Count(content, "live.yaml")
		if strings.HasSuffix(path, "/live.yaml") {
			t.Errorf("%s is changed for a new service", path)
		}
	}
	return n
}

// TestAHalfMadeServiceIsRefused leaves the service out of one place after the other, and has it in the others.
func TestAHalfMadeServiceIsRefused(t *testing.T) {
	for _, at := range []string{"compose/compose.yaml", "dapr/resources/subscriptions.yaml", "gateway/openapi.yaml", "k8s/base/qreviews.yaml"} {
		to := copied(t)
		changes, err := Service(to, "qreviews")
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(changes, func(c Change) bool { return c.Path == at })
		if err := Apply(to, changes[i:i+1]); err != nil {
			t.Fatal(err)
		}
		if _, err := Service(to, "qreviews"); err == nil || !strings.Contains(err.Error(), at) {
			t.Errorf("with %s the error is %v", at, err)
		}
	}
}

func TestAMissingPlaceIsNamed(t *testing.T) {
	to := copied(t)
	file := filepath.Join(to, "compose", "compose.yaml")
	if err := os.WriteFile(file, []byte("services: {}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Service(to, "qreviews"); err == nil || !strings.Contains(err.Error(), `compose/compose.yaml cannot be edited: it has no line "  notifications:"`) {
		t.Errorf("the error is %v", err)
	}
}

// TestNothingIsLeftWhenAFileCannotBeWritten puts something in the way of the last file.
func TestNothingIsLeftWhenAFileCannotBeWritten(t *testing.T) {
	to := copied(t)
	before := read(t, to)
	changes, err := Service(to, "qreviews")
	if err != nil {
		t.Fatal(err)
	}
	changes = append(changes, Change{Path: "go.mod", Content: "module other\n", New: true})
	if err := Apply(to, changes); !errors.Is(err, os.ErrExist) {
		t.Errorf("the error is %v", err)
	}
	if after := read(t, to); !maps.Equal(before, after) {
		t.Errorf("there were %d files before and are %d, or one has changed", len(before), len(after))
	}
}

func TestClean(t *testing.T) {
	folder := t.TempDir()
	if err := Clean(t.Context(), folder); err != nil {
		t.Errorf("without git: %v", err)
	}
	git := exec.Command("git", "init", "-q", folder)
	if output, err := git.CombinedOutput(); err != nil {
		t.Skipf("git init: %v: %s", err, output)
	}
	if err := Clean(t.Context(), folder); err != nil {
		t.Errorf("without files: %v", err)
	}
	if err := os.WriteFile(filepath.Join(folder, "half.yaml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Clean(t.Context(), folder); err == nil || !strings.Contains(err.Error(), "half.yaml") || !strings.Contains(err.Error(), "not committed") {
		t.Errorf("with a new file: %v", err)
	}
}

func TestAnchorsAreUnique(t *testing.T) {
	const file = "a:\n  b: 1\n\n  # about c\n  c:\n    d: [x]\ne: [y]\n---\na:\n"
	for name, edit := range map[string]func() (string, error){
		"no line":           func() (string, error) { return before(file, "z:", "") },
		"two lines":         func() (string, error) { return before(file, "a:", "") },
		"no list":           func() (string, error) { return inList(file, "f: [", "x") },
		"no document":       func() (string, error) { return documentWith(file, "z:") },
		"in two documents":  func() (string, error) { return documentWith(file, "a:") },
		"no block":          func() (string, error) { return appendTo(file, "  z:", "") },
		"no block to copy":  func() (string, error) { return repeatBlocks(file, "  z:", "  z:", strings.ToUpper) },
		"no end of a block": func() (string, error) { return repeatBlocks(file, "  c:", "  z:", strings.ToUpper) },
	} {
		if got, err := edit(); err == nil {
			t.Errorf("%s: no error, but %q", name, got)
		}
	}
	got, err := repeatBlocks(file, "  c:", "  c:", strings.ToUpper)
	if want := strings.Replace(file, "e: [y]", "  C:\n    D: [X]\ne: [y]", 1); err != nil || got != want {
		t.Errorf("a copied block gives %q, %v", got, err)
	}
	if got, err = inList(file, "d: [", "z"); err != nil || !strings.Contains(got, "d: [x, z]") {
		t.Errorf("a longer list gives %q, %v", got, err)
	}
}
