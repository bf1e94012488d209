package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dapr/components-contrib/metadata"
	"github.com/dapr/components-contrib/state"
	"github.com/dapr/components-contrib/state/sqlite"
	"github.com/dapr/components-contrib/state/utils"
	"github.com/dapr/kit/logger"
	"github.com/google/uuid"
)

// NewSQLite makes the SQLite component (state.sqlite, v1) with reads and writes of its own: statements are parsed once for each connection,
// a bulk read marks absent keys, and a bulk write is one transaction.
//
// The stock component (components-contrib 1.18.0) runs the writes of a bulk at once, each as a transaction on a connection of its own, and
// each with an fsync. They wait for each other, because SQLite has one writer. Here they are one transaction on one connection. What is
// stored, and which writes are refused, is the same: a document that was changed meanwhile is refused, and the others are stored. Any other
// error leaves all of them unwritten.
func NewSQLite(log logger.Logger) state.Store {
	return &prepared{SQLiteStore: sqlite.NewSQLiteStateStore(log).(*sqlite.SQLiteStore)}
}

// prepared is a SQLite component with prepared statements, whose bulk write is one transaction.
type prepared struct {
	*sqlite.SQLiteStore
	reader *reader
	lane   *lane // nil if the component writes
}

// Init implements state.Store.
func (p *prepared) Init(ctx context.Context, of state.Metadata) error {
	properties := copyOf(of).Properties
	if err := p.SQLiteStore.Init(ctx, of); err != nil {
		return err
	}
	table, _ := metadata.GetMetadataProperty(properties, "tableName")
	if table == "" {
		table = "state"
	}
	db := p.GetDBAccess().GetConnection()
	var err error
	if p.reader, err = newReader(ctx, db, table); err != nil {
		return err
	}
	place, _ := metadata.GetMetadataProperty(properties, "connectionString", "url")
	if !strings.Contains(strings.ToLower(place), ":memory:") { // its only connection is shared
		p.lane = newLane(db, table)
	}
	return nil
}

// Close implements io.Closer.
func (p *prepared) Close() error {
	if p.lane != nil {
		p.lane.stop()
	}
	var err error
	if p.reader != nil {
		err = p.reader.close()
	}
	return errors.Join(err, p.SQLiteStore.Close())
}

// Get implements state.Store.
func (p *prepared) Get(ctx context.Context, request *state.GetRequest) (*state.GetResponse, error) {
	if request.Key == "" {
		return p.SQLiteStore.Get(ctx, request)
	}
	found, err := p.reader.read(ctx, []string{request.Key})
	if err != nil {
		return nil, err
	}
	document := found[request.Key]
	return &state.GetResponse{Data: document.Data, ETag: document.ETag, Metadata: document.Metadata}, nil
}

// BulkGet implements state.BulkStore. The answer has each key: with its value, or marked as Absent.
func (p *prepared) BulkGet(ctx context.Context, requests []state.GetRequest, _ state.BulkGetOpts) ([]state.BulkGetResponse, error) {
	found, err := p.reader.read(ctx, keysOf(requests))
	if err != nil {
		return nil, err
	}
	return answers(requests, found), nil
}

// Set implements state.Store.
func (p *prepared) Set(ctx context.Context, request *state.SetRequest) error {
	if p.lane == nil || !plain(request) {
		return p.SQLiteStore.Set(ctx, request)
	}
	refused, err := p.lane.write(ctx, []state.SetRequest{*request})
	if err == nil && len(refused) > 0 {
		return state.NewETagError(state.ETagMismatch, nil)
	}
	return err
}

// BulkSet implements state.BulkStore.
func (p *prepared) BulkSet(ctx context.Context, requests []state.SetRequest, options state.BulkStoreOpts) error {
	for i := range requests {
		if p.lane == nil || !plain(&requests[i]) {
			return p.SQLiteStore.BulkSet(ctx, requests, options)
		}
	}
	refused, err := p.lane.write(ctx, requests)
	if err != nil {
		return err
	}
	var errs []error
	for _, key := range refused {
		errs = append(errs, state.NewBulkStoreError(key, state.NewETagError(state.ETagMismatch, nil)))
	}
	return errors.Join(errs...)
}

// plain reports whether a write is one of those that the lane has a statement for: it has a key, no expiry, and is refused if the document
// was changed meanwhile, or exists already. The component does all others.
func plain(request *state.SetRequest) bool {
	ttl, err := utils.ParseTTL(request.Metadata)
	return err == nil && ttl == nil && request.Key != "" && state.CheckRequestOptions(request.Options) == nil &&
		(request.HasETag() || request.Options.Concurrency == state.FirstWrite)
}

// writeTimeout bounds a write, as the component's default does (common/authentication/sqlite).
const writeTimeout = 20 * time.Second

// lane writes documents, one transaction after another, on a connection of its own. What waits while a transaction runs is written together
// by the next one: the more wait, the less an fsync costs each. After any error it takes a new connection.
type lane struct {
	db   *sql.DB
	turn chan struct{} // holds an element while somebody writes

	mu      sync.Mutex
	waiting []*bulk

	// These belong to whoever has the turn.
	connection     *sql.Conn
	create, update *sql.Stmt
	statements     struct{ create, update string }
}

func newLane(db *sql.DB, table string) *lane {
	l := &lane{db: db, turn: make(chan struct{}, 1)}
	// As doSet of the component. An expired document does not exist any more, even if its row does.
	l.statements.create = `INSERT OR REPLACE INTO ` + table + ` (key, value, is_binary, etag, update_time, expiration_time)
		SELECT ?1, ?2, ?3, ?4, CURRENT_TIMESTAMP, NULL WHERE NOT EXISTS (
			SELECT 1 FROM ` + table + ` WHERE key = ?1 AND (expiration_time IS NULL OR expiration_time > CURRENT_TIMESTAMP))`
	l.statements.update = `UPDATE ` + table + ` SET value = ?2, is_binary = ?3, etag = ?4, update_time = CURRENT_TIMESTAMP, expiration_time = NULL
		WHERE key = ?1 AND etag = ?5 AND (expiration_time IS NULL OR expiration_time > CURRENT_TIMESTAMP)`
	return l
}

