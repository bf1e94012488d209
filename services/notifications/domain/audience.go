package domain

import (
	"slices"

	"caravan/internal/document"
)

// MaxAudience bounds the users of one Audience.
const MaxAudience = 50

// Audience are the users to whom one event goes: at most MaxAudience of them.
type Audience struct {
	// Users are named by the event. If there are none, all users with Permission are meant.
	Users      []string
	Permission string
}

// For is the notice for one user of its audience.
func (n Notice) For(userID string) Notice {
	n.UserID, n.Audience = userID, nil
	return n
}

// Reached are the users whom an event for those with a permission reaches. It is decided once for each event.
type Reached struct {
	document.Root
	UserIDs []string `json:"userIds"`
}

// Decide records the users. It returns document.ErrUnchanged if they were decided before.
func (r *Reached) Decide(userIDs []string) error {
	if r.Exists() {
		return document.ErrUnchanged
	}
	r.UserIDs = slices.Clone(userIDs[:min(len(userIDs), MaxAudience)])
	return nil
}
