package app

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"caravan/internal/document"
	"caravan/services/users/contract"
	"caravan/services/users/domain"
)

// errStaffIncomplete is returned until ListStaffOnce has run.
var errStaffIncomplete = errors.New("the staff is not listed yet")

// ListStaff says which members of staff have a permission, for the services that send messages to them.
type ListStaff struct{ *Accounts }

// Do returns the ids of users with the permission, those first who have been staff longest.
func (u ListStaff) Do(ctx context.Context, asked contract.StaffRequest) ([]string, error) {
	staff, err := u.Staff.Get(ctx, everyone)
	if errors.Is(err, document.ErrNotFound) || err == nil && !staff.Complete {
		return nil, document.Unavailable{Err: errStaffIncomplete}
	}
	if err != nil {
		return nil, fmt.Errorf("reading the staff: %w", err)
	}
	found := make([]string, 0, asked.Limit)
	for part := range slices.Chunk(staff.UserIDs, contract.MaxStaff) {
		users, err := u.Users.GetMany(ctx, part...)
		if err != nil {
			return nil, fmt.Errorf("reading members of staff: %w", err)
		}
		for _, userID := range part {
			if user, ok := users[userID]; ok && len(found) < asked.Limit && user.Can(asked.Permission) {
				found = append(found, userID)
			}
		}
	}
	return found, nil
}

// enterStaff lists an account that is about to become staff.
func (a *Accounts) enterStaff(ctx context.Context, userID string, roles []string) error {
	if !domain.IsStaff(roles) {
		return nil
	}
	if _, err := a.Staff.Update(ctx, everyone, func(s *domain.Staff) error { return s.Enter(userID) }); err != nil {
		return fmt.Errorf("listing a member of staff: %w", err)
	}
	return nil
}
