// Package document keeps each aggregate as one JSON document and writes it with compare-and-swap. This is the only
// guarantee that SQLite, PostgreSQL and Redis all give through Dapr's state API
// (docs/adr/0002-single-key-compare-and-swap.md).
//
// What must change together is in one document. A failed write has an unknown outcome, and the document is read back
// before anything is decided. Commands are idempotent: the document itself remembers their operation ids.
package document

import (
	"context"
	"errors"
	"time"

	"caravan/internal/problem"
)

// Record is one stored document with the ETag of the revision that was read.
type Record struct {
	Value []byte
	ETag  string
}

// Store is the port to a key-value store with compare-and-swap on one key. It returns the error of CheckKey for a key
// that CheckKey refuses, before it reads or writes anything.
type Store interface {
	// Get reads the documents of keys. The result has no entry for a key without a document.
	Get(ctx context.Context, keys ...string) (map[string]Record, error)
	// Put writes value if the stored document still has the given ETag. An empty ETag means that there must be no
	// document yet. After any error the outcome is unknown: stores report conflicts in different ways, and a write that
	// timed out may still be stored later. The caller reads the document to find out what happened.
	Put(ctx context.Context, key string, value []byte, etag string) error
}

// ErrNotFound says that no document exists under the key.
var ErrNotFound error = notFound{}

type notFound struct{}

func (notFound) Error() string { return "document not found" }

// Problem is the answer to a public caller.
func (notFound) Problem() *problem.Problem { return problem.NotFound("resource") }

// ErrUnknown says that a write was neither confirmed nor excluded before its deadline. Repeating the command is safe,
// and may succeed later.
var ErrUnknown error = unknown{}

type unknown struct{}

func (unknown) Error() string   { return "outcome of the write is unknown" }
func (unknown) Temporary() bool { return true }

// Problem asks a public caller to try again, because the command is idempotent.
func (unknown) Problem() *problem.Problem {
	return problem.Unavailable("outcome-unknown", "The request may or may not have taken effect. Repeating it with the same Idempotency-Key is safe.", time.Second)
}

// Unavailable wraps an error of a store that could not be read or reached.
type Unavailable struct{ Err error }

// Error implements error.
func (u Unavailable) Error() string { return "store unavailable: " + u.Err.Error() }

// Unwrap gives the cause.
func (u Unavailable) Unwrap() error { return u.Err }

// Temporary reports that the same read may succeed later.
func (Unavailable) Temporary() bool { return true }

// Problem asks a public caller to try again later.
func (Unavailable) Problem() *problem.Problem {
	return problem.Unavailable("store-unavailable", "The store is not available.", 2*time.Second)
}

// ErrUnchanged is returned by a decision that has nothing to write, such as a repeated operation. The caller of Update
// gets the document and no error.
var ErrUnchanged = errors.New("document unchanged")
