package audit

import (
	"context"

	"caravan/internal/audit"
)

// Others are the services that check only themselves, with the paths of their audits. "go run ./dapr new service" adds to it.
func Others() map[string]string {
	return map[string]string{}
}

// other asks a service for its audit.
func (w *walk) other(app, path string) func(context.Context) error {
	return func(ctx context.Context) error {
		return pages(ctx, w, app, path, func(*audit.Page) error { return nil })
	}
}
