package document

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"caravan/internal/problem"
)

// MaxKey is the longest key of a document in bytes; an index of PostgreSQL takes 2,704 with the app's id.
const MaxKey = 512

// ErrKey says that no store can hold a document under the key. It never passes.
var ErrKey error = invalidKey{}

type invalidKey struct{}

func (invalidKey) Error() string { return "no document can have this key" }

// Problem is what a public caller gets: a key that cannot be is the key of nothing.
func (invalidKey) Problem() *problem.Problem { return problem.NotFound("resource") }

// CheckKey returns an error that wraps ErrKey for a key that some store or sidecar refuses: "||" separates the app's id
// from the key, and control characters and bytes that are not UTF-8 end a call of PostgreSQL with all others in it.
// Every Store applies it before it reads or writes.
func CheckKey(key string) error {
	switch {
	case key == "" || len(key) > MaxKey:
		return fmt.Errorf("%w: it has %d bytes, not 1 to %d", ErrKey, len(key), MaxKey)
	case !utf8.ValidString(key) || strings.Contains(key, "||") || strings.ContainsFunc(key, unicode.IsControl):
		return fmt.Errorf("%w: %+q", ErrKey, key)
	}
	return nil
}

// CheckKeys is CheckKey for several keys.
func CheckKeys(keys ...string) error {
	for _, key := range keys {
		if err := CheckKey(key); err != nil {
			return err
		}
	}
	return nil
}
