package domain

import (
	"errors"

	"caravan/internal/text"
)

// MaxNameLength is the longest display name, in characters.
const MaxNameLength = 100

// NormalizeName returns a display name as text.Name cleans it, of 1 to MaxNameLength characters: it is printed in
// messages. Its error is a *Violation of the field name.
func NormalizeName(raw string) (string, error) {
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
	return name, nil
}
