package app

import (
	"context"
	"errors"
	"slices"

	"caravan/services/users/domain"
)

// ListUsers lists accounts for an admin.
type ListUsers struct{ *Accounts }

// UserQuery asks for the account with an address if Email is given, and otherwise for a page of all accounts, newest first.
type UserQuery struct {
	Email  string
	Cursor string
	Limit  int // 1 to 100
}

// Do returns accounts and the cursor of the next page, which is empty at the end. A page may be shorter than its limit and
// still have a next one. Its error is a *domain.Violation of email.
func (u ListUsers) Do(ctx context.Context, query UserQuery) ([]*domain.User, string, error) {
	if query.Email == "" {
		users, next, err := u.Page(ctx, query.Cursor, query.Limit)
		return slices.DeleteFunc(users, func(user *domain.User) bool { return user == nil }), next, err
	}
	email, err := domain.ParseEmail(query.Email)
	if err != nil {
		return nil, "", err
	}
	user, err := u.byEmail(ctx, email)
	if errors.Is(err, domain.ErrNoUser) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	return []*domain.User{user}, "", nil
}
