package domain

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"strings"

	"caravan/internal/text"
)

// MaxQuery is the longest search text in characters.
const MaxQuery = 100

// Weights of a term by where it occurs. A whole word has more weight than the beginning of one.
const (
	inName        = 12
	inSKU         = 8
	inCategory    = 6
	inDescription = 2
	wholeWord     = 1 // added
)

// Query asks for products.
type Query struct {
	// Category, if not empty, is the one category to list.
	Category string
	// Text, if not empty, is what every found product must contain: each word as the beginning of one of its words.
	Text string
}

// Check returns [Violations] when the query breaks a rule.
func (q Query) Check() error {
	var v Violations
	if q.Category != "" && !ValidCategory(q.Category) {
		v.add("category", "pattern", "must be lower-case words of letters and digits joined by hyphens, at most %d long", MaxCategory)
	}
	_, err := text.Line.Clean(q.Text, MaxQuery)
	var broken *text.Error
	switch {
	case errors.As(err, &broken):
		v.add("q", broken.Code, "%s", broken.Message)
	case len(Terms(q.Text)) > maxTerms:
		v.add("q", "max", "must be at most %d words", maxTerms)
	}
	return v.asError()
}

// Position is a place in a result: after the product of this SKU with this score. It is stable: products that are
// created later do not shift it.
type Position struct {
	Score int    `json:"score"`
	SKU   string `json:"sku"`
}

// Start is the position before the first result.
func Start() Position { return Position{Score: math.MaxInt} }

// Catalogue lists and searches all products. It is immutable and safe for concurrent use.
//
// A search looks at every product. That costs less than to rebuild an inverted index after each change of any product
// (BenchmarkCatalogue).
type Catalogue struct {
	entries    []listed // by SKU
	signatures []signature
}

// listed is an entry with the id of its segment and its words: each one after a byte that is its weight, which is no
// byte of a word.
type listed struct {
	*Entry
	segment string
	words   string
}

// NewCatalogue makes a catalogue of the entries of all segments, by their ids. Of several entries of one SKU it takes the
// latest version.
func NewCatalogue(segments map[string]*CatalogueSegment) *Catalogue {
	var all []listed
	for id, segment := range segments {
		for i := range segment.Entries {
			all = append(all, listed{Entry: &segment.Entries[i], segment: id})
		}
	}
	slices.SortFunc(all, func(a, b listed) int {
		return cmp.Or(strings.Compare(a.SKU, b.SKU), cmp.Compare(b.Version, a.Version), strings.Compare(a.segment, b.segment))
	})
	all = slices.CompactFunc(all, func(a, b listed) bool { return a.SKU == b.SKU })
	c := &Catalogue{entries: all, signatures: make([]signature, len(all))}
	for i := range all {
		var words []byte
		for _, part := range []struct {
			weight byte
			terms  []string
		}{{inName, Terms(all[i].Name)}, {inSKU, Terms(all[i].SKU)}, {inCategory, Terms(all[i].Category)}, {inDescription, all[i].Terms}} {
			for _, term := range part.terms {
				words = append(append(words, part.weight), term...)
				c.signatures[i].add(term)
			}
		}
		all[i].words = string(words)
	}
	return c
}

// signature has bits for the beginnings of the words of a product or query. A search passes over the products that lack a
// bit of the query, which are most.
type signature [4]uint64

// add adds the first two and the first three bytes of a word. A single byte has no bit, as many words begin with it.
func (s *signature) add(word string) {
	hash := 0
	for i := range min(len(word), 3) {
		if hash = hash*31 + int(word[i]); i > 0 {
			s[hash/64%4] |= 1 << (hash % 64)
		}
	}
}

// has reports whether s has all bits of another signature.
func (s *signature) has(o *signature) bool {
	return o[0]&^s[0]|o[1]&^s[1]|o[2]&^s[2]|o[3]&^s[3] == 0
}

// Entry finds a product by SKU, hidden or not, and the id of the segment that lists it.
func (c *Catalogue) Entry(sku string) (e Entry, segment string, found bool) {
	i, found := c.search(sku)
	if !found {
		return Entry{}, "", false
	}
	return *c.entries[i].Entry, c.entries[i].segment, true
}

func (c *Catalogue) search(sku string) (int, bool) {
	return slices.BinarySearchFunc(c.entries, sku, func(e listed, sku string) int { return strings.Compare(e.SKU, sku) })
}

// SKUs lists up to limit products after the given SKU, hidden ones too, in order.
func (c *Catalogue) SKUs(after string, limit int) []string {
	i, found := c.search(after)
	if found {
		i++
	}
	var skus []string
	for ; i < len(c.entries) && len(skus) < limit; i++ {
		skus = append(skus, c.entries[i].SKU)
	}
	return skus
}

// Find lists up to limit products that answer a valid query, best first and by SKU among equals, after a position. more
// reports whether others follow the last one.
func (c *Catalogue) Find(q Query, after Position, limit int) (found []Position, more bool) {
	terms, first := Terms(q.Text), 0
	if q.Text == "" { // all have the score 0 and are in the order of the entries
		first, _ = c.search(after.SKU)
	} else if len(terms) == 0 {
		return nil, false
	}
	var wanted signature
	for _, term := range append(Terms(q.Category), terms...) {
		wanted.add(term)
	}
	for i := first; i < len(c.entries) && (q.Text != "" || len(found) <= limit); i++ {
		if !c.signatures[i].has(&wanted) {
			continue
		}
		e := &c.entries[i]
		score, all := e.score(terms)
		if !all || e.Hidden || q.Category != "" && e.Category != q.Category {
			continue
		}
		if p := (Position{Score: score, SKU: e.SKU}); byRank(p, after) > 0 {
			found = append(found, p)
		}
	}
	slices.SortFunc(found, byRank)
	return found[:min(len(found), limit)], len(found) > limit
}

// byRank orders results: higher scores first, then by SKU.
func byRank(a, b Position) int {
	return cmp.Or(cmp.Compare(b.Score, a.Score), strings.Compare(a.SKU, b.SKU))
}

// score adds up the weights of the terms. all reports whether each is the beginning of a word.
func (e *listed) score(terms []string) (score int, all bool) {
	for _, term := range terms {
		best := 0
		for at := 0; at < len(e.words); at++ {
			i := strings.Index(e.words[at:], term)
			if i < 0 {
				break
			}
			at += i
			weight, end := int(e.words[at-1]), at+len(term)
			if weight > inName {
				continue // in the middle of a word
			}
			if end == len(e.words) || e.words[end] <= inName {
				weight += wholeWord
			}
			best = max(best, weight)
		}
		if best == 0 {
			return 0, false
		}
		score += best
	}
	return score, true
}
