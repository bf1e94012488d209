package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/dapr/components-contrib/metadata"
	"github.com/dapr/components-contrib/state"
	"github.com/dapr/components-contrib/state/sqlite"
	"github.com/dapr/kit/logger"
)

// openStock opens a file with the component alone.
func openStock(t *testing.T, path string) state.Store {
	t.Helper()
	log := logger.NewLogger("store")
	log.SetOutputLevel(logger.FatalLevel)
	opened := sqlite.NewSQLiteStateStore(log)
	properties := map[string]string{"connectionString": "file:" + path, "cleanupInterval": "0"}
	if err := opened.Init(t.Context(), state.Metadata{Base: metadata.Base{Name: "store", Properties: properties}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = opened.(*sqlite.SQLiteStore).Close() })
	return opened
}

func firstWrite(key, value string, etag *string) state.SetRequest {
	return state.SetRequest{Key: key, Value: []byte(value), ETag: etag, Options: state.SetStateOption{Concurrency: state.FirstWrite, Consistency: state.Strong}}
}

// read returns the value and the ETag of a document; nil if there is none.
func read(t *testing.T, from state.Store, key string) (value string, etag *string) {
	t.Helper()
	answer, err := from.Get(t.Context(), &state.GetRequest{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	return string(answer.Data), answer.ETag
}

// refusals are the keys of the writes that were refused, sorted. Any other error makes the test fail.
func refusals(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatal(err)
	}
	var keys []string
	for _, one := range joined.Unwrap() {
		var of state.BulkStoreError
		var mismatch *state.ETagError
		if !errors.As(one, &of) || !errors.As(one, &mismatch) || mismatch.Kind() != state.ETagMismatch {
			t.Fatalf("%v is no refusal", one)
		}
		keys = append(keys, of.Key())
	}
	slices.Sort(keys)
	return keys
}

// TestABulkWriteRefusesAsTheComponent gives the same bulk to the component and to ours, and compares what is refused and what is stored.
func TestABulkWriteRefusesAsTheComponent(t *testing.T) {
	wrong := "wrong"
	results := map[string][]string{}
	for name, open := range map[string]func() state.Store{
		"component": func() state.Store { return openStock(t, filepath.Join(t.TempDir(), "documents.db")) },
		"ours":      func() state.Store { return openSQLite(t, filepath.Join(t.TempDir(), "documents.db"), nil) },
	} {
		opened := open()
		for _, key := range []string{"exists", "changed", "stale"} {
			if err := opened.Set(t.Context(), &state.SetRequest{Key: key, Value: []byte("old")}); err != nil {
				t.Fatal(err)
			}
		}
		expired := firstWrite("expired", "old", nil)
		expired.Metadata = map[string]string{"ttlInSeconds": "1"}
		if err := opened.Set(t.Context(), &expired); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			if _, etag := read(t, opened, "expired"); etag == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("it does not expire")
			}
		}
		_, etag := read(t, opened, "changed")
		err := opened.(state.BulkStore).BulkSet(t.Context(), []state.SetRequest{
			firstWrite("new", "1", nil), firstWrite("exists", "2", nil), firstWrite("changed", "3", etag), firstWrite("stale", "4", &wrong),
			firstWrite("absent", "5", etag), firstWrite("expired", "6", nil), {Key: "json", Value: map[string]int{"a": 7}, Options: state.SetStateOption{Concurrency: state.FirstWrite}},
		}, state.BulkStoreOpts{})
		for _, key := range refusals(t, err) {
			results[name] = append(results[name], "refused "+key)
		}
		for _, key := range []string{"new", "exists", "changed", "stale", "absent", "expired", "json"} {
			value, _ := read(t, opened, key)
			results[name] = append(results[name], key+" is "+value)
		}
		if _, now := read(t, opened, "changed"); now == nil || *now == *etag {
			t.Errorf("%s: the ETag did not change", name)
		}
	}
	want := []string{"refused absent", "refused exists", "refused stale", "new is 1", "exists is old", "changed is 3", "stale is old", "absent is ", "expired is 6", `json is {"a":7}`}
	for name, got := range results {
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestASingleWriteRefusesAsTheComponent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "documents.db")
	ours, stock := openSQLite(t, path, nil), openStock(t, path)
	create := firstWrite("key", "1", nil)
	if err := ours.Set(t.Context(), &create); err != nil {
		t.Fatal(err)
	}
	value, etag := read(t, stock, "key") // as the component reads it
	update, wrong := firstWrite("key", "2", etag), firstWrite("key", "3", etag)
	if err := ours.Set(t.Context(), &update); err != nil || value != "1" {
		t.Fatalf("%v after %q", err, value)
	}
	for name, request := range map[string]*state.SetRequest{"create again": &create, "update again": &wrong} {
		var mismatch *state.ETagError
		if err := ours.Set(t.Context(), request); !errors.As(err, &mismatch) || mismatch.Kind() != state.ETagMismatch {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := ours.Set(t.Context(), &state.SetRequest{Key: "key", Value: []byte("4")}); err != nil { // the last write wins
		t.Error(err)
	}
	if value, _ := read(t, ours, "key"); value != "4" {
		t.Errorf("it is %q", value)
	}
}

// TestAFailedBulkWriteStoresNothing has the database refuse one document of a bulk, and write the others afterwards.
func TestAFailedBulkWriteStoresNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "documents.db")
	opened := openSQLite(t, path, nil)
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), `CREATE TRIGGER broken BEFORE INSERT ON state WHEN NEW.key = 'bad' BEGIN SELECT RAISE(ABORT, 'broken'); END`); err != nil {
		t.Fatal(err)
	}
	bulk := []state.SetRequest{firstWrite("a", "1", nil), firstWrite("bad", "2", nil), firstWrite("b", "3", nil)}
	if err := opened.(state.BulkStore).BulkSet(t.Context(), bulk, state.BulkStoreOpts{}); err == nil || errors.As(err, new(state.BulkStoreError)) {
		t.Errorf("it is %v, want an error of all", err)
	}
	for _, key := range []string{"a", "bad", "b"} {
		if value, etag := read(t, opened, key); etag != nil {
			t.Errorf("%s is %q", key, value)
		}
	}
	bulk[1] = firstWrite("good", "2", nil)
	if err := opened.(state.BulkStore).BulkSet(t.Context(), bulk, state.BulkStoreOpts{}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if value, _ := read(t, opened, "good"); value != "2" {
		t.Errorf("good is %q", value)
	}
}

