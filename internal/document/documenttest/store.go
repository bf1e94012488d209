// Package documenttest has a fake store in memory, for tests of code that uses package document, and the contract suite
// that every real store must pass.
package documenttest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"

	"caravan/internal/document"
)

// FakeStore is a document.Store in memory that can fail as real ones do.
type FakeStore struct {
	mu      sync.Mutex
	records map[string]document.Record
	etag    int

	// BeforePut, if set, runs before each write. If it returns an error, the write does not happen and returns that
	// error.
	BeforePut func(key string, value []byte) error
	// AfterPut, if set, runs after each write that happened. Its error is returned although the write is stored: the
	// outcome is unknown to the caller.
	AfterPut func(key string, value []byte) error
	// BeforeGet, if set, runs before each read; its error is returned.
	BeforeGet func(keys []string) error
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
	if s.BeforeGet != nil {
		if err := s.BeforeGet(keys); err != nil {
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
	if s.BeforePut != nil {
		if err := s.BeforePut(key, value); err != nil {
			return err
		}
	}
	if err := s.put(key, value, etag); err != nil {
		return err
	}
	if s.AfterPut != nil {
		return s.AfterPut(key, value)
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
