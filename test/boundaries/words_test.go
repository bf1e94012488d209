package boundaries

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// privateWords are words with a special meaning that only this project used. Names are split at capitals, so that parts
// of names count too.
var privateWords = regexp.MustCompile(`(?i)\b(roads?|mend(s|ed|ing)?|(im)?patien(t|ce|tly)|anew|tells? of|told of|put away|reckons?|underneath|` +
	`strangers?|corpses?|shelf|shelves|pulses?|judges?|judged|judging|last call)\b`)

// capital is a place inside a name where a new word starts.
var capital = regexp.MustCompile(`([a-z0-9])([A-Z])`)

// allowedWords are uses in the usual meaning, by file.
var allowedWords = map[string][]string{
	"CHANGELOG.md":                  {"mends", "patience"}, // former names
	"test/boundaries/words_test.go": nil,                   // this list; nil allows every word
}

func privateIn(text string) []string {
	var found []string
	for _, word := range privateWords.FindAllString(capital.ReplaceAllString(text, "$1 $2"), -1) {
		found = append(found, strings.ToLower(word))
	}
	return found
}

// TestWordsAreStandard looks for private words in the texts and the code of the project.
func TestWordsAreStandard(t *testing.T) {
	root := filepath.Join("..", "..")
	checked := 0
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name != "." && strings.HasPrefix(entry.Name(), ".") && entry.Name() != ".ci" {
				return fs.SkipDir
			}
			return nil
		}
		if !slices.Contains([]string{".go", ".md", ".yaml", ".yml", ".sh", ".erl"}, filepath.Ext(name)) && filepath.Dir(name) != ".ci" {
			return nil
		}
		allowed, listed := allowedWords[name]
		if listed && allowed == nil {
			return nil
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		checked++
		number := 0
		for line := range strings.Lines(string(raw)) {
			number++
			for _, word := range privateIn(line) {
				if !slices.Contains(allowed, word) {
					t.Errorf("%s:%d says %q; docs/glossary.md has the usual terms", name, number, word)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if checked < 300 {
		t.Errorf("only %d files were checked", checked)
	}
}

func TestPrivateWordsAreFound(t *testing.T) {
	for text, want := range map[string]int{
		"the road": 1, "fakeRoad": 1, "it is started anew": 1, "what it tells of": 1, "TestItIsMended": 1, "impatient": 1,
		"a roadmap, recommended": 0, "amend": 0, "tell it": 0,
	} {
		if got := privateIn(text); len(got) != want {
			t.Errorf("%q: found %q", text, got)
		}
	}
}
