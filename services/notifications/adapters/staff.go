package adapters

import (
	"context"

	"caravan/internal/invoke"
	users "caravan/services/users/contract"
)

// Staff asks the users service for staff.
type Staff struct{ Invoker invoke.Invoker }

// With implements app.Staff.
func (s Staff) With(ctx context.Context, permission string, limit int) ([]string, error) {
	return users.FetchStaff(ctx, s.Invoker, permission, limit)
}
