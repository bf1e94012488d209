package contract

import (
	"context"
	"fmt"

	"caravan/internal/token"
)

// MaxContacts is the most users one ContactsRequest may ask for.
const MaxContacts = 100

// ContactsRequest asks how to address users; MaxContacts at most.
type ContactsRequest struct {
	UserIDs []string `json:"userIds" validate:"required,min=1,max=100,dive,required"`
}

// Contact is how to address one user. It is personal data: keep it no longer than the message needs.
type Contact struct {
	UserID string `json:"userId"`
	Email  string `json:"email"`
	Name   string `json:"name"`
}

// Contacts answers a ContactsRequest; users that do not exist are left out.
type Contacts struct {
	Contacts []Contact `json:"contacts"`
}

// Invoker calls another program through the sidecar; invoke.Invoker is one.
type Invoker interface {
	Invoke(ctx context.Context, app, path string, in, out any) error
}

// FetchContacts returns how to address the users, by user id; unknown users are absent.
func FetchContacts(ctx context.Context, invoker Invoker, userIDs ...string) (map[string]Contact, error) {
	var answer Contacts
	if err := invoker.Invoke(ctx, App, PathContacts, ContactsRequest{UserIDs: userIDs}, &answer); err != nil {
		return nil, fmt.Errorf("fetching contacts of %d users: %w", len(userIDs), err)
	}
	contacts := make(map[string]Contact, len(answer.Contacts))
	for _, contact := range answer.Contacts {
		contacts[contact.UserID] = contact
	}
	return contacts, nil
}

// FetchKeys returns the public keys that verify access tokens; token.NewVerifier takes such a function.
func FetchKeys(ctx context.Context, invoker Invoker) (token.KeySet, error) {
	var keys token.KeySet
	if err := invoker.Invoke(ctx, App, PathKeys, struct{}{}, &keys); err != nil {
		return token.KeySet{}, fmt.Errorf("fetching verification keys: %w", err)
	}
	return keys, nil
}
