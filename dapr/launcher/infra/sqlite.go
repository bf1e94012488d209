package infra

import (
	"context"
	"net/url"
	"path/filepath"
	"strings"
)

// sqlite is a database file per service, which its sidecar opens. There is no server.
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

// SQLiteURI is the file at a path, in the form that SQLite reads in a connection string
// (https://www.sqlite.org/uri.html).
func SQLiteURI(path string) string { return "file:" + EscapePath(path) }

// EscapePath escapes a path for URIs and for the files of daprd. In its configuration daprd replaces $NAME by
// environment variables, and in the settings of components {appID} by the app.
func EscapePath(path string) string {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		// QueryEscape escapes everything but letters, digits and -._~, but it writes a space as "+".
		parts[i] = strings.ReplaceAll(url.QueryEscape(part), "+", "%20")
	}
	return strings.Join(parts, "/")
}
