// Package text has the rules for text that people write: names, reasons, descriptions. Every field of every service
// uses one of them, so all fields accept the same text.
//
//	rule       for                                    line breaks   spaces
//	Line       product names, reasons, notes, search  refused       kept
//	Multiline  descriptions                           become \n     kept
//	Name       the name of a person                   refused       each run becomes one space
//
// All rules silently trim the text and convert it to Unicode normal form C. All refuse characters that people cannot
// see or that can change how the text around them looks, and name the character:
//
//   - what is not UTF-8, the replacement characters U+FFFC and U+FFFD, noncharacters and private use
//   - control characters, also the tab
//   - characters that change the direction of text: U+202A to U+202E, U+2066 to U+2069
//   - invisible characters, such as U+200B, U+FEFF, U+00AD and the Hangul fillers, unless a script or an emoji
//     needs one in this place (see joins and selects)
//   - a combining mark at the beginning, and more than 16 in a row
//   - text that contains only blanks that are not spaces, such as U+2800
//
// The rules accept characters that Unicode has not assigned yet, because these may become letters or emoji.
//
// The rules are for new text only. Stored text stays readable, whatever it contains.
package text

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Rule describes how one kind of text is cleaned and checked. Its zero value is Line.
type Rule struct {
	multiline bool // line breaks are allowed
	oneSpace  bool // each run of spaces becomes one U+0020
}

// The rules.
var (
	// Line is free text on one line.
	Line = Rule{}
	// Multiline is free text with line breaks.
	Multiline = Rule{multiline: true}
	// Name is the name of a person.
	Name = Rule{oneSpace: true}
)

// marksMax is the longest run of combining marks. The deepest Tibetan stacks need 9.
const marksMax = 16

// Error describes why a rule refuses a text.
type Error struct {
	Code    string // max or text
	Message string // completes a sentence that begins with the name of the field
}

// Error implements error.
func (e *Error) Error() string { return e.Message }

// Clean returns s trimmed and in normal form C. It returns an *Error if s breaks the rule or then has more than
// maxRunes characters; 0 means no limit. Text of spaces only becomes the empty text without an error, because the
// caller decides whether a field is required. Cleaning twice changes nothing.
func (r Rule) Clean(s string, maxRunes int) (string, error) {
	// Normal form C shortens a character to no less than a third of its bytes.
	if maxRunes > 0 && len(s) > 3*utf8.UTFMax*maxRunes {
		return "", tooLong(maxRunes)
	}
	if !utf8.ValidString(s) {
		return "", refuse("must be valid UTF-8")
	}
	if r.multiline {
		s = unixLines(s)
	}
	s = norm.NFC.String(strings.TrimSpace(s))
	if err := r.check(s); err != nil {
		return "", err
	}
	if r.oneSpace {
		s = strings.Join(strings.Fields(s), " ")
	}
	if maxRunes > 0 && utf8.RuneCountInString(s) > maxRunes {
		return "", tooLong(maxRunes)
	}
	return s, nil
}

// unixLines ends each line with \n.
func unixLines(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
}

// check checks each character of a text that is valid, trimmed and normalized.
func (r Rule) check(s string) error {
	if s == "" || plain(s) {
		return nil
	}
	runes := []rune(s)
	visible, marks := false, 0
	for i, c := range runes {
		if what := r.refused(runes, i); what != "" {
			return refuse("must not contain %s (U+%04X)", what, c)
		}
		if !unicode.Is(unicode.M, c) {
			visible, marks = visible || shows(c), 0
			continue
		}
		if marks++; i == 0 {
			return refuse("must not begin with a combining mark (U+%04X)", c)
		}
		if marks > marksMax {
			return refuse("must not contain more than %d combining marks in a row (U+%04X)", marksMax, c)
		}
	}
	if !visible {
		return refuse("must contain a visible character")
	}
	return nil
}

// plain reports whether s is printable ASCII. Most text is, and it breaks no rule.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// refused describes the character s[i] if it is not allowed there, or returns "".
func (r Rule) refused(s []rune, i int) string {
	c := s[i]
	switch {
	case c >= ' ' && c <= '~', c == '\n' && r.multiline:
		return ""
	case c == '\n', c == '\r', unicode.In(c, unicode.Zl, unicode.Zp):
		return "line breaks"
	case unicode.IsControl(c):
		return "control characters"
	case c >= 0x202A && c <= 0x202E, c >= 0x2066 && c <= 0x2069:
		return "characters that change the direction of text"
	case invisible(c) && !joins(s, i) && !selects(s, i) && !tags(s, i):
		return "invisible characters"
	case c == 0xFFFC, c == utf8.RuneError, unicode.In(c, unicode.Co, unicode.Noncharacter_Code_Point):
		return "characters without a meaning of their own"
	}
	return ""
}

// shows reports whether a character that is not a mark is visible.
func shows(c rune) bool {
	const brailleBlank, nullNotehead = 0x2800, 0x1D159
	return !unicode.IsSpace(c) && !invisible(c) && c != brailleBlank && c != nullNotehead
}

func refuse(format string, arguments ...any) error {
	return &Error{Code: "text", Message: fmt.Sprintf(format, arguments...)}
}

func tooLong(most int) error {
	return &Error{Code: "max", Message: fmt.Sprintf("must be at most %d characters", most)}
}
