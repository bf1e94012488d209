package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dapr/components-contrib/metadata"
	"github.com/dapr/components-contrib/state"
	"github.com/dapr/components-contrib/state/sqlite"
	"github.com/dapr/kit/logger"
)

// lossy is a component whose bulk read stops after some keys without an error.
type lossy struct {
	component
	documents map[string]string
	reads     int
	broken    bool // single reads fail
}

func (l *lossy) Get(_ context.Context, request *state.GetRequest) (*state.GetResponse, error) {
	if l.broken {
		return nil, errors.New("connection reset")
	}
	value, ok := l.documents[request.Key]
	if !ok {
		return &state.GetResponse{}, nil
	}
	etag := "1"
	return &state.GetResponse{Data: []byte(value), ETag: &etag}, nil
}

func (l *lossy) BulkGet(ctx context.Context, requests []state.GetRequest, _ state.BulkGetOpts) ([]state.BulkGetResponse, error) {
	answers := make([]state.BulkGetResponse, len(requests))
	for i, request := range requests {
		answers[i].Key = request.Key
		if value, ok := l.documents[request.Key]; ok && i < l.reads {
			etag := "1"
			answers[i].Data, answers[i].ETag = []byte(value), &etag
		}
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

func TestBulkGetProvesAbsence(t *testing.T) {
	inner := &lossy{documents: map[string]string{"a": "1", "b": "2", "c": "3"}, reads: 1}
	got, err := (&proven{component: inner}).BulkGet(t.Context(), requests("a", "b", "none", "c"), state.BulkGetOpts{})
	if err != nil || len(got) != 4 {
		t.Fatal(got, err)
	}
	for i, want := range []string{"1", "2", "", "3"} {
		if string(got[i].Data) != want || (got[i].Metadata[Absent] == "true") != (want == "") || got[i].Error != "" {
			t.Errorf("%d: %+v", i, got[i])
		}
	}
	inner.broken = true
	got, err = (&proven{component: inner}).BulkGet(t.Context(), requests("a", "b", "none"), state.BulkGetOpts{})
	if err != nil || got[0].Error != "" || got[1].Error == "" || got[2].Error == "" || got[1].Metadata[Absent] != "" {
		t.Errorf("broken: %+v, %v", got, err)
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
	lock(t, other.(*prepared).component.(*sqlite.SQLiteStore).GetDBAccess().GetConnection())
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