// bulk are writes of one call, and what became of them.
type bulk struct {
	rows    []row
	done    chan struct{} // closed when refused and err are known
	refused []string
	err     error
}

// atOnce is how many documents a transaction writes before others wait for the next one.
const atOnce = 256

// write stores documents in one transaction, perhaps with those of others, and returns the keys of those that it refused. After an error none
// of them is stored, unless the error came with the end of the transaction: then it is unknown.
func (l *lane) write(ctx context.Context, requests []state.SetRequest) (refused []string, err error) {
	mine := &bulk{rows: make([]row, len(requests)), done: make(chan struct{})}
	for i := range requests {
		if mine.rows[i], err = rowOf(&requests[i]); err != nil {
			return nil, err
		}
	}
	l.mu.Lock()
	l.waiting = append(l.waiting, mine)
	l.mu.Unlock()
	for {
		select {
		case <-mine.done:
			return mine.refused, mine.err
		case l.turn <- struct{}{}:
			l.next(ctx)
			<-l.turn
		}
	}
}

// next writes what waits. A caller that leaves does not break off the transaction, as in the component.
func (l *lane) next(ctx context.Context) {
	bulks := l.take()
	if len(bulks) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	err := l.connect(ctx)
	if err == nil {
		err = l.transaction(ctx, bulks)
	}
	if err != nil {
		l.disconnect()
	}
	for _, b := range bulks {
		if b.err = err; err != nil {
			b.refused = nil
		}
		close(b.done)
	}
}

// take returns the bulks that are written next, in the order in which they came.
func (l *lane) take() []*bulk {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, rows := 0, 0
	for n < len(l.waiting) && (n == 0 || rows+len(l.waiting[n].rows) <= atOnce) {
		rows += len(l.waiting[n].rows)
		n++
	}
	taken := slices.Clone(l.waiting[:n])
	l.waiting = slices.Delete(l.waiting, 0, n)
	return taken
}

func (l *lane) transaction(ctx context.Context, bulks []*bulk) error {
	if len(bulks) == 1 && len(bulks[0].rows) == 1 { // one statement is a transaction
		return l.store(ctx, bulks[0])
	}
	// The connection string makes it BEGIN IMMEDIATE, so the lock is taken here.
	transaction, err := l.connection.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("beginning to write: %w", err)
	}
	for _, b := range bulks {
		if err := l.store(ctx, b); err != nil {
			return errors.Join(err, transaction.Rollback())
		}
	}
	if err := transaction.Commit(); err != nil {
		return fmt.Errorf("ending to write: %w", err)
	}
	return nil
}

// store writes the rows of a bulk, and notes the keys of those that are refused.
func (l *lane) store(ctx context.Context, b *bulk) error {
	for _, r := range b.rows {
		statement, arguments := l.create, []any{r.key, r.value, r.binary, r.etag}
		if r.before != "" {
			statement, arguments = l.update, append(arguments, r.before)
		}
		result, err := statement.ExecContext(ctx, arguments...)
		if err != nil {
			return fmt.Errorf("writing %s: %w", r.key, err)
		}
		changed, err := result.RowsAffected()
		if err != nil {
			return fmt.Errorf("writing %s: %w", r.key, err)
		}
		if changed == 0 {
			b.refused = append(b.refused, r.key)
		}
	}
	return nil
}

// connect takes a connection and prepares the statements on it.
func (l *lane) connect(ctx context.Context) (err error) {
	if l.connection != nil {
		return nil
	}
	if l.connection, err = l.db.Conn(ctx); err != nil {
		return fmt.Errorf("connecting to write: %w", err)
	}
	if l.create, err = l.connection.PrepareContext(ctx, l.statements.create); err == nil {
		l.update, err = l.connection.PrepareContext(ctx, l.statements.update)
	}
	if err != nil {
		l.disconnect()
		return fmt.Errorf("preparing to write: %w", err)
	}
	return nil
}

// disconnect closes the connection. It does not go back to those of the component, because a transaction may have been left open on it.
func (l *lane) disconnect() {
	for _, statement := range []*sql.Stmt{l.create, l.update} {
		if statement != nil {
			_ = statement.Close()
		}
	}
	if l.connection != nil {
		_ = l.connection.Raw(func(any) error { return driver.ErrBadConn })
		_ = l.connection.Close()
	}
	l.connection, l.create, l.update = nil, nil, nil
}

// stop waits for the write that is under way, and closes the connection.
func (l *lane) stop() {
	l.turn <- struct{}{}
	l.disconnect()
	<-l.turn
}

// row is a document as the component stores it.
type row struct {
	key, value, etag string
	binary           bool   // value is base64
	before           string // the ETag that the document must have; "" if it must not exist
}

// rowOf encodes a document as doSet of the component does.
func rowOf(request *state.SetRequest) (row, error) {
	etag, err := uuid.NewRandom()
	if err != nil {
		return row{}, fmt.Errorf("making an ETag: %w", err)
	}
	r := row{key: request.Key, etag: etag.String()}
	if request.HasETag() {
		r.before = *request.ETag
	}
	value, err := valueOf(*request)
	if err != nil {
		return row{}, err
	}
	if _, r.binary = request.Value.([]byte); r.binary {
		r.value = base64.StdEncoding.EncodeToString(value)
	} else {
		r.value = string(value)
	}
	return r, nil
}
