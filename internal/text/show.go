package text

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/bidi"
	"golang.org/x/text/unicode/norm"
)

// Show returns stored text in a form that is harmless anywhere, such as in the subject of a mail: text that Clean accepts, or "".
// It leaves out each character that the rule refuses, writes line breaks that the rule refuses as spaces, and cuts the text to
// maxRunes, the last of which is then "…". Text that Clean accepts and that is short enough stays as it is.
func (r Rule) Show(s string, maxRunes int) string {
	if clean, err := r.Clean(s, maxRunes); err == nil {
		return clean
	}
	if most := 4 * utf8.UTFMax * maxRunes; len(s) > most { // so that the work is bounded
		s = s[:most]
	}
	if r.multiline {
		s = unixLines(s)
	}
	runes := []rune(norm.NFC.String(strings.ToValidUTF8(s, "")))
	for _, keep := range []func(i int) bool{
		func(i int) bool { return r.refused(runes, i) == "" },
		// Without its neighbours a joiner may be refused, so the second attempt keeps none.
		func(i int) bool { return r.refused(runes, i) == "" && !invisible(runes[i]) },
	} {
		if clean, err := r.Clean(cut(r.kept(runes, keep), maxRunes), maxRunes); err == nil {
			return clean
		}
	}
	return ""
}

// kept are the characters that keep accepts, without marks that have no letter or are too many, and with spaces for line breaks
// and tabs.
func (r Rule) kept(runes []rune, keep func(i int) bool) string {
	var b strings.Builder
	marks, begun := 0, false
	for i, c := range runes {
		switch {
		case !keep(i):
			if unicode.IsSpace(c) {
				b.WriteByte(' ')
				marks = 0
			}
		case !unicode.Is(unicode.M, c):
			b.WriteRune(c)
			marks, begun = 0, begun || !unicode.IsSpace(c)
		case begun && marks < marksMax:
			b.WriteRune(c)
			marks++
		}
	}
	return norm.NFC.String(strings.TrimSpace(b.String()))
}

// cut shortens a text to a number of characters.
func cut(s string, maxRunes int) string {
	if utf8.RuneCountInString(s) <= maxRunes {
		return s
	}
	return strings.TrimSpace(string([]rune(s)[:maxRunes-1])) + "…"
}

// Isolate encloses text that has letters written from right to left between FIRST STRONG ISOLATE and POP DIRECTIONAL ISOLATE. So it
// does not change the order of the text around it. Other text stays as it is. The text must be one that a rule accepts.
func Isolate(s string) string {
	for _, c := range s {
		switch p, _ := bidi.LookupRune(c); p.Class() {
		case bidi.R, bidi.AL, bidi.AN:
			return "\u2068" + s + "\u2069"
		default:
		}
	}
	return s
}
