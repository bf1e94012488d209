package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"caravan/dapr/bench"
)

func TestFlagsOfAComparisonAreChecked(t *testing.T) {
	withoutPasswords(t)
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for want, args := range map[string][]string{
		"no such revision, and no such file": {"--against", "no-such-thing"},
		"there is no such revision":          {"--against", "--upload-pack=x"},
		"is no flag":                         {"--against", file("words", "store redis\n")},
		"cannot differ":                      {"--against", file("json", "--json=x\n")},
		"is longer than":                     {"--against", file("long", strings.Repeat("# x\n", 2000))},
		"do not give --compare":              {"--against", "HEAD", "--compare", "x"},
		"do not give --against":              {"--against", "HEAD", "--streams", "5"},
		"from 1 to 100":                      {"--against", "HEAD", "--rounds", "0"},
	} {
		if status, _, stderr := invoke(t, append([]string{"bench"}, args...)...); status != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("%v: status %d, said %q", args, status, stderr)
		}
	}
}

// benchFlagSet parses flags of bench.
func benchFlagSet(t *testing.T, args ...string) (*cli, *flag.FlagSet) {
	t.Helper()
	c := &cli{out: new(bytes.Buffer), err: new(bytes.Buffer), dir: t.TempDir()}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	benchCommand().flags(c, flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return c, flags
}

func TestAVariantOfFlags(t *testing.T) {
	file := filepath.Join(t.TempDir(), "redis.flags")
	if err := os.WriteFile(file, []byte("# the same with another store\n\n--store redis\n--messages=none\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, flags := benchFlagSet(t, "--against", file, "--clients", "64", "--store", "sqlite", "--json", "x", "--rounds", "2")
	this := bench.Variant{Name: "this tree", Flags: benchFlags(flags, nil)}
	if want := []string{"--clients=64", "--store=sqlite"}; !slices.Equal(this.Flags, want) {
		t.Errorf("this runs with %v, want %v", this.Flags, want)
	}
	other, err := c.variant(t.Context(), file, flags, this)
	if want := []string{"--clients=64", "--store=redis", "--messages=none"}; err != nil || !slices.Equal(other.Flags, want) {
		t.Errorf("the other one runs with %v, %v; want %v", other.Flags, err, want)
	}
	_, none := benchFlagSet(t)
	if got := benchFlags(none, nil); !slices.Equal(got, []string{"--store=sqlite"}) {
		t.Errorf("without flags it runs with %v, and would measure the stack that runs", got)
	}
}

// TestAVariantOfARevision builds a revision of a small repository whose bench has fewer flags.
func TestAVariantOfARevision(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":       "module caravan\n\ngo 1.26\n",
		"dapr/main.go": "package main\n\nfunc main() { println(\"\") ; print() }\n",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"init", "--quiet"}, {"add", "."}, {"-c", "user.name=test", "-c", "user.email=test@caravan.example", "commit", "--quiet", "-m", "first"},
	} {
		if _, err := git(t.Context(), root, args...); err != nil {
			t.Fatal(err)
		}
	}
	c, flags := benchFlagSet(t, "--clients", "1", "--store", "redis")
	c.root = root
	for range 2 { // the second time it is built
		other, err := c.variant(t.Context(), "HEAD", flags, bench.Variant{})
		if err != nil {
			t.Fatal(err)
		}
		if other.Revision != c.revision(t.Context(), "HEAD") || len(other.Flags) != 0 {
			t.Errorf("the other one is %+v", other)
		}
		if _, err := os.Stat(other.Program); err != nil {
			t.Error(err)
		}
	}
	out, _ := c.out.(*bytes.Buffer)
	if text := out.String(); strings.Count(text, "Building revision") != 1 || !strings.Contains(text, "HEAD has no --store; it is measured without.") {
		t.Errorf("it says %q", text)
	}
}
