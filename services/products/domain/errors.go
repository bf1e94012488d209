package domain

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrExists is returned when a product with this SKU exists already.
	ErrExists = errors.New("a product with this SKU exists")
	// ErrNoProduct is returned when no product has this SKU.
	ErrNoProduct = errors.New("there is no product with this SKU")
	// ErrNotOpen is returned when the stock document of the SKU was never written.
	ErrNotOpen = errors.New("the stock of this SKU was not opened")
	// ErrOtherQuantity is returned when an order asks for another quantity than the one that it holds.
	ErrOtherQuantity = errors.New("the order holds another quantity of this SKU")
	// ErrOtherCorrection is returned when an idempotency key was used before for another correction.
	ErrOtherCorrection = errors.New("the key was used for another correction")
	// ErrTooManyHolds is returned when the SKU has [MaxActiveHolds] open reservations. Some will end, so a repeat may succeed.
	ErrTooManyHolds = errors.New("too many open reservations of this SKU")
	// ErrTooManyWatches is returned when a user watches as many products as a user may.
	ErrTooManyWatches = errors.New("the user watches too many products")
	// ErrTooManyWatchers is returned when a product has no room for another watcher like this one, see [MaxWatchers].
	ErrTooManyWatchers = errors.New("the product has too many watchers")
	// ErrPast is returned when the head is not enough to decide, because a hold or a correction may have moved to the archive.
	// The caller reads the archive and decides again with what it found.
	ErrPast = errors.New("the archive must be read")
	// ErrFull is returned when a segment of the catalogue index, or the whole index, has no room left.
	ErrFull = errors.New("the catalogue index is full")
)

// ShortageError refuses a correction that would leave fewer units than are reserved.
type ShortageError struct {
	// Level is the stock as it stays.
	Level Level
	// Change is the refused change.
	Change int64
}

// Error contains the change and the level.
func (e *ShortageError) Error() string {
	return fmt.Sprintf("a change of %d is not possible: %d on hand, %d of them reserved", e.Change, e.Level.OnHand, e.Level.Reserved)
}

// Violation is one field that breaks a rule. Field is its JSON path in the request (tiers[0].unitPrice).
type Violation struct {
	Field, Code, Message string
}

// Violations are all the fields of one request that break a rule. The list is never empty.
type Violations []Violation

// Error lists the violations.
func (v Violations) Error() string {
	parts := make([]string, len(v))
	for i, one := range v {
		parts[i] = one.Field + ": " + one.Message
	}
	return strings.Join(parts, "; ")
}

// asError is nil for no violations.
func (v Violations) asError() error {
	if len(v) == 0 {
		return nil
	}
	return v
}

func (v *Violations) add(field, code, format string, args ...any) {
	*v = append(*v, Violation{Field: field, Code: code, Message: fmt.Sprintf(format, args...)})
}
