package app

import (
	"context"
	"crypto/sha256"
	"encoding/base64"

	"caravan/internal/id"
	"caravan/internal/page"
	"caravan/internal/problem"
	"caravan/services/products/domain"
)

// cursor is the position in a list after which a page begins. It belongs to one query.
type cursor struct {
	Query string          `json:"query"`
	After domain.Position `json:"after"`
}

// ListProducts lists and searches products.
type ListProducts struct{ Shop *Shop }

// Do returns the active products that answer a query, at most limit of them from a cursor on, and the cursor of the next
// page. Products that are created between two pages neither repeat nor hide others. Errors: [domain.Violations], and a
// problem for a cursor that is not of this list.
func (u ListProducts) Do(ctx context.Context, query domain.Query, limit int, from string) (items []Item, next string, err error) {
	s := u.Shop
	if err := query.Check(); err != nil {
		return nil, "", err
	}
	at, err := parseCursor(query, from)
	if err != nil {
		return nil, "", err
	}
	seen, err := s.index.current(ctx)
	if err != nil {
		return nil, "", err
	}
	found, more := seen.Find(query, at.After, limit)
	if len(found) == 0 {
		return nil, "", nil
	}
	skus := make([]string, len(found))
	for i, f := range found {
		skus[i] = f.SKU
	}
	shown, err := s.cache.items(ctx, skus...)
	if err != nil {
		return nil, "", err
	}
	items = make([]Item, 0, len(skus))
	for _, sku := range skus {
		if item, exists := shown[sku]; exists && item.Product.Status == domain.Active {
			items = append(items, item)
		}
	}
	if more {
		next = page.Encode(cursor{Query: at.Query, After: found[len(found)-1]})
	}
	return items, next, nil
}

func parseCursor(query domain.Query, text string) (cursor, error) {
	at := cursor{Query: queryDigest(query), After: domain.Start()}
	if text == "" {
		return at, nil
	}
	var given cursor
	if err := page.Decode(text, &given); err != nil {
		return cursor{}, err
	}
	if given.Query != at.Query || !id.ValidSKU(given.After.SKU) {
		return cursor{}, problem.Invalid(problem.FieldError{Field: "cursor", Code: "cursor", Message: "is not a cursor of this list"})
	}
	return given, nil
}

// queryDigest identifies a query in a cursor in a few bytes.
func queryDigest(query domain.Query) string {
	sum := sha256.Sum256([]byte(query.Category + "\x00" + query.Text))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}
