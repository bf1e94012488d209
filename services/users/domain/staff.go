package domain

import (
	"slices"

	"caravan/internal/document"
	"caravan/services/users/contract"
)

// MaxStaff bounds the members of staff that are listed.
const MaxStaff = 500

// IsStaff reports whether roles are those of a member of staff.
func IsStaff(roles []string) bool {
	return slices.Contains(roles, contract.RoleStaff) || slices.Contains(roles, contract.RoleAdmin)
}

// Staff lists the accounts that may be staff, in one document. An account is entered before it gets such a role, and stays when it
// loses it, so the roles in the account itself decide. Staff beyond MaxStaff is not listed.
type Staff struct {
	document.Root
	UserIDs []string `json:"userIds"`
	// Complete: the accounts that were staff before there was this list are in it.
	Complete bool `json:"complete,omitzero"`
}

// Enter adds an account. It returns document.ErrUnchanged if it is listed already, or the list is full.
func (s *Staff) Enter(userID string) error {
	if slices.Contains(s.UserIDs, userID) || len(s.UserIDs) >= MaxStaff {
		return document.ErrUnchanged
	}
	s.UserIDs = append(s.UserIDs, userID)
	return nil
}

// Completed records that all accounts were looked at.
func (s *Staff) Completed() error {
	if s.Complete {
		return document.ErrUnchanged
	}
	s.Complete = true
	return nil
}
