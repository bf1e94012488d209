package store

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dapr/components-contrib/metadata"
	"github.com/dapr/components-contrib/state"
	"github.com/dapr/kit/logger"
)

// partly is a component that answers one key of a bulk, reports an error for another one, and has nothing under the rest.
type partly struct{ component }

func (partly) BulkGet(_ context.Context, requests []state.GetRequest, _ state.BulkGetOpts) ([]state.BulkGetResponse, error) {
	etag := "1"
	answers := []state.BulkGetResponse{{Key: "a", Data: []byte("1"), ETag: &etag}, {Key: "b", Error: "connection reset"}}
	for _, request := range requests[len(answers):] {
		answers = append(answers, state.BulkGetResponse{Key: request.Key})
	}
	return answers, nil
}

func requests(keys ...string) []state.GetRequest {
	all := make([]state.GetRequest, len(keys))
	for i, key := range keys {
		all[i].Key = key
	}
	return all
}

func TestABulkReadMarksAbsentKeys(t *testing.T) {
	got, err := (&marked{served{component: partly{}}}).BulkGet(t.Context(), requests("a", "b", "none"), state.BulkGetOpts{})
	if err != nil || len(got) != 3 {
		t.Fatal(got, err)
	}
	if string(got[0].Data) != "1" || got[1].Error == "" || got[2].Error != "" {
		t.Errorf("it answers %+v", got)
	}
	for i, absent := range []bool{false, false, true} {
		if (got[i].Metadata[Absent] == "true") != absent {
			t.Errorf("%s is marked as %v", got[i].Key, got[i].Metadata)
		}
	}
}

// documents is how many documents the SQLite file has. Each has many pages, so a bulk read of them takes milliseconds.
const documents = 60

// openSQLite opens a file as a sidecar does, with additional settings.
func openSQLite(t *testing.T, path string, settings map[string]string) state.Store {
	t.Helper()
	log := logger.NewLogger("store")
	log.SetOutputLevel(logger.FatalLevel)
	opened := NewSQLite(log)
	properties := map[string]string{"connectionString": "file:" + path, "cleanupInterval": "0"}
	for name, value := range settings {
		properties[name] = value
	}
	if err := opened.Init(t.Context(), state.Metadata{Base: metadata.Base{Name: "store", Properties: properties}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = opened.Close() })
	return opened
}

// filled makes a file with all documents and returns their keys.
func filled(t *testing.T, settings map[string]string) (path string, keys []string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "documents.db")
	opened := openSQLite(t, path, settings)
	pad := make([]byte, 64<<10)
	for i := range pad {
		pad[i] = 'x'
	}
	for i := range documents {
		key := fmt.Sprintf("document/%02d", i)
		if err := opened.Set(t.Context(), &state.SetRequest{Key: key, Value: string(pad)}); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	if err := opened.Close(); err != nil {
		t.Fatal(err)
	}
	return path, keys
}

// documentsRead reads all documents once and reports whether each was read. It fails if one is reported as absent.
func documentsRead(ctx context.Context, t *testing.T, from state.Store, keys []string) bool {
	t.Helper()
	answers, err := from.BulkGet(ctx, requests(append(keys, "none")...), state.BulkGetOpts{})
	if err != nil {
		return false
	}
	whole := true
	for _, answer := range answers {
		switch {
		case answer.Metadata[Absent] == "true" && answer.Key != "none":
			t.Fatalf("%s is there, but is said to be absent", answer.Key)
		case answer.Error != "":
			whole = false
		case answer.Key != "none" && len(answer.Data) == 0:
			t.Fatalf("%s is neither read, nor absent, nor an error", answer.Key)
		}
	}
	return whole
}

// The time for a read may be over at any row.
func TestSQLiteReadsThatTimeOut(t *testing.T) {
	path, keys := filled(t, nil)
	var whole, cut int
	for timeout := 100 * time.Microsecond; whole < 3 || cut < 3; timeout = timeout * 5 / 4 {
		if timeout > time.Minute {
			t.Fatalf("%d reads were whole and %d were not", whole, cut)
		}
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		if documentsRead(ctx, t, openSQLite(t, path, nil), keys) {
			whole++
		} else {
			cut++
		}
		cancel()
	}
}

// The limit of a read ends it while the caller still waits. In this case the component itself says that documents do not exist.
func TestSQLiteQueriesThatTimeOut(t *testing.T) {
	path, keys := filled(t, nil)
	var whole, cut int
	for timeout := 50 * time.Microsecond; whole < 3 || cut < 3; timeout = timeout * 11 / 10 {
		if timeout > time.Minute {
			t.Fatalf("%d reads were whole and %d were not", whole, cut)
		}
		opened := openSQLite(t, path, nil)
		opened.(*prepared).reader.timeout = timeout
		if documentsRead(t.Context(), t, opened, keys) {
			whole++
		} else {
			cut++
		}
	}
}

// A file that loses its end while it is in use gives errors for the lost documents.
func TestSQLiteFileThatCannotBeRead(t *testing.T) {
	cut := 0
	for part := range int64(10) {
		path, keys := filled(t, nil)
		opened := openSQLite(t, path, nil)
		file, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, file.Size()*part/10); err != nil {
			t.Fatal(err)
		}
		if !documentsRead(t.Context(), t, opened, keys) {
			cut++
		}
	}
	if cut < 8 {
		t.Errorf("only %d of 10 damages were met", cut)
	}
}

// A file that another process has locked is busy, not empty.
func TestSQLiteFileThatIsLocked(t *testing.T) {
	settings := map[string]string{"busyTimeout": "50ms", "disableWAL": "true"} // with a WAL, readers do not wait for writers
	path, keys := filled(t, settings)
	opened := openSQLite(t, path, settings)
	other := openSQLite(t, path, settings)
	lock(t, other.(*prepared).GetDBAccess().GetConnection())
	if documentsRead(t.Context(), t, opened, keys) {
		t.Error("the lock had no effect")
	}
}

// lock locks the file for one connection.
func lock(t *testing.T, database *sql.DB) {
	t.Helper()
	connection, err := database.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	for _, statement := range []string{"BEGIN EXCLUSIVE", "CREATE TABLE held (n INTEGER)"} {
		if _, err := connection.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
}
