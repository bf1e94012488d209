package launcher

import (
	"context"
	"database/sql"
	"encoding/csv"
	"errors"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"caravan/dapr/launcher/infra"
	"caravan/dapr/launcher/manifest"
	"caravan/dapr/launcher/process"
)

// strangeNames are names of folders that have a special meaning for a program which gets a path: in URIs, shells,
// Erlang, YAML, CSV, globs, daprd's settings, or fmt.
var strangeNames = []string{
	"it's issue#42 100%? ü", "a#b", "100%", "a%20b", "what?", "a?_pragma=synchronous(OFF)", "a&b=c+d", "a;b,c", "a:b@c", `"quoted"`, "$HOME", "${HOME}",
	"`id`", "$(id)", "{appID}", "{uuid}", "[x]*", `back\slash`, "~", "-dash", " spaces at the ends ", "!", "a|b<c>d", "日本", "e\u0301", "\u200b\u202e", "%s%d%!", "'", "''", ":memory:", "- yaml: [",
}

func TestSQLiteOpensTheFileThatIsMeant(t *testing.T) {
	for _, name := range strangeNames {
		t.Run(name, func(t *testing.T) {
			folder := filepath.Join(t.TempDir(), name)
			store, err := infra.Store("sqlite", infra.Place{Dir: folder, Getenv: os.Getenv})
			if err != nil {
				t.Fatal(err)
			}
			if err := store.Prepare(t.Context()); err != nil {
				t.Fatal(err)
			}
			connection := store.Settings("orders")["connectionString"]
			checkUntouchedByDaprd(t, connection)
			writeRow(t, asComponentReads(t, connection))
			if entries, _ := os.ReadDir(filepath.Join(folder, "data")); len(entries) != 1 || entries[0].Name() != "orders.db" {
				t.Errorf("%s made %v", connection, entries)
			}
			if entries, _ := os.ReadDir(filepath.Dir(folder)); len(entries) != 1 {
				t.Errorf("%s made something outside of the folder: %v", connection, entries)
			}
		})
	}
}

// checkUntouchedByDaprd checks that the text contains nothing that daprd replaces in its files.
func checkUntouchedByDaprd(t *testing.T, text string) {
	t.Helper()
	if os.ExpandEnv(text) != text || strings.ContainsAny(text, "{}") {
		t.Errorf("daprd would change %q", text)
	}
}

// asComponentReads builds the data source name as GetConnectionString does (common/authentication/sqlite/metadata.go in
// components-contrib).
func asComponentReads(t *testing.T, connection string) string {
	t.Helper()
	file, query, _ := strings.Cut(connection, "?")
	values, err := url.ParseQuery(query)
	if err != nil || !slices.Equal(values["_pragma"], []string{"synchronous(FULL)"}) {
		t.Errorf("the settings of %q are %v, %v", connection, values, err)
	}
	values.Add("_pragma", "busy_timeout(10000)")
	return file + "?" + values.Encode()
}

func writeRow(t *testing.T, source string) {
	t.Helper()
	db, err := sql.Open("sqlite", source)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "CREATE TABLE t (x)"); err != nil {
		t.Fatal(err)
	}
}

func TestSidecarsGetThePathsThatAreMeant(t *testing.T) {
	for _, name := range strangeNames {
		t.Run(name, func(t *testing.T) {
			s := smallStack(t, filepath.Join(t.TempDir(), name), nil)
			var err error
			if s.store, err = infra.Store("sqlite", infra.Place{Dir: s.dir, Getenv: os.Getenv}); err != nil {
				t.Fatal(err)
			}
			s.broker = infra.Server{Set: "kafka", Settings: func(string) map[string]string { return nil }}
			if err := s.render(); err != nil {
				t.Fatal(err)
			}
			checkNameResolution(t, s)
			a := s.plan.Apps[0]
			args := s.sidecarSpec(a, a.ID, Link{}).Args
			for flag, want := range map[string]string{"--resources-path": s.resources(a), "--config": s.configFile()} {
				value := args[slices.Index(args, flag)+1]
				list, err := csv.NewReader(strings.NewReader(value)).Read() // spf13/pflag reads a list in this way
				if err != nil || len(list) != 1 || list[0] != want {
					t.Errorf("%s %q is read as %q, %v", flag, value, list, err)
				}
			}
			if lines := Logged(s.dir); !slices.Equal(lines, []string{"orders"}) {
				t.Errorf("there are logs of %v", lines)
			}
		})
	}
}

func checkNameResolution(t *testing.T, s *Stack) {
	t.Helper()
	raw, err := os.ReadFile(s.configFile())
	if err != nil {
		t.Fatal(err)
	}
	documents, err := manifest.Decode("config.yaml", []byte(os.ExpandEnv(string(raw)))) // daprd reads it in this way
	if err != nil {
		t.Fatal(err)
	}
	writeRow(t, documents[0].Configuration.Spec.NameResolution.Configuration["connectionString"])
	if _, err := os.Stat(s.nameResolutionFile()); err != nil {
		t.Error(err)
	}
	if err := s.changeHosts(t.Context(), "INSERT INTO t VALUES (1)"); err != nil {
		t.Error(err)
	}
}

