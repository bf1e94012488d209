// Package documenttest has a fake store in memory, for tests of code that uses package document, and the contract suite
// that every real store must pass.
package documenttest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"caravan/internal/document"
)

// FakeStore is a document.Store in memory that can fail as real ones do. Its hooks may be set while it is used: a repository
// also reads in the background (see document.Repository.Warm).
type FakeStore struct {
	mu      sync.Mutex
	records map[string]document.Record
	etag    int

	beforeGet           func(keys []string) error
	beforePut, afterPut func(key string, value []byte) error
}

// BeforePut sets what runs before each write; nil is nothing. If it returns an error, the write does not happen and returns
// that error. It may run several times at once.
func (s *FakeStore) BeforePut(hook func(key string, value []byte) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beforePut = hook
}

// AfterPut sets what runs after each write that happened; nil is nothing. Its error is returned although the write is stored:
// the outcome is unknown to the caller.
func (s *FakeStore) AfterPut(hook func(key string, value []byte) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.afterPut = hook
}

// BeforeGet sets what runs before each read; nil is nothing. Its error is returned.
func (s *FakeStore) BeforeGet(hook func(keys []string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beforeGet = hook
}

// hooks returns the hooks as they are now. They run without the lock, because some of them wait for other calls.
func (s *FakeStore) hooks() (beforeGet func([]string) error, beforePut, afterPut func(string, []byte) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.beforeGet, s.beforePut, s.afterPut
}

// NewStore makes an empty FakeStore.
func NewStore() *FakeStore { return &FakeStore{records: make(map[string]document.Record)} }

// ErrConflict is what FakeStore answers to a write with a stale ETag.
var ErrConflict = errors.New("fake store: etag mismatch")

// Get implements document.Store.
func (s *FakeStore) Get(ctx context.Context, keys ...string) (map[string]document.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := document.CheckKeys(keys...); err != nil {
		return nil, err
	}
	if before, _, _ := s.hooks(); before != nil {
		if err := before(keys); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found := make(map[string]document.Record, len(keys))
	for _, k := range keys {
		if r, ok := s.records[k]; ok {
			found[k] = document.Record{Value: slices.Clone(r.Value), ETag: r.ETag}
		}
	}
	return found, nil
}

// Put implements document.Store.
func (s *FakeStore) Put(ctx context.Context, key string, value []byte, etag string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := document.CheckKey(key); err != nil {
		return err
	}
	_, before, _ := s.hooks()
	if before != nil {
		if err := before(key, value); err != nil {
			return err
		}
	}
	if err := s.put(key, value, etag); err != nil {
		return err
	}
	if _, _, after := s.hooks(); after != nil { // the one before may have set it
		return after(key, value)
	}
	return nil
}

func (s *FakeStore) put(key string, value []byte, etag string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.records[key].ETag != etag {
		return fmt.Errorf("%s: %w", key, ErrConflict)
	}
	s.etag++
	s.records[key] = document.Record{Value: slices.Clone(value), ETag: strconv.Itoa(s.etag)}
	return nil
}

// Clone returns a store with the same documents and without hooks. Tests that begin with the same documents many times make
// them once.
func (s *FakeStore) Clone() *FakeStore {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &FakeStore{records: maps.Clone(s.records), etag: s.etag}
}

// Keys lists the stored keys in order.
func (s *FakeStore) Keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.records))
}

// Overwrite stores value without a check of the ETag. Tests use it to plant violations.
func (s *FakeStore) Overwrite(key string, value []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.etag++
	s.records[key] = document.Record{Value: slices.Clone(value), ETag: strconv.Itoa(s.etag)}
}

// Remove deletes the document under key. Tests use it to plant violations.
func (s *FakeStore) Remove(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.records, key)
}

// Key returns a stored key that begins with a text.
func (s *FakeStore) Key(t testing.TB, prefix string) string {
	t.Helper()
	keys := s.Keys()
	i := slices.IndexFunc(keys, func(key string) bool { return strings.HasPrefix(key, prefix) })
	if i < 0 {
		t.Fatalf("no document %s…", prefix)
	}
	return keys[i]
}

// Edit changes a stored document as no code of the project would. T is a map, or a pointer to the document.
func Edit[T any](t testing.TB, store *FakeStore, key string, change func(doc T)) {
	t.Helper()
	records, err := store.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	var doc T
	if err := json.Unmarshal(records[key].Value, &doc); err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	change(doc)
	value, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	store.Overwrite(key, value)
}
