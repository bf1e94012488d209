package request

import (
	"net/http"

	"caravan/internal/page"
)

// List answers with a page of a list, by the limit and the cursor of the query. read returns the items from a cursor on,
// and the cursor of the next page or "". view shows one item.
func List[T, V any](r *http.Request, read func(cursor string, limit int) ([]T, string, error), view func(T) V) (Answer, error) {
	limit, cursor, err := Page(r)
	if err != nil {
		return Answer{}, err
	}
	items, next, err := read(cursor, limit)
	if err != nil {
		return Answer{}, err
	}
	list := page.List[V]{Items: make([]V, len(items)), Next: next}
	for i, item := range items {
		list.Items[i] = view(item)
	}
	return OK(list), nil
}
