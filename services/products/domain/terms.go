package domain

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Bounds of search terms.
const (
	maxTerm             = 32
	maxTerms            = 16
	maxDescriptionTerms = 80
)

// letters that Unicode does not decompose but people search for without.
var plain = strings.NewReplacer("ß", "ss", "ø", "o", "æ", "ae", "œ", "oe", "ł", "l", "đ", "d", "ı", "i", "þ", "th", "ð", "d")

// Terms are the words of a text as the search compares them: lower case, without diacritics, letters and digits only.
// An apostrophe joins ("chef's" is the term "chefs"), everything else separates.
func Terms(text string) []string {
	folded := plain.Replace(strings.ToLower(norm.NFKD.String(text)))
	var terms []string
	var b strings.Builder
	flush := func() {
		if b.Len() > 0 {
			terms = append(terms, b.String())
			b.Reset()
		}
	}
	for _, r := range folded {
		switch {
		case unicode.Is(unicode.Mn, r) || r == '\'' || r == '\u2019':
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			flush()
		case b.Len() < maxTerm:
			b.WriteRune(unicode.ToLower(r))
		}
	}
	flush()
	return terms
}

// descriptionTerms are the distinct terms of a description, sorted and bounded.
func descriptionTerms(description string) []string {
	terms := Terms(description)
	slices.Sort(terms)
	terms = slices.Compact(terms)
	return terms[:min(len(terms), maxDescriptionTerms)]
}
