package store

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dapr/components-contrib/state"
)

// readTimeout bounds a read, as the component's default does (common/authentication/sqlite).
const readTimeout = 20 * time.Second

// readers is how many connections stay open. The component leaves that to database/sql, which keeps two: with more reads at once it opens the
// file and reads the schema again for nearly each of them.
const readers = 8

// sizes is how many statements a reader has. The statement i reads up to 1<<i documents.
const sizes = 7

// reader reads documents. A statement is parsed once for each connection; the component (components-contrib 1.18.0) parses one for each read.
type reader struct {
	statements [sizes]*sql.Stmt
	timeout    time.Duration
}

func newReader(ctx context.Context, db *sql.DB, table string) (*reader, error) {
	db.SetMaxIdleConns(readers)
	r := &reader{timeout: readTimeout}
	for i := range r.statements {
		places := strings.TrimSuffix(strings.Repeat("?,", 1<<i), ",")
		// As BulkGet of the component.
		statement, err := db.PrepareContext(ctx, `SELECT key, value, is_binary, etag, expiration_time FROM `+table+`
			WHERE key IN (`+places+`) AND (expiration_time IS NULL OR expiration_time > CURRENT_TIMESTAMP)`)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("preparing to read: %w", err), r.close())
		}
		r.statements[i] = statement
	}
	return r, nil
}

// read returns the documents under keys that exist. Unlike the component, it never takes one that it could not read for one that is absent.
func (r *reader) read(ctx context.Context, keys []string) (map[string]state.BulkGetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	found := make(map[string]state.BulkGetResponse, len(keys))
	for most := 1 << (sizes - 1); len(keys) > 0; {
		n := min(most, len(keys))
		if err := r.readInto(ctx, found, keys[:n]); err != nil {
			return nil, fmt.Errorf("reading %d documents: %w", n, err)
		}
		keys = keys[n:]
	}
	return found, nil
}

// readInto reads as many documents as one statement can.
func (r *reader) readInto(ctx context.Context, found map[string]state.BulkGetResponse, keys []string) (err error) {
	size := 0
	for 1<<size < len(keys) {
		size++
	}
	arguments := make([]any, 1<<size)
	for i := range arguments {
		arguments[i] = keys[min(i, len(keys)-1)] // the last one fills the places that are left
	}
	rows, err := r.statements[size].QueryContext(ctx, arguments...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		document, err := scan(rows)
		if err != nil {
			return err
		}
		found[document.Key] = document
	}
	return rows.Err()
}

// scan decodes a row as readRow of the component does.
func scan(rows *sql.Rows) (state.BulkGetResponse, error) {
	var document state.BulkGetResponse
	var binary bool
	var expires sql.NullTime
	if err := rows.Scan(&document.Key, &document.Data, &binary, &document.ETag, &expires); err != nil {
		return document, err
	}
	if expires.Valid {
		document.Metadata = expiry(expires.Time)
	}
	if !binary {
		return document, nil
	}
	data, err := base64.StdEncoding.AppendDecode(nil, document.Data)
	if err != nil {
		return document, fmt.Errorf("decoding %s: %w", document.Key, err)
	}
	document.Data = data
	return document, nil
}

func (r *reader) close() error {
	var errs []error
	for _, statement := range r.statements {
		if statement != nil {
			errs = append(errs, statement.Close())
		}
	}
	return errors.Join(errs...)
}
