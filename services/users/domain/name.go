package domain

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// MaxNameLength is the longest display name, in characters.
const MaxNameLength = 100

// NormalizeName returns a display name trimmed and in normal form C. It has 1 to MaxNameLength characters, none of
// them a control or line separator, because it is printed in messages. Its error is a *Violation of the field name.
func NormalizeName(raw string) (string, error) {
	if !utf8.ValidString(raw) {
		return "", &Violation{"name", "invalid", "is not valid UTF-8"}
	}
	if len(raw) > 16*MaxNameLength {
		return "", &Violation{"name", "too_long", "must be at most 100 characters long"}
	}
	name := norm.NFC.String(strings.TrimSpace(raw))
	switch {
	case name == "":
		return "", &Violation{"name", "required", "is required"}
	case utf8.RuneCountInString(name) > MaxNameLength:
		return "", &Violation{"name", "too_long", "must be at most 100 characters long"}
	case strings.ContainsFunc(name, unprintable):
		return "", &Violation{"name", "invalid", "must not contain control characters"}
	}
	return name, nil
}

func unprintable(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }
