package domain

import (
	"errors"

	"caravan/internal/text"
)

// MaxNameLength is the longest display name, in characters.
const MaxNameLength = 100

// Name is the display name of an account, as text.Name cleans it, of 1 to MaxNameLength characters.
type Name string

// ParseName reads a display name. Its error is a *Violation of the field name.
func ParseName(raw string) (Name, error) {
	name, err := text.Name.Clean(raw, MaxNameLength)
	var broken *text.Error
	switch {
	case errors.As(err, &broken) && broken.Code == "max":
		return "", &Violation{"name", "too_long", broken.Message + " long"}
	case err != nil:
		return "", &Violation{"name", "invalid", err.Error()}
	case name == "":
		return "", &Violation{"name", "required", "is required"}
	}
	return Name(name), nil
}
