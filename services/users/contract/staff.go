package contract

import (
	"context"
	"fmt"

	"caravan/internal/invoke"
)

// PathStaff takes [StaffRequest] and answers a list of the ids of users.
const PathStaff = "/internal/staff"

// MaxStaff bounds the answer to one [StaffRequest].
const MaxStaff = 100

// StaffRequest asks for the users with a permission that only staff have.
type StaffRequest struct {
	Permission string `json:"permission" validate:"required,max=64"`
	// Limit is the largest number of users wanted.
	Limit int `json:"limit" validate:"min=1,max=100"`
}

// FetchStaff asks users for the staff with a permission, at most limit of them.
func FetchStaff(ctx context.Context, invoker invoke.Invoker, permission string, limit int) ([]string, error) {
	var userIDs []string
	if err := invoker.Invoke(ctx, App, PathStaff, StaffRequest{Permission: permission, Limit: limit}, &userIDs); err != nil {
		return nil, fmt.Errorf("asking for the staff: %w", err)
	}
	return userIDs, nil
}
