package document

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"caravan/internal/problem"
)

// MaxKey is the longest key of a document in bytes. An index of PostgreSQL takes 2,704 bytes, the app's id included.
const MaxKey = 512

// ErrKey says that no store can hold a document under the key. A repeat has the same result.
var ErrKey error = invalidKey{}

type invalidKey struct{}

func (invalidKey) Error() string { return "no document can have this key" }

// Problem is the answer to a public caller: no resource can have a key that is not valid.
func (invalidKey) Problem() *problem.Problem { return problem.NotFound("resource") }

// CheckKey returns an error that wraps ErrKey for a key that some store or sidecar refuses. "||" separates the app's id
// from the key. Control characters and bytes that are not UTF-8 make a whole call of PostgreSQL fail, with all other
// keys in it. Every Store applies CheckKey before it reads or writes.
func CheckKey(key string) error {
	switch {
	case key == "" || len(key) > MaxKey:
		return fmt.Errorf("%w: it has %d bytes, not 1 to %d", ErrKey, len(key), MaxKey)
	case !utf8.ValidString(key) || strings.Contains(key, "||") || strings.ContainsFunc(key, unicode.IsControl):
		return fmt.Errorf("%w: %+q", ErrKey, key)
	}
	return nil
}

// CheckKeys applies CheckKey to several keys.
func CheckKeys(keys ...string) error {
	for _, key := range keys {
		if err := CheckKey(key); err != nil {
			return err
		}
	}
	return nil
}
