// Package page is the form of every list: a limited number of items and an opaque cursor for the next ones.
package page

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"

	"caravan/internal/problem"
)

// MaxCursor is the longest cursor in bytes that Decode accepts.
const MaxCursor = 512

// List is one page.
type List[T any] struct {
	// Items are in the order of the list. A page without items is [], never null.
	Items []T `json:"items"`
	// Next is the cursor of the following page. It is empty on the last one.
	Next string `json:"next,omitempty"`
}

// Encode makes an opaque cursor from a position v, any value that JSON can contain. The cursor is base64url of JSON,
// which clients must not read: it may change between versions. Encode panics when v cannot be written as JSON, for
// example a channel. That is a programming error.
func Encode(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("page: a cursor of %T cannot be written: %v", v, err))
	}
	return base64.RawURLEncoding.EncodeToString(data)
}

// Decode reads a cursor of Encode into v. The empty cursor is the first page and leaves v as it is. Anything that
// Encode did not produce is a problem.Invalid about "cursor". A client can write a cursor itself, so v still has to be
// checked.
func Decode(s string, v any) error {
	if s == "" {
		return nil
	}
	if len(s) > MaxCursor {
		return invalid("is too long")
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") { // which Go's base64 skips
		return Invalid()
	}
	if err := json.Unmarshal(data, v, json.RejectUnknownMembers(true)); err != nil || Encode(v) != s {
		return Invalid() // a cursor with absent or null members is refused too
	}
	return nil
}

// Invalid is the error for a cursor that Decode can read but that does not belong to the list.
func Invalid() error { return invalid("is not a cursor of this list") }

func invalid(message string) error {
	return problem.Invalid(problem.FieldError{Field: "cursor", Code: "cursor", Message: message})
}
