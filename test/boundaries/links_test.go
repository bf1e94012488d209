package boundaries

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// link matches a test in a document: its name and its file.
var link = regexp.MustCompile("\\[`((?:Test|Fuzz)[^`]*)`\\]\\(([^)]+_test\\.go)\\)")

// unprovable lists the tests that a document names and that do not exist. A part
// after a slash is a name within the test, which has to stand in the file too.
func unprovable(document string, read func(file string) ([]byte, error)) []string {
	var missing []string
	for _, match := range link.FindAllStringSubmatch(document, -1) {
		name, file := match[1], match[2]
		source, err := read(file)
		if err != nil {
			missing = append(missing, fmt.Sprintf("%s: %v", name, err))
			continue
		}
		function, inner, _ := strings.Cut(name, "/")
		if !strings.Contains(string(source), "func "+function+"(") {
			missing = append(missing, fmt.Sprintf("%s has no test %s", file, function))
		}
		for _, part := range strings.Split(inner, "/") {
			if part != "" && !strings.Contains(string(source), fmt.Sprintf("%q", part)) {
				missing = append(missing, fmt.Sprintf("%s names nothing %q", file, part))
			}
		}
	}
	return missing
}

// target is where any link leads; named is a test that a document mentions without a link.
var (
	target = regexp.MustCompile(`\]\(([^)#\s]+)(?:#[^)\s]*)?\)`)
	named  = regexp.MustCompile("`((?:Test|Fuzz)[A-Z][A-Za-z0-9]*)`")
)

// dangling lists the links of a document that lead to no file, and the tests it mentions that are nowhere.
func dangling(document string, exists func(file string) bool, isTest func(name string) bool) []string {
	var missing []string
	for _, match := range target.FindAllStringSubmatch(document, -1) {
		if !strings.Contains(match[1], "://") && !exists(match[1]) {
			missing = append(missing, match[1]+" does not exist")
		}
	}
	for _, match := range named.FindAllStringSubmatch(document, -1) {
		if !isTest(match[1]) {
			missing = append(missing, "no test is called "+match[1])
		}
	}
	return missing
}

// documents are all that people read, by their path from here.
func documents(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, pattern := range []string{"../../*.md", "../../docs/*.md", "../../docs/adr/*.md", "../../docs/parts/*.md"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			all[path] = string(raw)
		}
	}
	if len(all) < 10 {
		t.Fatalf("only %d documents found: the rules would hold for nothing", len(all))
	}
	return all
}

// tests are the names of all tests and fuzz targets of the repository.
func tests(t *testing.T) map[string]bool {
	t.Helper()
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Z][A-Za-z0-9]*)\(`)
	all := make(map[string]bool)
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && entry.Name() != "..":
			return fs.SkipDir // state of stacks, and git's
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		source, err := os.ReadFile(path)
		for _, match := range declared.FindAllSubmatch(source, -1) {
			all[string(match[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestDocumentedTestsExist holds the documents to the tests they point to.
func TestDocumentedTestsExist(t *testing.T) {
	linked := 0
	for path, document := range documents(t) {
		linked += len(link.FindAllString(document, -1))
		for _, complaint := range unprovable(document, func(file string) ([]byte, error) {
			return os.ReadFile(filepath.Join(filepath.Dir(path), file))
		}) {
			t.Errorf("%s: %s", path, complaint)
		}
	}
	if linked < 20 {
		t.Errorf("only %d tests are linked: the rule would hold for nothing", linked)
	}
}

// TestDocumentsLeadSomewhere holds every link of the documents to a file, and every test they mention to one that is.
func TestDocumentsLeadSomewhere(t *testing.T) {
	declared := tests(t)
	for path, document := range documents(t) {
		for _, complaint := range dangling(document, func(file string) bool {
			_, err := os.Stat(filepath.Join(filepath.Dir(path), file))
			return err == nil
		}, func(name string) bool { return declared[name] }) {
			t.Errorf("%s: %s", path, complaint)
		}
	}
}

func TestDanglingLinksAreFound(t *testing.T) {
	exists := func(file string) bool { return file == "adr/1.md" }
	isTest := func(name string) bool { return name == "TestA" }
	for document, wrong := range map[string]bool{
		"[ADR 1](adr/1.md)":                      false,
		"[a part](adr/1.md#part)":                false,
		"[elsewhere](https://dapr.io)":           false,
		"[`TestA`](adr/1.md), and `TestA` alone": false,
		"[ADR 2](adr/2.md)":                      true,
		"kept by `TestB`":                        true,
	} {
		if got := dangling(document, exists, isTest); (len(got) > 0) != wrong {
			t.Errorf("%s: %v", document, got)
		}
	}
}

func TestUndocumentedTestsAreFound(t *testing.T) {
	files := map[string]string{"a_test.go": "func TestA(t *testing.T) { t.Run(\"a part\", f) }"}
	read := func(file string) ([]byte, error) {
		source, ok := files[file]
		if !ok {
			return nil, os.ErrNotExist
		}
		return []byte(source), nil
	}
	for document, wrong := range map[string]bool{
		"[`TestA`](a_test.go)":                                   false,
		"[`TestA/a part`](a_test.go)":                            false,
		"| x ([`TestA`](a_test.go), [`TestB`](a_test.go)) | y |": true,
		"[`TestA/another part`](a_test.go)":                      true,
		"[`Test`](a_test.go)":                                    true,
		"[`TestA`](b_test.go)":                                   true,
		"`TestB` without a file":                                 false,
	} {
		if got := unprovable(document, read); (len(got) > 0) != wrong {
			t.Errorf("%s: %v", document, got)
		}
	}
}
