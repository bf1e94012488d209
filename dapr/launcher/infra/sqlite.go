package infra

import (
	"context"
	"net/url"
	"path/filepath"
	"strings"
)

// sqlite is a database file per service, opened by its sidecar: no server.
func sqlite(place Place) (Server, error) {
	data := filepath.Join(place.Dir, "data")
	return Server{
		Kind:    "sqlite",
		Set:     "sqlite",
		Prepare: func(context.Context) error { return folders(data) },
		Settings: func(app string) map[string]string {
			return map[string]string{
				"connectionString": SQLiteURI(filepath.Join(data, app+".db")) + "?_pragma=synchronous(FULL)",
			}
		},
	}, nil
}

// SQLiteURI is the file at a path, as SQLite reads it in a connection string
// (https://www.sqlite.org/uri.html).
func SQLiteURI(path string) string { return "file:" + EscapePath(path) }

// EscapePath writes a path so that it means itself in a URI, and in the files
// that daprd reads: it replaces $NAME in its configuration by environment
// variables, and {appID} in the settings of components by the app.
func EscapePath(path string) string {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		// All but letters, digits and -._~ is escaped; only a space becomes "+".
		parts[i] = strings.ReplaceAll(url.QueryEscape(part), "+", "%20")
	}
	return strings.Join(parts, "/")
}
