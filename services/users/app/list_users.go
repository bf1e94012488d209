package app

import (
	"context"
	"errors"
	"fmt"

	"caravan/services/users/domain"
)

// UserQuery asks for accounts: the one of an address if Email is given, or else a page of all, newest first.
type UserQuery struct {
	Email  string
	Cursor string
	Limit  int // 1 to 100
}

// ListUsers returns accounts and the cursor of the next page, empty at the end. A page may be shorter than its limit
// and still have a next one. Its error is a *domain.Violation of email.
func (a *Accounts) ListUsers(ctx context.Context, query UserQuery) ([]*domain.User, string, error) {
	if query.Email == "" {
		return a.pageOfUsers(ctx, query.Cursor, query.Limit)
	}
	email, err := domain.NormalizeEmail(query.Email)
	if err != nil {
		return nil, "", err
	}
	user, err := a.userByEmail(ctx, email)
	if errors.Is(err, domain.ErrNoUser) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	return []*domain.User{user}, "", nil
}

// pageOfUsers reads a page of the list and the accounts its entries stand for.
func (a *Accounts) pageOfUsers(ctx context.Context, cursor string, limit int) ([]*domain.User, string, error) {
	entries, next, err := a.Registry.Page(ctx, everyone, cursor, limit)
	if err != nil {
		return nil, "", fmt.Errorf("reading the list of accounts: %w", err)
	}
	ids := make([]string, len(entries))
	for i, entry := range entries {
		ids[i] = entry.UserID
	}
	found, err := a.Users.GetMany(ctx, ids...)
	if err != nil {
		return nil, "", fmt.Errorf("reading accounts: %w", err)
	}
	users := make([]*domain.User, 0, len(entries))
	for _, entry := range entries {
		if user, ok := found[entry.UserID]; ok && user.ListedAs == entry.Entry {
			users = append(users, user)
		}
	}
	return users, next, nil
}
