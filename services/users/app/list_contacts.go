package app

import (
	"context"
	"fmt"

	"caravan/services/users/contract"
)

// ListContacts says how users can be reached, for the services that send messages to them.
type ListContacts struct{ *Accounts }

// Do returns the contacts of those users that exist.
func (u ListContacts) Do(ctx context.Context, asked contract.ContactsRequest) ([]contract.Contact, error) {
	users, err := u.Users.GetMany(ctx, asked.UserIDs...)
	if err != nil {
		return nil, fmt.Errorf("reading contacts: %w", err)
	}
	contacts := make([]contract.Contact, 0, len(users))
	for _, userID := range asked.UserIDs {
		if user, ok := users[userID]; ok {
			contact := contract.Contact{UserID: userID, Email: string(user.Email)}
			if user.EmailVerified() {
				contact.Name = string(user.Name)
			}
			contacts = append(contacts, contact)
			delete(users, userID) // one that is asked for twice is answered once
		}
	}
	return contacts, nil
}
