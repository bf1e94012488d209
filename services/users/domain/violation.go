// Package domain holds the rules of accounts: what a valid address, name and password is, how an account and its
// sessions change, and which facts those changes are. It is pure: time, randomness and ids come in as values.
package domain

// Violation says which input breaks which rule.
type Violation struct {
	Field   string // JSON path of the input, such as "roles[0]"
	Code    string // stable and short, such as "too_long"
	Message string // for a person
}

// Error implements error.
func (v *Violation) Error() string { return v.Field + " " + v.Message }

// Violations collects every *Violation inside err, also those joined by errors.Join or wrapped.
func Violations(err error) []*Violation {
	switch e := err.(type) {
	case *Violation:
		return []*Violation{e}
	case interface{ Unwrap() error }:
		return Violations(e.Unwrap())
	case interface{ Unwrap() []error }:
		var all []*Violation
		for _, inner := range e.Unwrap() {
			all = append(all, Violations(inner)...)
		}
		return all
	}
	return nil
}