// TestNoUpdateIsLostBetweenReplicas counts in documents from two stores over one file, in bulks that overlap, with compare-and-swap.
func TestNoUpdateIsLostBetweenReplicas(t *testing.T) {
	path := filepath.Join(t.TempDir(), "documents.db")
	keys := []string{"k0", "k1", "k2", "k3"}
	const rounds = 25
	var wrote sync.Map // key and ETag read -> how often a write after it was stored
	var workers sync.WaitGroup
	stored := make([]map[string]int, 4)
	for w := range stored {
		opened := openSQLite(t, path, map[string]string{"busyTimeout": "15s"})
		stored[w] = map[string]int{}
		workers.Go(func() {
			for range rounds {
				if err := count(t.Context(), opened, keys, stored[w], &wrote); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	workers.Wait()
	want := map[string]int{}
	for _, of := range stored {
		for key, n := range of {
			want[key] += n
		}
	}
	got := map[string]int{}
	reader := openStock(t, path)
	for _, key := range keys {
		value, _ := read(t, reader, key)
		got[key], _ = strconv.Atoi(value)
	}
	if !maps.Equal(got, want) || len(want) != len(keys) {
		t.Errorf("the documents count %v, and %v writes were stored", got, want)
	}
	wrote.Range(func(state, n any) bool {
		if n.(int) != 1 {
			t.Errorf("%d writes were stored after %v", n, state)
		}
		return true
	})
}

// count adds one to each document in one bulk, and notes which were stored.
func count(ctx context.Context, in state.Store, keys []string, stored map[string]int, wrote *sync.Map) error {
	var bulk []state.SetRequest
	before := map[string]string{}
	for _, key := range keys {
		answer, err := in.Get(ctx, &state.GetRequest{Key: key})
		if err != nil {
			return fmt.Errorf("reading: %w", err)
		}
		n, _ := strconv.Atoi(string(answer.Data))
		bulk = append(bulk, firstWrite(key, strconv.Itoa(n+1), answer.ETag))
		before[key] = key + " none"
		if answer.ETag != nil {
			before[key] = key + " " + *answer.ETag
		}
	}
	err := in.(state.BulkStore).BulkSet(ctx, bulk, state.BulkStoreOpts{})
	refused := map[string]bool{}
	if err != nil {
		joined, ok := err.(interface{ Unwrap() []error })
		if !ok {
			return fmt.Errorf("writing: %w", err)
		}
		for _, one := range joined.Unwrap() {
			var of state.BulkStoreError
			if !errors.As(one, &of) {
				return one
			}
			refused[of.Key()] = true
		}
	}
	for _, key := range keys {
		if !refused[key] {
			stored[key]++
			if _, again := wrote.LoadOrStore(before[key], 1); again {
				wrote.Store(before[key], 2)
			}
		}
	}
	return nil
}

// TestWritesThatWaitAreStored has many callers write while the file is locked.
func TestWritesThatWaitAreStored(t *testing.T) {
	path := filepath.Join(t.TempDir(), "documents.db")
	opened := openSQLite(t, path, map[string]string{"busyTimeout": "15s"})
	db, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	lock, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	const callers = 20
	var writers sync.WaitGroup
	for i := range callers {
		writers.Go(func() {
			request := firstWrite(fmt.Sprintf("k%d", i), "1", nil)
			if err := opened.Set(t.Context(), &request); err != nil {
				t.Error(err)
			}
		})
	}
	lane := opened.(*prepared).lane
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		lane.mu.Lock()
		waiting := len(lane.waiting)
		lane.mu.Unlock()
		if waiting >= callers-2 { // at most two were taken before all of them had come
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d wait", waiting)
		}
	}
	if err := lock.Rollback(); err != nil {
		t.Fatal(err)
	}
	writers.Wait()
	for i := range callers {
		if value, _ := read(t, opened, fmt.Sprintf("k%d", i)); value != "1" {
			t.Errorf("k%d is %q", i, value)
		}
	}
}

func TestATransactionTakesWhatWaitsUpToABound(t *testing.T) {
	l := newLane(nil, "state")
	for _, rows := range []int{100, 100, 100, 2 * atOnce, 1} {
		l.waiting = append(l.waiting, &bulk{rows: make([]row, rows)})
	}
	for _, want := range [][]int{{100, 100}, {100}, {2 * atOnce}, {1}, nil} {
		var got []int
		for _, b := range l.take() {
			got = append(got, len(b.rows))
		}
		if !slices.Equal(got, want) {
			t.Errorf("it takes %v, want %v", got, want)
		}
	}
}
