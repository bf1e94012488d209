package document

import (
	"context"
	"fmt"
)

// Listed reads a page of a list whose entries were written before the documents that they name, and the cursor of the
// next page or "". It returns one document for each entry: nil if there is none, or if it does not belong to the entry.
// idOf is the id of the document that an entry names. owns reports whether a document belongs to an entry: each attempt
// to write a document leaves an entry, and only one of them is valid.
func Listed[E, T any, P aggregate[T]](ctx context.Context, list *Chain[E], owner, cursor string, limit int,
	documents *Repository[T, P], idOf func(E) string, owns func(P, E) bool) ([]P, string, error) {
	entries, next, err := list.Page(ctx, owner, cursor, limit)
	if err != nil {
		return nil, "", err
	}
	ids := make([]string, len(entries))
	for i, e := range entries {
		ids[i] = idOf(e)
	}
	found, err := documents.GetMany(ctx, ids...)
	if err != nil {
		return nil, "", fmt.Errorf("reading listed documents: %w", err)
	}
	listed := make([]P, len(entries))
	for i, e := range entries {
		if doc := found[ids[i]]; doc != nil && owns(doc, e) {
			listed[i] = doc
		}
	}
	return listed, next, nil
}
