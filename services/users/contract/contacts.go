package contract

import (
	"context"
	"fmt"
	"time"

	"caravan/internal/batch"
	"caravan/internal/invoke"
)

// PathContacts takes [ContactsRequest] and answers a list of [Contact]. It is for services that send messages. They ask when
// they send, and keep nothing of the answer.
const PathContacts = "/internal/contacts"

// MaxContacts bounds the users of one [ContactsRequest].
const MaxContacts = 100

// ContactsRequest asks how users can be reached.
type ContactsRequest struct {
	UserIDs []string `json:"userIds" validate:"max=100"`
}

// Contact is how a user can be reached. It is personal data: it is neither stored nor logged outside users.
type Contact struct {
	UserID string `json:"userId"`
	Email  string `json:"email"`
	// Name is "" while the address is not verified: anyone can register the address of another person, with a name that is an
	// advertisement to its owner.
	Name string `json:"name"`
}

// Contacts asks users for contacts. Questions that come while one is under way share the next call. It is safe for concurrent
// use.
type Contacts struct {
	calls *batch.Batcher[string, found]
}

// found is the answer for one user.
type found struct {
	contact Contact
	known   bool
}

// NewContacts makes a Contacts.
func NewContacts(invoker invoke.Invoker) *Contacts {
	ask := func(ctx context.Context, userIDs []string) []batch.Result[found] {
		results := make([]batch.Result[found], len(userIDs))
		var answer []Contact
		err := invoker.Invoke(ctx, App, PathContacts, ContactsRequest{UserIDs: userIDs}, &answer)
		byUser := make(map[string]Contact, len(answer))
		for _, c := range answer {
			byUser[c.UserID] = c
		}
		for i, userID := range userIDs {
			contact, known := byUser[userID]
			results[i] = batch.Result[found]{Value: found{contact, known}, Err: err}
		}
		return results
	}
	return &Contacts{batch.New(batch.Options{Size: MaxContacts, Lanes: 2, Timeout: 8 * time.Second}, nil, ask)}
}

// Contact returns how a user can be reached, and false for one that does not exist. An error that matches
// invoke.ErrUnavailable may pass.
func (c *Contacts) Contact(ctx context.Context, userID string) (Contact, bool, error) {
	answer, err := c.calls.Do(ctx, userID)
	if err != nil {
		return Contact{}, false, fmt.Errorf("asking for a contact: %w", err)
	}
	return answer.contact, answer.known, nil
}
