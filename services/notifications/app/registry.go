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
	chain *document.Chain[listed]
}

// listed is one entry of a registry.
type listed struct {
	// ID is the id of the document.
	ID string `json:"id"`
	// Entry is the entry's own id.
	Entry string `json:"entry"`
}

func newRegistry(p Ports) *registry {
	return &registry{p, document.NewChain[listed](p.Store, usersPrefix, registrySegment, document.Options{Clock: p.Clock, IDs: p.IDs})}
}

// announce adds an entry for a document that is about to be created, and returns the entry's id.
func (r *registry) announce(ctx context.Context, l listed) (string, error) {
	l.Entry = r.IDs.New()
	if err := r.chain.Prepend(ctx, everything, l.Entry, l); err != nil {
		return "", fmt.Errorf("registering %s: %w", l.ID, err)
	}
	return l.Entry, nil
}

// page returns up to limit entries from a cursor on, and the cursor of the next page or "".
func (r *registry) page(ctx context.Context, cursor string, limit int) ([]listed, string, error) {
	return r.chain.Page(ctx, everything, cursor, limit)
}
