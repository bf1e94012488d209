package boundaries

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// link is a test that a document names: its name, and the file it stands in.
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

// TestDocumentedTestsExist holds the documents to the tests they point to.
func TestDocumentedTestsExist(t *testing.T) {
	documents, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, path := range documents {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		named += len(link.FindAll(raw, -1))
		for _, complaint := range unprovable(string(raw), func(file string) ([]byte, error) {
			return os.ReadFile(filepath.Join(filepath.Dir(path), file))
		}) {
			t.Errorf("%s: %s", filepath.Base(path), complaint)
		}
	}
	if named < 20 {
		t.Errorf("only %d tests are named: the rule would hold for nothing", named)
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
