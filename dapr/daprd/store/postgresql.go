package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dapr/components-contrib/metadata"
	"github.com/dapr/components-contrib/state"
	"github.com/dapr/components-contrib/state/postgresql/v2"
	"github.com/dapr/kit/logger"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"caravan/dapr/daprd/await"
)

// NewPostgreSQL makes the PostgreSQL component (state.postgresql, v2), which waits for its server, with bulk reads and writes of its own: a bulk read
// marks absent keys, and a bulk write is one transaction.
//
// The stock component (components-contrib 1.18.0) runs the writes of a bulk at once, each as a transaction on a connection of its own. Here
// they are sent together and are one transaction, which reaches the disk once. What is stored, and which writes are refused, is the same: a
// document that was changed meanwhile is refused, and the others are stored. Any other error leaves all of them unwritten, unless it came
// with the end of the transaction: then it is unknown.
func NewPostgreSQL(log logger.Logger) state.Store {
	fresh := func() component { return postgresql.NewPostgreSQLStateStore(log).(component) }
	return &bulked{served: served{component: fresh(), connect: func(ctx context.Context, metadata state.Metadata) (component, error) {
		return await.Connected(ctx, log, func(ctx context.Context) (component, error) {
			connected := fresh()
			if err := connected.Init(ctx, copyOf(metadata)); err != nil {
				_ = connected.Close() // it has no connection yet
				return nil, err
			}
			return connected, nil
		})
	}}}
}

// bulked is a PostgreSQL component whose bulk write is one transaction.
type bulked struct {
	served
	read, create, update string // statements
}

// Init implements state.Store.
func (b *bulked) Init(ctx context.Context, of state.Metadata) error {
	prefix, _ := metadata.GetMetadataProperty(of.Properties, "tablePrefix")
	table := prefix + "state"
	// As BulkGet and doSet of the component. An expired document does not exist any more, even if its row does.
	b.read = `SELECT key, value, etag::text, expires_at FROM ` + table + ` WHERE key = ANY($1) AND (expires_at IS NULL OR expires_at >= now())`
	b.create = `INSERT INTO ` + table + ` AS t (key, value, etag, expires_at) VALUES ($1, $2, gen_random_uuid(), NULL)
		ON CONFLICT (key) DO UPDATE SET value = $2, updated_at = now(), etag = gen_random_uuid(), expires_at = NULL
		WHERE t.expires_at IS NOT NULL AND t.expires_at < now()`
	b.update = `UPDATE ` + table + ` SET value = $2, updated_at = now(), etag = gen_random_uuid(), expires_at = NULL
		WHERE key = $1 AND etag = $3 AND (expires_at IS NULL OR expires_at >= now())`
	return b.served.Init(ctx, of)
}

// pool is the component's, once it is initialized.
func (b *bulked) pool() *pgxpool.Pool { return b.component.(*postgresql.PostgreSQL).GetDB() }

// BulkGet implements state.BulkStore. The answer has each key: with its value, or marked as Absent.
func (b *bulked) BulkGet(ctx context.Context, requests []state.GetRequest, _ state.BulkGetOpts) ([]state.BulkGetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := b.pool().Query(ctx, b.read, keysOf(requests))
	if err != nil {
		return nil, fmt.Errorf("reading %d documents: %w", len(requests), err)
	}
	found := make(map[string]state.BulkGetResponse, len(requests))
	var document state.BulkGetResponse
	var expires *time.Time
	_, err = pgx.ForEachRow(rows, []any{&document.Key, &document.Data, &document.ETag, &expires}, func() error {
		if expires != nil {
			document.Metadata = expiry(*expires)
		}
		found[document.Key] = document
		document, expires = state.BulkGetResponse{}, nil
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading %d documents: %w", len(requests), err)
	}
	return answers(requests, found), nil
}

// BulkSet implements state.BulkStore.
func (b *bulked) BulkSet(ctx context.Context, requests []state.SetRequest, options state.BulkStoreOpts) error {
	for i := range requests {
		if !plain(&requests[i]) {
			return b.component.BulkSet(ctx, requests, options)
		}
	}
	refused, err := b.write(ctx, requests)
	if err != nil {
		return err
	}
	var errs []error
	for _, key := range refused {
		errs = append(errs, state.NewBulkStoreError(key, state.NewETagError(state.ETagMismatch, nil)))
	}
	return errors.Join(errs...)
}

// write stores documents in one transaction, and returns the keys of those that it refused.
func (b *bulked) write(ctx context.Context, requests []state.SetRequest) (refused []string, err error) {
	// Two transactions that lock the same rows in different orders would wait for each other.
	requests = slices.SortedStableFunc(slices.Values(requests), func(a, b state.SetRequest) int { return cmp.Compare(a.Key, b.Key) })
	var batch pgx.Batch // all its statements are one transaction
	for _, request := range requests {
		value, err := valueOf(request)
		if err != nil {
			return nil, err
		}
		stored := func(tag pgconn.CommandTag) error { // called when the server has answered
			if tag.RowsAffected() == 0 {
				refused = append(refused, request.Key)
			}
			return nil
		}
		if !request.HasETag() {
			batch.Queue(b.create, request.Key, value).Exec(stored)
		} else if etag, err := uuid.Parse(*request.ETag); err == nil {
			batch.Queue(b.update, request.Key, value, etag.String()).Exec(stored)
		} else {
			refused = append(refused, request.Key) // no document has such an ETag
		}
	}
	if err := b.pool().SendBatch(ctx, &batch).Close(); err != nil {
		return nil, fmt.Errorf("writing %d documents: %w", len(requests), err)
	}
	return refused, nil
}
