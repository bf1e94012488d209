package request

import (
	"net/http"
	"strconv"

	"caravan/internal/page"
	"caravan/internal/problem"
)

// The bounds of a page: a list never answers more than MaxPage entries at once.
const (
	DefaultPage = 20
	MaxPage     = 100
)

// Page reads the query parameters limit (1 to 100, 20 if absent) and cursor (opaque, see
// page.Decode). The error is a problem.Invalid that names the parameter.
func Page(r *http.Request) (limit int, cursor string, err error) {
	limit = DefaultPage
	if r.URL.RawQuery == "" {
		return limit, "", nil
	}
	query := r.URL.Query()
	if text := query.Get("limit"); text != "" {
		limit, err = strconv.Atoi(text)
		if err != nil || limit < 1 || limit > MaxPage {
			return 0, "", problem.Invalid(problem.FieldError{
				Field: "limit", Code: "range", Message: "must be a whole number from 1 to " + strconv.Itoa(MaxPage),
			})
		}
	}
	cursor = query.Get("cursor")
	if len(cursor) > page.MaxCursor {
		return 0, "", problem.Invalid(problem.FieldError{Field: "cursor", Code: "cursor", Message: "is too long"})
	}
	return limit, cursor, nil
}
