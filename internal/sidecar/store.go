package sidecar

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	dapr "github.com/dapr/go-sdk/client"

	"caravan/internal/batch"
	"caravan/internal/document"
)

const (
	getBatch     = 64
	getLanes     = 1
	putBatch     = 32
	putLanes     = 3
	storeTimeout = 5 * time.Second
)

// store is a document.Store over Dapr's state API. Reads and writes that come
// together travel together; each write keeps its own ETag.
type store struct {
	sdk  dapr.Client
	gets *batch.Batcher[string, document.Record]
	puts *batch.Batcher[put, struct{}]
}

type put struct {
	key   string
	value []byte
	etag  string
}

func newStore(sdk dapr.Client, writeLanes, writeBatch int) *store {
	s := &store{sdk: sdk}
	s.gets = batch.New(batch.Options{Size: getBatch, Lanes: getLanes, Timeout: storeTimeout}, nil, s.getAll)
	s.puts = batch.New(batch.Options{Size: cmp.Or(writeBatch, putBatch), Lanes: cmp.Or(writeLanes, putLanes), Timeout: storeTimeout, Distinct: true},
		func(p put) string { return p.key }, s.putAll)
	return s
}

// errAbsent marks a key without document inside a batch.
var errAbsent = errors.New("absent")

// Get implements document.Store.
func (s *store) Get(ctx context.Context, keys ...string) (map[string]document.Record, error) {
	if len(keys) == 1 {
		record, err := s.gets.Do(ctx, keys[0])
		switch {
		case errors.Is(err, errAbsent):
			return nil, nil
		case err != nil:
			return nil, err
		}
		return map[string]document.Record{keys[0]: record}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	records := make(map[string]document.Record, len(keys))
	for i, result := range s.getAll(ctx, keys) {
		switch {
		case errors.Is(result.Err, errAbsent):
		case result.Err != nil:
			return nil, result.Err
		default:
			records[keys[i]] = result.Value
		}
	}
	return records, nil
}

// getAll reads one batch of keys; equal keys are asked for once.
func (s *store) getAll(ctx context.Context, keys []string) []batch.Result[document.Record] {
	results := make([]batch.Result[document.Record], len(keys))
	found, err := s.read(ctx, keys)
	for i, key := range keys {
		record, ok := found[key]
		switch {
		case err != nil:
			results[i].Err = document.Unavailable{Err: err}
		case !ok:
			results[i].Err = errAbsent
		default:
			results[i].Value = record
		}
	}
	return results
}

func (s *store) read(ctx context.Context, keys []string) (map[string]document.Record, error) {
	found := make(map[string]document.Record, len(keys))
	if len(keys) == 1 {
		item, err := s.sdk.GetState(ctx, StoreName, keys[0], nil)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", keys[0], err)
		}
		if item.Etag != "" || len(item.Value) > 0 {
			found[keys[0]] = document.Record{Value: item.Value, ETag: item.Etag}
		}
		return found, nil
	}
	distinct := make([]string, 0, len(keys))
	asked := make(map[string]bool, len(keys))
	for _, k := range keys {
		if !asked[k] {
			asked[k] = true
			distinct = append(distinct, k)
		}
	}
	items, err := s.sdk.GetBulkState(ctx, StoreName, distinct, nil, 0)
	if err != nil {
		return nil, fmt.Errorf("reading %d documents: %w", len(distinct), err)
	}
	for _, item := range items {
		if item.Error != "" {
			return nil, fmt.Errorf("reading %s: %s", item.Key, item.Error)
		}
		if item.Etag != "" || len(item.Value) > 0 {
			found[item.Key] = document.Record{Value: item.Value, ETag: item.Etag}
		}
	}
	return found, nil
}

// Put implements document.Store.
func (s *store) Put(ctx context.Context, key string, value []byte, etag string) error {
	_, err := s.puts.Do(ctx, put{key: key, value: value, etag: etag})
	return err
}

// putAll writes one batch. Dapr performs the writes one by one, each under its
// own ETag, and answers with one error for all if any failed; the documents
// layer reads back which ones did.
func (s *store) putAll(ctx context.Context, puts []put) []batch.Result[struct{}] {
	items := make([]*dapr.SetStateItem, len(puts))
	for i, p := range puts {
		items[i] = &dapr.SetStateItem{
			Key: p.key, Value: p.value,
			Options: &dapr.StateOptions{Concurrency: dapr.StateConcurrencyFirstWrite, Consistency: dapr.StateConsistencyStrong},
		}
		if p.etag != "" {
			items[i].Etag = &dapr.ETag{Value: p.etag}
		}
	}
	err := s.sdk.SaveBulkState(ctx, StoreName, items...)
	results := make([]batch.Result[struct{}], len(puts))
	if err != nil {
		for i := range results {
			results[i].Err = fmt.Errorf("writing %s: %w", puts[i].key, err)
		}
	}
	return results
}
