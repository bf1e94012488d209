package infra

import (
	"context"
	"path/filepath"
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
				"connectionString": "file:" + filepath.Join(data, app+".db") + "?_pragma=synchronous(FULL)",
			}
		},
	}, nil
}
