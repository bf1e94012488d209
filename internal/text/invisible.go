package text

import (
	"unicode"

	"golang.org/x/text/unicode/norm"
)

const (
	nonJoiner = 0x200C // ZERO WIDTH NON-JOINER
	joiner    = 0x200D // ZERO WIDTH JOINER
)

// invisible reports whether a character is normally not visible: the format characters, and all others that Unicode
// recommends not to show if unsupported (Default_Ignorable_Code_Point).
func invisible(c rune) bool {
	return unicode.In(c, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point) &&
		!unicode.Is(unicode.Prepended_Concatenation_Mark, c) // Arabic signs around a number
}

// joining are the scripts in use whose letters need a joiner or a non-joiner: first those with connected letters, then
// those with viramas.
var joining = []*unicode.RangeTable{
	unicode.Arabic, unicode.Syriac, unicode.Mandaic, unicode.Mongolian, unicode.Nko, unicode.Adlam, unicode.Hanifi_Rohingya,
	unicode.Devanagari, unicode.Bengali, unicode.Gurmukhi, unicode.Gujarati, unicode.Oriya, unicode.Tamil, unicode.Telugu,
	unicode.Kannada, unicode.Malayalam, unicode.Sinhala, unicode.Tibetan, unicode.Myanmar, unicode.Khmer, unicode.Balinese,
	unicode.Javanese, unicode.Sundanese, unicode.Meetei_Mayek, unicode.Chakma, unicode.Newa, unicode.Tirhuta, unicode.Grantha,
}

// joins reports whether s[i] is a joiner in a place where it has an effect: after a virama, between two characters of
// one joining script (Persian, Hindi, Bengali), or, for the joiner only, between two emoji. This is RFC 5892, appendix
// A, without its table of joining types, and with additions for Bengali and emoji.
func joins(s []rune, i int) bool {
	if c := s[i]; c != joiner && c != nonJoiner || i == 0 {
		return false
	}
	if virama(s[i-1]) {
		return true
	}
	if i == len(s)-1 {
		return false
	}
	before, after := s[i-1], s[i+1]
	if s[i] == joiner && emoji(after) && (emoji(before) || before == emojiStyle || skinTone(before)) {
		return true
	}
	for n := i - 1; n > 0 && unicode.Is(unicode.Inherited, before) && unicode.Is(unicode.Mn, before); n-- {
		before = s[n-1] // the letter under vowel signs, which many scripts share
	}
	for _, script := range joining {
		if unicode.Is(script, before) && unicode.Is(script, after) {
			return true
		}
	}
	return false
}

// virama reports whether c is the mark that joins consonants in Indian and related scripts.
func virama(c rune) bool {
	return c > 0x7F && unicode.Is(unicode.M, c) && norm.NFC.PropertiesString(string(c)).CCC() == 9
}

// selects reports whether s[i] selects a variant of the character before it.
func selects(s []rune, i int) bool {
	if i == 0 {
		return false
	}
	before := s[i-1]
	switch c := s[i]; {
	case c == textStyle, c == emojiStyle:
		return emoji(before) || keycap(before) || unicode.In(before, unicode.Sm, unicode.Han)
	case c >= 0xFE00 && c <= 0xFE0D:
		return unicode.In(before, unicode.Sm, unicode.Han, unicode.Myanmar)
	case c >= 0xE0100 && c <= 0xE01EF: // for names of many Japanese people
		return unicode.Is(unicode.Han, before)
	case c >= 0x180B && c <= 0x180F:
		return unicode.In(before, unicode.Mongolian) && unicode.IsLetter(before)
	}
	return false
}

const (
	textStyle  = 0xFE0E
	emojiStyle = 0xFE0F
)

// emoji reports whether c may be an emoji. The blocks from U+1F000 also have emoji that are not assigned yet.
func emoji(c rune) bool {
	return c >= 0x1F000 && c <= 0x1FAFF && !skinTone(c) || c >= 0x2190 && c <= 0x21FF || unicode.Is(unicode.So, c) ||
		c == '‼' || c == '⁉' || c == '〰' || c == '〽'
}

func skinTone(c rune) bool { return c >= 0x1F3FB && c <= 0x1F3FF }

// keycap reports whether c can be the label of an emoji key.
func keycap(c rune) bool { return c >= '0' && c <= '9' || c == '#' || c == '*' }

// tags reports whether s[i] belongs to the flag of a region: a black flag, 3 to 6 letters and digits, an end tag.
func tags(s []rune, i int) bool {
	const flag, end = 0x1F3F4, 0xE007F
	if !tag(s[i]) && s[i] != end {
		return false
	}
	first, last := i, i
	for first > 0 && tag(s[first-1]) {
		first--
	}
	for last < len(s)-1 && tag(s[last]) {
		last++
	}
	return first > 0 && s[first-1] == flag && s[last] == end && last-first >= 3 && last-first <= 6
}

func tag(c rune) bool { return c >= 0xE0030 && c <= 0xE0039 || c >= 0xE0061 && c <= 0xE007A }
