package app

import (
	"context"
	"errors"
	"fmt"

	"caravan/internal/document"
	"caravan/services/users/domain"
)

// ListStaffOnce is the worker that lists the accounts which became staff before there was a list of them. It reads all accounts
// once in the life of a system.
type ListStaffOnce struct{ *Accounts }

// Run lists them. After an error it can be repeated, also by several replicas at the same time.
func (u ListStaffOnce) Run(ctx context.Context) error {
	staff, err := u.Staff.Get(ctx, everyone)
	if err == nil && staff.Complete {
		return nil
	}
	if err != nil && !errors.Is(err, document.ErrNotFound) {
		return fmt.Errorf("reading the staff: %w", err)
	}
	for cursor := ""; ; {
		users, next, err := u.Page(ctx, cursor, 100)
		if err != nil {
			return err
		}
		for _, user := range users {
			if user == nil {
				continue
			}
			if err := u.enterStaff(ctx, user.ID, user.Roles); err != nil {
				return err
			}
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	if _, err := u.Staff.Update(ctx, everyone, (*domain.Staff).Completed); err != nil {
		return fmt.Errorf("completing the list of staff: %w", err)
	}
	return nil
}
