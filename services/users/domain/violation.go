// Package domain holds the rules of accounts: which addresses, names and passwords are valid, how an account and its
// sessions change, and which events these changes cause. It is pure: time, randomness and ids are arguments.
package domain

// Violation is an input that breaks a rule.
type Violation struct {
	Field   string // JSON path of the input, such as "roles[0]"
	Code    string // stable and short, such as "too_long"
	Message string // for a person
}

// Error implements error.
func (v *Violation) Error() string { return v.Field + " " + v.Message }

// Violations returns every *Violation in the tree of err.
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
