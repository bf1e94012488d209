package app

import (
	"context"
	"fmt"
	"time"

	"caravan/internal/document"
)

// everything owns the one list of a registry.
const everything = "all"

// registrySegment is the number of entries in one segment of a registry.
const registrySegment = 50

// registry lists documents of one kind, newest first, as a store cannot be scanned. An entry is written before its
// document, by each attempt to create it, so it stands for the document only if the document names it. That way a list
// has every document, and has it once.
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
	// Topic, Type and At tell of a dead letter what it says of itself, and when it was entered, so that a search need
	// not read each.
	Topic string    `json:"topic,omitempty"`
	Type  string    `json:"type,omitempty"`
	At    time.Time `json:"at,omitzero"`
}

func newRegistry(p Ports, prefix string) *registry {
	return &registry{p, document.NewChain[listed](p.Store, prefix, registrySegment, document.Options{Clock: p.Clock, IDs: p.IDs})}
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