func TestASmallDiskIsFoundUnderAnyName(t *testing.T) {
	for _, name := range strangeNames {
		folder := filepath.Join("/x", name)
		store, err := infra.Store("sqlite", infra.Place{Dir: folder, Getenv: os.Getenv})
		if err != nil {
			t.Fatal(err)
		}
		settings := maps.Clone(store.Settings("orders"))
		d := &smallDisk{path: filepath.Join(folder, "disk")}
		d.relocate(settings, filepath.Join(folder, "data"))
		if want := infra.SQLiteURI(filepath.Join(folder, "disk", "orders.db")) + "?_pragma=synchronous(FULL)"; settings["connectionString"] != want {
			t.Errorf("%q: relocated to %q", name, settings["connectionString"])
		}
	}
}

func TestTheSidecarIsFoundInARepositoryOfAnyName(t *testing.T) {
	want := ""
	for _, name := range strangeNames {
		root := filepath.Join(t.TempDir(), name)
		source := filepath.Join(root, "dapr", "daprd")
		for _, folder := range []string{"resolve", "store"} {
			if err := os.MkdirAll(filepath.Join(source, folder), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(source, "main.go"), []byte("package main"), 0o600); err != nil {
			t.Fatal(err)
		}
		built, err := builtSidecar(root, t.TempDir(), thisPlatform)
		if err != nil {
			t.Fatal(err)
		}
		if want == "" {
			want = built.Path
		}
		if built.Path != want {
			t.Errorf("%q: the same source belongs at %s and at %s", name, want, built.Path)
		}
	}
}

// TestAnotherSourceIsAnotherSidecar: a change in any package of daprd leads to a new build, and one in another program or
// in a test does not.
func TestAnotherSourceIsAnotherSidecar(t *testing.T) {
	root := t.TempDir()
	write := func(name, content string) string {
		file := filepath.Join(root, "dapr", "daprd", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		built, err := builtSidecar(root, t.TempDir(), thisPlatform)
		if err != nil {
			t.Fatal(err)
		}
		return built.Path
	}
	last := write("main.go", "package main")
	for _, name := range []string{"main.go", "go.sum", "await/await.go", "mail/send.go", "new/new.go"} {
		if now := write(name, "// changed"); now == last {
			t.Errorf("a change of %s leads to no new build", name)
		} else {
			last = now
		}
	}
	for _, name := range []string{"main_test.go", "storecopy/main.go"} {
		if write(name, "// changed") != last {
			t.Errorf("a change of %s leads to a new build", name)
		}
	}
}

func TestFoldersThatCannotBeGivenToProgramsAreRefused(t *testing.T) {
	for name, test := range map[string]struct{ root, dir, want string }{
		"a new line":             {"/r", "/d\n", `the character '\n'`},
		"a control character":    {"/r", "/d/\x01/x", `the character '\x01'`},
		"bytes":                  {"/r", "/d/\xff", "not UTF-8"},
		"too long":               {"/r", "/" + strings.Repeat("d/", longestFolder/2), "401 bytes"},
		"a repository's":         {"/r\n", "/d", "move it"},
		"a repository's of Go's": {`/r\r`, "/d", "move it"},
	} {
		err := checkFolders(test.root, test.dir)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
		if err != nil && test.root == "/r" && !strings.Contains(err.Error(), "--dir") {
			t.Errorf("%s: %v does not say what to do", name, err)
		}
	}
	for _, name := range strangeNames {
		if err := checkFolders("/r", filepath.Join("/d", name)); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := newStack(Options{Root: repository, Dir: "a\nb"}); err == nil {
		t.Error("a stack with a new line in its path is made")
	}
}

// TestServersStartInAFolderOfAnyName starts each private server alone, in the worst of folders, twice. The second start
// has to find what the first one wrote.
func TestServersStartInAFolderOfAnyName(t *testing.T) {
	if testing.Short() {
		t.Skip("starts real processes")
	}
	for _, server := range []struct {
		name   string
		choose func(string, infra.Place) (infra.Server, error)
	}{{"rabbitmq", infra.Broker}, {"redis-streams", infra.Broker}, {"redis", infra.Store}, {"postgres", infra.Store}} {
		t.Run(server.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, name := range strangeNames {
				if len(dir)+len(name) < 350 {
					dir += "/" + name
				}
			}
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				startAlone(t, server.name, dir, server.choose)
			}
		})
	}
}

func startAlone(t *testing.T, kind, dir string, choose func(string, infra.Place) (infra.Server, error)) {
	t.Helper()
	ports := process.NewPorts()
	defer ports.Release()
	server, err := choose(kind, infra.Place{Dir: dir, Port: ports.Take, Getenv: func(name string) string {
		if slices.Contains(infra.Variables(), name) {
			return "" // so that the server is a private one
		}
		return os.Getenv(name)
	}})
	if errors.Is(err, infra.ErrNotInstalled) {
		leaveOut(t, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := server.Prepare(ctx); err != nil {
		t.Fatal(err)
	}
	supervisor := process.NewSupervisor(t.TempDir(), nil, nil)
	defer supervisor.Close()
	for _, spec := range server.Processes {
		p, err := supervisor.Add(spec)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close(context.Background())
		p.Start()
		if err := p.WaitReady(ctx, 0); err != nil {
			t.Fatal(err)
		}
	}
}
