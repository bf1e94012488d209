// Package store makes Dapr's state store components distinguish an absent document from one that was not read.
//
// BulkGet of the PostgreSQL and the SQLite component (components-contrib 1.18.0) does not check rows.Err(). If a
// connection breaks or the time is over while rows arrive, the remaining keys come back without value and without
// error, exactly like keys without a document. A program that believes that shows an empty wallet, or answers 404 for
// an order that exists.
//
// The SQLite component also writes in a way of its own, and the Redis component reads and writes bulks in one: see NewSQLite and NewRedis.
package store

import (
	"context"
	"fmt"
	"maps"

	"github.com/dapr/components-contrib/state"
	"github.com/dapr/components-contrib/state/postgresql/v2"
	"github.com/dapr/kit/logger"

	"caravan/dapr/daprd/await"
)

// Absent is the metadata of an item in a bulk read. The value "true" says that the store was asked and has no document
// under the key. A sidecar with other components never sends it; then a program has to read each key again that came
// back empty (package internal/sidecar of the main module).
const Absent = "absent"

// proofs is how many keys of one bulk read are read again at once.
const proofs = 8

// NewPostgreSQL makes the PostgreSQL component (state.postgresql, v2), which waits for its server.
func NewPostgreSQL(log logger.Logger) state.Store {
	fresh := func() component { return postgresql.NewPostgreSQLStateStore(log).(component) }
	return &proven{component: fresh(), connect: func(ctx context.Context, metadata state.Metadata) (component, error) {
		return await.Connected(ctx, log, func(ctx context.Context) (component, error) {
			connected := fresh()
			if err := connected.Init(ctx, copyOf(metadata)); err != nil {
				_ = connected.Close() // it has no connection yet
				return nil, err
			}
			return connected, nil
		})
	}}
}

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

// proven is a component whose bulk read marks absent keys.
type proven struct {
	component
	reports bool // the component's own bulk read reports every error
	// connect makes another component, with a connection. Without connect, the component itself is initialized.
	connect func(context.Context, state.Metadata) (component, error)
}

// queryable is a proven component that also has Dapr's query API.
type queryable struct{ proven }

// Query implements state.Querier.
func (q *queryable) Query(ctx context.Context, request *state.QueryRequest) (*state.QueryResponse, error) {
	return q.component.(state.Querier).Query(ctx, request)
}

// Init implements state.Store.
func (p *proven) Init(ctx context.Context, metadata state.Metadata) error {
	if p.connect == nil {
		return p.component.Init(ctx, metadata)
	}
	connected, err := p.connect(ctx, metadata)
	if err == nil {
		p.component = connected
	}
	return err
}

// Ping implements health.Pinger if the component does.
func (p *proven) Ping(ctx context.Context) error { return state.Ping(ctx, p.component) }

// BulkGet implements state.BulkStore. The answer has each key: with its value, with an error, or marked as Absent.
func (p *proven) BulkGet(ctx context.Context, requests []state.GetRequest, options state.BulkGetOpts) ([]state.BulkGetResponse, error) {
	responses, err := p.component.BulkGet(ctx, requests, options)
	if err != nil {
		return nil, err
	}
	answers := make(map[string]state.BulkGetResponse, len(requests))
	for _, r := range responses {
		answers[r.Key] = r
	}
	var unread []state.GetRequest
	for _, request := range requests {
		answer := answers[request.Key]
		switch {
		case !empty(answer):
		case p.reports:
			answers[request.Key] = absent(request.Key, answer)
		default:
			unread = append(unread, request)
		}
	}
	again, err := state.DoBulkGet(ctx, unread, state.BulkGetOpts{Parallelism: min(proofs, max(len(unread), 1))}, p.component.Get)
	if err != nil {
		return nil, fmt.Errorf("reading %d keys again: %w", len(unread), err)
	}
	for _, answer := range again {
		if empty(answer) {
			answer = absent(answer.Key, answer)
		}
		answers[answer.Key] = answer
	}
	proven := make([]state.BulkGetResponse, len(requests))
	for i, request := range requests {
		proven[i] = answers[request.Key]
	}
	return proven, ctx.Err()
}

// empty reports whether an answer has neither a value nor an error.
func empty(answer state.BulkGetResponse) bool {
	return answer.Error == "" && answer.ETag == nil && len(answer.Data) == 0
}

func absent(key string, answer state.BulkGetResponse) state.BulkGetResponse {
	metadata := maps.Clone(answer.Metadata)
	if metadata == nil {
		metadata = make(map[string]string, 1)
	}
	metadata[Absent] = "true"
	return state.BulkGetResponse{Key: key, Metadata: metadata}
}
