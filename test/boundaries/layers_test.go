package boundaries

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// rowOf reads the picture of internal/README.md: each indented line that starts with names of packages is a row. It
// returns the row number of each package, counted from the top.
func rowOf(document string) map[string]int {
	rows := map[string]int{}
	n := 0
	for line := range strings.Lines(document) {
		names, indented := strings.CutPrefix(line, "    ")
		if !indented || strings.HasPrefix(strings.TrimSpace(names), "|") {
			continue
		}
		names, _, _ = strings.Cut(names, "   ") // an explanation follows
		for name := range strings.FieldsSeq(names) {
			rows[name] = n
		}
		n++
	}
	return rows
}

// TestInternalIsAsItsReadmeSays: the README names every package, and no package imports one of its own row or of a row
// above. Packages for tests may import everything.
func TestInternalIsAsItsReadmeSays(t *testing.T) {
	raw, err := os.ReadFile("../../internal/README.md")
	if err != nil {
		t.Fatal(err)
	}
	packages, err := List("../..")
	if err != nil {
		t.Fatal(err)
	}
	document := string(raw)
	rows := rowOf(document)
	top := func(path string) string {
		name, _, _ := strings.Cut(strings.TrimPrefix(path, "internal/"), "/")
		return name
	}
	var existing []string
	for _, p := range packages {
		if !within(p.Path, "internal") {
			continue
		}
		name := strings.TrimPrefix(p.Path, "internal/")
		existing = append(existing, name)
		if !strings.Contains(document, "\n| `"+name+"` | ") {
			t.Errorf("internal/README.md has no line about %s", p.Path)
		}
		row, ok := rows[top(p.Path)]
		if !ok {
			t.Errorf("the picture in internal/README.md lacks %s", top(p.Path))
		}
		if strings.HasSuffix(name, "test") {
			continue
		}
		for _, path := range p.Imports {
			if other := top(path); within(path, "internal") && other != top(p.Path) && rows[other] <= row {
				t.Errorf("%s imports %s, which is not below it in the picture of internal/README.md", p.Path, path)
			}
		}
	}
	for _, match := range regexp.MustCompile("(?m)^\\| `(.+?)` \\|").FindAllStringSubmatch(document, -1) {
		if !slices.Contains(existing, match[1]) {
			t.Errorf("internal/README.md names %s, which does not exist", match[1])
		}
	}
}
