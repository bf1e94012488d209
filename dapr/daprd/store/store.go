// Package store makes Dapr's state store components distinguish an absent document from one that was not read.
//
// BulkGet of the PostgreSQL and the SQLite component (components-contrib 1.18.0) does not check rows.Err(). If a
// connection breaks or the time is over while rows arrive, the remaining keys come back without value and without
// error, exactly like keys without a document. A program that believes that shows an empty wallet, or answers 404 for
// an order that exists.
//
// So the components read bulks here in ways of their own, and write them too: see NewSQLite, NewPostgreSQL and NewRedis.
package store

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/dapr/components-contrib/state"
)

// Absent is the metadata of an item in a bulk read. The value "true" says that the store was asked and has no document
// under the key. A sidecar with other components never sends it; then a program has to read each key again that came
// back empty (package internal/sidecar of the main module).
const Absent = "absent"

// copyOf returns a copy whose settings a component may change.
func copyOf(metadata state.Metadata) state.Metadata {
	metadata.Properties = maps.Clone(metadata.Properties)
	return metadata
}

// component is the interface of all three components.
type component interface {
	state.Store
	state.TransactionalStore
	state.KeysLiker
}

// served is a component of a server. It waits for the server.
type served struct {
	component
	// connect makes another component, with a connection.
	connect func(context.Context, state.Metadata) (component, error)
}

// Init implements state.Store.
func (s *served) Init(ctx context.Context, metadata state.Metadata) error {
	connected, err := s.connect(ctx, metadata)
	if err == nil {
		s.component = connected
	}
	return err
}

// Ping implements health.Pinger if the component does.
func (s *served) Ping(ctx context.Context) error { return state.Ping(ctx, s.component) }

// empty reports whether an answer has neither a value nor an error.
func empty(answer state.BulkGetResponse) bool {
	return answer.Error == "" && answer.ETag == nil && len(answer.Data) == 0
}

// keysOf are the keys of a bulk read.
func keysOf(requests []state.GetRequest) []string {
	keys := make([]string, len(requests))
	for i := range requests {
		keys[i] = requests[i].Key
	}
	return keys
}

// answers puts the documents that were found in the order of the requests, and marks the keys that are absent.
func answers(requests []state.GetRequest, found map[string]state.BulkGetResponse) []state.BulkGetResponse {
	answers := make([]state.BulkGetResponse, len(requests))
	for i, request := range requests {
		document, exists := found[request.Key]
		if !exists {
			document = state.BulkGetResponse{Key: request.Key, Metadata: map[string]string{Absent: "true"}}
		}
		answers[i] = document
	}
	return answers
}

// expiry is the metadata of a document that expires.
func expiry(at time.Time) map[string]string {
	return map[string]string{state.GetRespMetaKeyTTLExpireTime: at.UTC().Format(time.RFC3339)}
}

// valueOf is what a component stores of a value.
func valueOf(request state.SetRequest) ([]byte, error) {
	if raw, binary := request.Value.([]byte); binary {
		return raw, nil
	}
	value, err := json.Marshal(request.Value)
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", request.Key, err)
	}
	return value, nil
}
