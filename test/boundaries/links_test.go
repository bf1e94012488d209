package boundaries

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
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

// target is where any link leads: a file, a heading in it, or both. named is a test that a document mentions without a
// link. fenced is a block of code, which has no links and no headings.
var (
	target  = regexp.MustCompile(`\]\(([^)#\s]*)(?:#([^)\s]*))?\)`)
	named   = regexp.MustCompile("`((?:Test|Fuzz)[A-Z][A-Za-z0-9]*)`")
	fenced  = regexp.MustCompile("(?ms)^ *```.*?^ *```")
	heading = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *$`)
)

// dangling lists the links of a document that lead to no file or no heading, and the tests it mentions that are nowhere.
// read returns a file; the error is that of its absence. A folder has no text.
func dangling(document string, read func(file string) (string, error), isTest func(name string) bool) []string {
	var missing []string
	document = fenced.ReplaceAllString(document, "")
	for _, match := range target.FindAllStringSubmatch(document, -1) {
		file, part := match[1], match[2]
		if strings.Contains(file, ":") {
			continue // it is elsewhere
		}
		content := document
		if file != "" {
			var err error
			if content, err = read(file); err != nil {
				missing = append(missing, file+" does not exist")
				continue
			}
		}
		if part != "" && !anchors(content)[part] {
			missing = append(missing, fmt.Sprintf("%s has no heading for #%s", file, part))
		}
	}
	for _, match := range named.FindAllStringSubmatch(document, -1) {
		if !isTest(match[1]) {
			missing = append(missing, "no test is called "+match[1])
		}
	}
	return missing
}

// anchors are the names by which links reach the headings of a document, as GitHub and GitLab make them: the letters
// of the heading in lower case, with hyphens for spaces. The second of two equal ones ends in -1.
func anchors(document string) map[string]bool {
	all := make(map[string]bool)
	for _, match := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(document, ""), -1) {
		name := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, match[1])
		unique := name
		for n := 1; all[unique]; n++ {
			unique = fmt.Sprintf("%s-%d", name, n)
		}
		all[unique] = true
	}
	return all
}

// walk visits the files of the repository with an extension. Folders whose names start with a dot have the state of
// stacks and of git.
func walk(t *testing.T, extension string, visit func(path string, content []byte)) {
	t.Helper()
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && entry.Name() != "..":
			return fs.SkipDir
		case entry.IsDir() || !strings.HasSuffix(path, extension):
			return nil
		}
		content, err := os.ReadFile(path)
		visit(path, content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// documents are all that people read, by their path from here.
func documents(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	walk(t, ".md", func(path string, content []byte) { all[path] = string(content) })
	if len(all) < 20 {
		t.Fatalf("only %d documents found: the rules would hold for nothing", len(all))
	}
	return all
}

// tests are the names of all tests and fuzz targets of the repository.
func tests(t *testing.T) map[string]bool {
	t.Helper()
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Z][A-Za-z0-9]*)\(`)
	all := make(map[string]bool)
	walk(t, "_test.go", func(_ string, source []byte) {
		for _, match := range declared.FindAllSubmatch(source, -1) {
			all[string(match[1])] = true
		}
	})
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

// TestDocumentsLeadSomewhere checks that every link of the documents leads to a file and a heading, and that every test
// they mention exists.
func TestDocumentsLeadSomewhere(t *testing.T) {
	declared := tests(t)
	for path, document := range documents(t) {
		for _, complaint := range dangling(document, func(file string) (string, error) {
			file = filepath.Join(filepath.Dir(path), file)
			if info, err := os.Stat(file); err != nil || info.IsDir() {
				return "", err
			}
			content, err := os.ReadFile(file)
			return string(content), err
		}, func(name string) bool { return declared[name] }) {
			t.Errorf("%s: %s", path, complaint)
		}
	}
}

func TestDanglingLinksAreFound(t *testing.T) {
	read := func(file string) (string, error) {
		if file != "adr/1.md" {
			return "", os.ErrNotExist
		}
		return "# ADR 1: one part\n## The Dapr CLI's `run`\n## Twice\n## Twice\n```\n# a comment\n```\n", nil
	}
	isTest := func(name string) bool { return name == "TestA" }
	for document, wrong := range map[string]bool{
		"[ADR 1](adr/1.md)":                       false,
		"[a part](adr/1.md#adr-1-one-part)":       false,
		"[code](adr/1.md#the-dapr-clis-run)":      false,
		"[the second](adr/1.md#twice-1)":          false,
		"# Here\n[above](#here)":                  false,
		"[elsewhere](https://dapr.io#x)":          false,
		"[`TestA`](adr/1.md), and `TestA` alone":  false,
		"```\n[an example](adr/2.md)\n```\n# End": false,
		"[ADR 2](adr/2.md)":                       true,
		"[no part](adr/1.md#another-part)":        true,
		"[the third](adr/1.md#twice-2)":           true,
		"[code](adr/1.md#a-comment)":              true,
		"# Here\n[nowhere](#there)":               true,
		"kept by `TestB`":                         true,
	} {
		if got := dangling(document, read, isTest); (len(got) > 0) != wrong {
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
