package domain

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrExists says that there is a product with this SKU already.
	ErrExists = errors.New("a product with this SKU exists")
	// ErrNoProduct says that there is no product with this SKU.
	ErrNoProduct = errors.New("there is no product with this SKU")
	// ErrNotOpen says that the stock document of the SKU was never written.
	ErrNotOpen = errors.New("the stock of this SKU was not opened")
	// ErrOtherQuantity says that an order asks for another quantity than the one it holds: the same operation with
	// another payload, which is refused.
	ErrOtherQuantity = errors.New("the order holds another quantity of this SKU")
	// ErrOtherCorrection says that an idempotency key was used before for another correction.
	ErrOtherCorrection = errors.New("the key was used for another correction")
	// ErrTooManyHolds says that the SKU has [MaxActiveHolds] reservations under way. Some will end, so a repeat may pass.
	ErrTooManyHolds = errors.New("too many reservations of this SKU are under way")
	// ErrPast says that the head cannot decide alone because what is asked may have moved to the archive. The caller
	// looks there and decides again with what it found.
	ErrPast = errors.New("the archive must be consulted")
	// ErrFull says that a directory segment or the whole directory has no room left.
	ErrFull = errors.New("the directory is full")
)

// ShortageError refuses a correction that would leave fewer units than are reserved.
type ShortageError struct {
	// Level is the stock as it stays.
	Level Level
	// Change is the refused change.
	Change int64
}

// Error tells what was asked and what there is.
func (e *ShortageError) Error() string {
	return fmt.Sprintf("a change of %d is not possible: %d on hand, %d of them reserved", e.Change, e.Level.OnHand, e.Level.Reserved)
}

// Violation is one field that breaks a rule. Field is its JSON path in the request (tiers[0].unitPrice).
type Violation struct {
	Field, Code, Message string
}

// Violations are all the fields of one request that break a rule; it is never an empty list.
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
