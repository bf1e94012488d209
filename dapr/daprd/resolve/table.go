package resolve

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"time"

	auth "github.com/dapr/components-contrib/common/authentication/sqlite"
	"github.com/dapr/components-contrib/nameresolution"
	"github.com/dapr/components-contrib/nameresolution/sqlite"
	"github.com/dapr/kit/logger"
	"github.com/dapr/kit/metadata"

	"caravan/dapr/daprd/await"
)

// inTable is the authority of targets that are looked up in the table of the component sqlite.
const inTable = "sqlite"

// table is the table of the component sqlite of components-contrib v1.18.0: each sidecar has a row and renews it.
type table struct {
	db    *sql.DB
	query string
	valid time.Duration // the largest age of a row
}

// addresses returns the addresses of the sidecars of an app.
func (t *table) addresses(ctx context.Context, id string) (found []string, err error) {
	if t == nil {
		return nil, errors.New("there is no table")
	}
	rows, err := t.db.QueryContext(ctx, t.query, id, int(t.valid.Seconds()))
	if err != nil {
		return nil, fmt.Errorf("reading the table of sidecars: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var address string
		if err := rows.Scan(&address); err != nil {
			return nil, fmt.Errorf("reading the table of sidecars: %w", err)
		}
		found = append(found, address)
	}
	return found, rows.Err()
}

// registered is the component "sqlite" with our own look-up. It registers this sidecar as the stock component does, but
// it looks called apps up in the table twice a second instead of at every call.
type registered struct {
	nameresolution.Resolver // the stock component
	stock                   func(logger.Logger) nameresolution.Resolver
	directory               *Directory
	log                     logger.Logger
	targets                 targets
	db                      *sql.DB
}

// NewSQLite returns the component "sqlite".
func (d *Directory) NewSQLite(log logger.Logger) nameresolution.Resolver {
	return needed{&registered{stock: sqlite.NewResolver, directory: d, log: log}, log.Fatalf}
}

// registerTimeout is how long a sidecar tries to get its row.
const registerTimeout = time.Minute

// Init implements nameresolution.Resolver. It repeats failed attempts, because the table is often locked while many sidecars
// start at the same time on a slow disk.
func (r *registered) Init(ctx context.Context, m nameresolution.Metadata) error {
	ctx, cancel := context.WithTimeout(ctx, registerTimeout)
	defer cancel()
	registered, err := await.Connected(ctx, r.log, func(ctx context.Context) (nameresolution.Resolver, error) {
		one := r.stock(r.log)
		if err := one.Init(ctx, m); err != nil {
			return nil, errors.Join(err, one.Close())
		}
		return one, nil
	})
	if err != nil {
		return fmt.Errorf("entering this sidecar in the table of sidecars: %w", err)
	}
	r.Resolver = registered
	return r.open(m)
}

// open opens the table for the look-ups.
func (r *registered) open(m nameresolution.Metadata) error {
	settings := struct {
		auth.SqliteAuthMetadata `mapstructure:",squash"`
		TableName               string        `mapstructure:"tableName"`
		UpdateInterval          time.Duration `mapstructure:"updateInterval"`
	}{TableName: "hosts", UpdateInterval: 5 * time.Second} // the defaults of the stock component
	settings.BusyTimeout = lookTimeout / 2
	if err := metadata.DecodeMetadata(m.Configuration, &settings); err != nil {
		return fmt.Errorf("reading the configuration of the name resolution: %w", err)
	}
	connection, err := settings.GetConnectionString(r.log, auth.GetConnectionStringOpts{})
	if err != nil {
		return fmt.Errorf("reading the configuration of the name resolution: %w", err)
	}
	if r.db, err = sql.Open("sqlite", connection); err != nil {
		return fmt.Errorf("opening the table of sidecars: %w", err)
	}
	r.directory.table.Store(&table{
		db: r.db, valid: settings.UpdateInterval,
		// The stock component has checked the name of the table.
		query: "SELECT address FROM " + settings.TableName + " WHERE app_id = ? AND unixepoch(CURRENT_TIMESTAMP) - last_update < ?",
	})
	return nil
}

// ResolveID implements nameresolution.Resolver.
func (r *registered) ResolveID(_ context.Context, request nameresolution.ResolveRequest) (string, error) {
	return r.targets.of(request, func(a app) (string, error) { return scheme + "://" + inTable + "/" + url.PathEscape(a.id), nil })
}

// Close implements nameresolution.Resolver.
func (r *registered) Close() error {
	if r.Resolver == nil {
		return nil
	}
	err := r.Resolver.Close()
	if r.db != nil {
		err = errors.Join(err, r.db.Close())
	}
	return err
}
