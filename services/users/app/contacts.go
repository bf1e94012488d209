package app

import (
	"context"
	"fmt"

	"caravan/services/users/contract"
)

// Contacts says how to address users, in the order asked; those that do not exist are left out.
func (a *Accounts) Contacts(ctx context.Context, userIDs []string) ([]contract.Contact, error) {
	found, err := a.Users.GetMany(ctx, userIDs...)
	if err != nil {
		return nil, fmt.Errorf("reading accounts: %w", err)
	}
	contacts := make([]contract.Contact, 0, len(found))
	for _, userID := range userIDs {
		if user, ok := found[userID]; ok {
			contacts = append(contacts, contract.Contact{UserID: user.ID, Email: user.Email, Name: user.Name})
		}
	}
	return contacts, nil
}
