package app

import (
	"context"
	"fmt"

	"caravan/internal/document"
)

// everything owns the one list of a registry.
const everything = "all"

// registrySegment is the number of entries in one segment of a registry.
const registrySegment = 50

// registry lists the inboxes, newest first, as a store cannot be scanned. An entry is written before its inbox, by each attempt
// to create that, so it is valid only if the inbox names it. Thus the list has each inbox once.
type registry struct {
	Ports
	chain *document.Chain[Registered]
}

// Registered is one entry of the list of inboxes.
type Registered struct {
	UserID string `json:"id"`
	// Entry is the id of the entry itself.
	Entry string `json:"entry"`
}

func newRegistry(p Ports) *registry {
	return &registry{p, document.NewChain[Registered](p.Store, usersPrefix, registrySegment, document.Options{Clock: p.Clock, IDs: p.IDs})}
}

// announce adds an entry before the inbox is created. It returns the id of the entry.
func (r *registry) announce(ctx context.Context, userID string) (string, error) {
	entry := Registered{UserID: userID, Entry: r.IDs.New()}
	if err := r.chain.Prepend(ctx, everything, entry.Entry, entry); err != nil {
		return "", fmt.Errorf("registering %s: %w", userID, err)
	}
	return entry.Entry, nil
}

// Registered returns up to limit registered inboxes from a cursor on, and the cursor of the next page or "".
func (s *Inboxes) Registered(ctx context.Context, cursor string, limit int) ([]Registered, string, error) {
	return s.users.chain.Page(ctx, everything, cursor, limit)
}
