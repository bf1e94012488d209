package sidecar

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	dapr "github.com/dapr/go-sdk/client"
	"golang.org/x/sync/errgroup"

	"caravan/internal/batch"
	"caravan/internal/document"
)

const (
	getBatch     = 64
	getLanes     = 1
	getAtOnce    = 8 // keys of a batch that are read one by one
	putBatch     = 32
	putLanes     = 1
	storeTimeout = 5 * time.Second
)

// store is a document.Store that uses Dapr's state API. Concurrent reads share a call, and so do concurrent writes;
// each write keeps its own ETag.
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

func newStore(sdk dapr.Client, writeBatch int) *store {
	s := &store{sdk: sdk}
	s.gets = batch.New(batch.Options{Size: getBatch, Lanes: getLanes, Timeout: storeTimeout}, nil, s.getAll)
	s.puts = batch.New(batch.Options{Size: cmp.Or(writeBatch, putBatch), Lanes: putLanes, Timeout: storeTimeout, Distinct: true},
		func(p put) string { return p.key }, s.putAll)
	return s
}

// errAbsent marks, in a batch, a key that certainly has no document.
var errAbsent = errors.New("absent")

// Get implements document.Store.
func (s *store) Get(ctx context.Context, keys ...string) (map[string]document.Record, error) {
	if err := document.CheckKeys(keys...); err != nil { // otherwise it would make other reads of its batch fail
		return nil, err
	}
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

// absentMark is the metadata with which Caravan's sidecar says, in a bulk read, that the store has no document under a
// key (package store of dapr/daprd).
const absentMark = "absent"

// getAll reads one batch of keys, and reads equal keys once. Each key has its own outcome, because unrelated requests
// share the batch.
func (s *store) getAll(ctx context.Context, keys []string) []batch.Result[document.Record] {
	distinct := slices.Compact(slices.Sorted(slices.Values(keys)))
	found := make(map[string]batch.Result[document.Record], len(distinct))
	unproven := distinct
	if len(distinct) > 1 {
		unproven = s.bulk(ctx, distinct, found)
	}
	s.each(ctx, unproven, found)
	results := make([]batch.Result[document.Record], len(keys))
	for i, key := range keys {
		results[i] = found[key]
	}
	return results
}

// bulk reads many keys in one call and returns those for which the answer is not certain. An item without value and
// without error has two possible causes: there is no document, or the store's component lost its connection before it
// read the key. BulkGet of Dapr's PostgreSQL and SQLite components does not say which (components-contrib 1.18.0).
func (s *store) bulk(ctx context.Context, keys []string, found map[string]batch.Result[document.Record]) (unproven []string) {
	items, err := s.sdk.GetBulkState(ctx, StoreName, keys, nil, 0)
	if err != nil {
		for _, key := range keys {
			found[key] = unavailable(fmt.Errorf("reading %d documents: %w", len(keys), err))
		}
		return nil
	}
	for _, item := range items {
		switch {
		case item.Error != "":
			found[item.Key] = unavailable(fmt.Errorf("reading %s: %s", item.Key, item.Error))
		case item.Etag != "" || len(item.Value) > 0:
			found[item.Key] = batch.Result[document.Record]{Value: document.Record{Value: item.Value, ETag: item.Etag}}
		case item.Metadata[absentMark] == "true":
			found[item.Key] = batch.Result[document.Record]{Err: errAbsent}
		}
	}
	for _, key := range keys {
		if _, proven := found[key]; !proven {
			unproven = append(unproven, key)
		}
	}
	return unproven
}

// each reads keys one by one, a few at once. The answer for a single key is certain: every component reports its
// errors.
func (s *store) each(ctx context.Context, keys []string, found map[string]batch.Result[document.Record]) {
	results := make([]batch.Result[document.Record], len(keys))
	var group errgroup.Group
	group.SetLimit(getAtOnce)
	for i, key := range keys {
		group.Go(func() error {
			results[i] = s.one(ctx, key)
			return nil
		})
	}
	_ = group.Wait() // each result has its own error
	for i, key := range keys {
		found[key] = results[i]
	}
}

func (s *store) one(ctx context.Context, key string) batch.Result[document.Record] {
	item, err := s.sdk.GetState(ctx, StoreName, key, nil)
	switch {
	case err != nil:
		return unavailable(fmt.Errorf("reading %s: %w", key, err))
	case item.Etag == "" && len(item.Value) == 0:
		return batch.Result[document.Record]{Err: errAbsent}
	}
	return batch.Result[document.Record]{Value: document.Record{Value: item.Value, ETag: item.Etag}}
}

func unavailable(err error) batch.Result[document.Record] {
	return batch.Result[document.Record]{Err: document.Unavailable{Err: err}}
}

// Put implements document.Store.
func (s *store) Put(ctx context.Context, key string, value []byte, etag string) error {
	if err := document.CheckKey(key); err != nil {
		return err
	}
	_, err := s.puts.Do(ctx, put{key: key, value: value, etag: etag})
	return err
}

// putAll writes one batch. Dapr writes the documents one by one, each with its own ETag, and returns one error for all
// if any failed. Package document then reads back which writes succeeded.
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
