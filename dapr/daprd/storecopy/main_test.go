package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dapr/components-contrib/metadata"
	"github.com/dapr/components-contrib/state"
	"github.com/dapr/components-contrib/state/sqlite"
	"github.com/dapr/kit/logger"
	"sigs.k8s.io/yaml"
)

// settings are those of the repository's own component file, with another database file.
func settings(t *testing.T, database string) map[string]string {
	t.Helper()
	raw, err := os.ReadFile("../../../components/sqlite/orders/store.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Spec struct {
			Metadata []struct{ Name, Value string }
		}
	}
	if err := yaml.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	read := map[string]string{}
	for _, item := range file.Spec.Metadata {
		read[item.Name] = strings.Replace(item.Value, ".dapr/data/orders.db", database, 1)
	}
	if !strings.Contains(read["connectionString"], database) {
		t.Fatalf("the connection string is %q", read["connectionString"])
	}
	return read
}

// TestCommitsReachTheDisk checks that the database syncs at each commit. It asks the database through connections that
// Dapr's component makes with the repository's settings.
func TestCommitsReachTheDisk(t *testing.T) {
	opened := sqlite.NewSQLiteStateStore(logger.NewLogger("storecopy")).(*sqlite.SQLiteStore)
	properties := settings(t, filepath.Join(t.TempDir(), "orders.db"))
	if err := opened.Init(t.Context(), state.Metadata{Base: metadata.Base{Properties: properties}}); err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	// Each connection has its own settings, so several are checked.
	database := opened.GetDBAccess().GetConnection()
	for range 3 {
		connection, err := database.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer connection.Close()
		for pragma, want := range map[string]string{"synchronous": "2", "journal_mode": "wal", "busy_timeout": "10000"} {
			var got string
			if err := connection.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
				t.Errorf("%s is %s, want %s (2 is FULL); %v", pragma, got, want, err)
			}
		}
	}
}

// files are two stores to copy between.
type files struct {
	t        *testing.T
	from, to component
}

func twoFiles(t *testing.T) files {
	dir := t.TempDir()
	one := func(name string) component {
		return component{Type: "state.sqlite", Settings: settings(t, filepath.Join(dir, name))}
	}
	return files{t: t, from: one("from.db"), to: one("to.db")}
}

func (f files) put(at component, documents map[string]string) {
	f.t.Helper()
	opened, err := open(f.t.Context(), at)
	if err != nil {
		f.t.Fatal(err)
	}
	defer opened.Close()
	for key, value := range documents {
		if err := opened.Set(f.t.Context(), &state.SetRequest{Key: key, Value: []byte(value)}); err != nil {
			f.t.Fatal(err)
		}
	}
}

func (f files) run(ctx context.Context, how job) (result, error) {
	f.t.Helper()
	how.App, how.From, how.To = "orders", f.from, f.to
	in, err := json.Marshal(how)
	if err != nil {
		f.t.Fatal(err)
	}
	// leash stays open until the test is over.
	reader, leash, err := os.Pipe()
	if err != nil {
		f.t.Fatal(err)
	}
	defer leash.Close()
	if _, err := leash.Write(in); err != nil {
		f.t.Fatal(err)
	}
	var out bytes.Buffer
	if err := run(ctx, reader, &out); err != nil {
		return result{}, err
	}
	var last line
	for decoder := json.NewDecoder(&out); decoder.More(); {
		if err := decoder.Decode(&last); err != nil {
			f.t.Fatal(err)
		}
	}
	if last.Result == nil {
		f.t.Fatalf("it ended without a result: %s", out.String())
	}
	return *last.Result, nil
}

func (f files) must(how job) result {
	f.t.Helper()
	found, err := f.run(f.t.Context(), how)
	if err != nil {
		f.t.Fatal(err)
	}
	return found
}

func TestCopy(t *testing.T) {
	f := twoFiles(t)
	documents := map[string]string{"ORDERS||of another app": "1", "payments||account": "2", "orders||empty": ""}
	for i := range 3*batch + 7 {
		documents[fmt.Sprintf("orders||order/%d", i)] = fmt.Sprintf(`{"i":%d,"text":"%%_\\\u0000é"}`, i)
	}
	f.put(f.from, documents)
	const own = 3*batch + 8
	if got := f.must(job{}); got.From != own || got.Missing != own || got.To != 0 {
		t.Fatalf("before: %+v", got)
	}
	f.must(job{Copy: true})
	after := f.must(job{})
	if after.Same != own || after.To != own || after.Missing+after.Different+after.Foreign != 0 {
		t.Fatalf("after: %+v", after)
	}
	if again := f.must(job{Copy: true}); again.Missing != 0 || again.Digest != after.Digest {
		t.Errorf("again: %+v", again)
	}
}

func TestWhatIsThereIsNotOverwrittenUnasked(t *testing.T) {
	for name, there := range map[string]map[string]string{
		"different": {"orders||a": "other"},
		"foreign":   {"orders||b": "more"},
	} {
		t.Run(name, func(t *testing.T) {
			f := twoFiles(t)
			f.put(f.from, map[string]string{"orders||a": "one"})
			f.put(f.to, there)
			found := f.must(job{})
			if found.Different+found.Foreign != 1 || len(found.Examples) != 1 {
				t.Errorf("found %+v", found)
			}
			if _, err := f.run(t.Context(), job{Copy: true}); err == nil {
				t.Fatal("copied")
			}
			if still := f.must(job{}); still.Different+still.Foreign != 1 {
				t.Errorf("it was changed: %+v", still)
			}
			f.must(job{Copy: true, Replace: true})
			if now := f.must(job{}); now.Same != 1 || now.To != 1 {
				t.Errorf("replaced, it is %+v", now)
			}
		})
	}
}

func TestDigestTellsKeysFromContents(t *testing.T) {
	digest := func(documents map[string]string) string {
		f := twoFiles(t)
		f.put(f.from, documents)
		return f.must(job{}).Digest
	}
	seen := map[string]bool{}
	for _, documents := range []map[string]string{
		{"orders||a": "bc"}, {"orders||ab": "c"}, {"orders||a": "b", "orders||c": ""}, {"orders||a": "b"},
	} {
		if d := digest(documents); seen[d] {
			t.Errorf("%v looks like another", documents)
		} else {
			seen[d] = true
		}
	}
}
