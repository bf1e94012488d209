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

// Weights of a term by where it occurs; a whole word counts more than the beginning of one.
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

// Catalogue is an index of all listed products. It is immutable and safe for concurrent use.
type Catalogue struct {
	entries    []Entry          // by SKU
	shown      []int            // those not hidden, by SKU
	categories map[string][]int // shown, by SKU
	postings   []posting        // by term
}

type posting struct {
	term   string
	entry  int
	weight int
}

// NewCatalogue indexes the entries of all segments. Of several entries of one SKU the latest version counts.
func NewCatalogue(segments ...[]Entry) *Catalogue {
	all := slices.Concat(segments...)
	slices.SortStableFunc(all, func(a, b Entry) int { return cmp.Or(bySKU(a, b), cmp.Compare(b.Version, a.Version)) })
	c := &Catalogue{
		entries:    slices.CompactFunc(all, func(a, b Entry) bool { return a.SKU == b.SKU }),
		categories: make(map[string][]int),
	}
	for i, e := range c.entries {
		if e.Hidden {
			continue
		}
		c.shown = append(c.shown, i)
		c.categories[e.Category] = append(c.categories[e.Category], i)
		c.index(i, e.Name, inName)
		c.index(i, e.SKU, inSKU)
		c.index(i, e.Category, inCategory)
		for _, term := range e.Terms {
			c.postings = append(c.postings, posting{term, i, inDescription})
		}
	}
	slices.SortFunc(c.postings, func(a, b posting) int {
		return cmp.Or(strings.Compare(a.term, b.term), cmp.Compare(a.entry, b.entry), cmp.Compare(b.weight, a.weight))
	})
	return c
}

func (c *Catalogue) index(entry int, text string, weight int) {
	for _, term := range Terms(text) {
		c.postings = append(c.postings, posting{term, entry, weight})
	}
}

// Entry finds a product by SKU, hidden or not.
func (c *Catalogue) Entry(sku string) (Entry, bool) {
	i, found := slices.BinarySearchFunc(c.entries, Entry{SKU: sku}, bySKU)
	if !found {
		return Entry{}, false
	}
	return c.entries[i], true
}

// SKUs lists up to limit products after the given SKU, hidden ones too, in order.
func (c *Catalogue) SKUs(after string, limit int) []string {
	i, found := slices.BinarySearchFunc(c.entries, Entry{SKU: after}, bySKU)
	if found {
		i++
	}
	var skus []string
	for ; i < len(c.entries) && len(skus) < limit; i++ {
		skus = append(skus, c.entries[i].SKU)
	}
	return skus
}

// Len is the number of products, hidden ones too.
func (c *Catalogue) Len() int { return len(c.entries) }

// Find lists up to limit products that answer a valid query, best first and by SKU among equals, after a position. more
// tells whether others follow the last one.
func (c *Catalogue) Find(q Query, after Position, limit int) (found []Position, more bool) {
	if q.Text == "" {
		return c.list(q.Category, after, limit)
	}
	var hits []Position
	for entry, score := range c.match(Terms(q.Text)) {
		p := Position{Score: score, SKU: c.entries[entry].SKU}
		if (q.Category == "" || c.entries[entry].Category == q.Category) && byRank(p, after) > 0 {
			hits = append(hits, p)
		}
	}
	slices.SortFunc(hits, byRank)
	return hits[:min(len(hits), limit)], len(hits) > limit
}

// byRank orders results: higher scores first, then by SKU.
func byRank(a, b Position) int {
	return cmp.Or(cmp.Compare(b.Score, a.Score), strings.Compare(a.SKU, b.SKU))
}

// list is Find without a text: all results have the score 0.
func (c *Catalogue) list(category string, after Position, limit int) (found []Position, more bool) {
	from := c.shown
	if category != "" {
		from = c.categories[category]
	}
	first, exact := slices.BinarySearchFunc(from, after.SKU, func(i int, sku string) int {
		return strings.Compare(c.entries[i].SKU, sku)
	})
	if exact {
		first++
	}
	last := min(first+limit, len(from))
	for _, i := range from[first:last] {
		found = append(found, Position{SKU: c.entries[i].SKU})
	}
	return found, last < len(from)
}

// match scores the entries that contain every term. A text without any term matches nothing.
func (c *Catalogue) match(terms []string) map[int]int {
	var scores map[int]int
	for n, term := range terms {
		best := c.prefixed(term)
		if n > 0 {
			for entry := range scores {
				if _, both := best[entry]; !both {
					delete(scores, entry)
				}
			}
			for entry := range scores {
				scores[entry] += best[entry]
			}
			continue
		}
		scores = best
	}
	return scores
}

// prefixed gives each entry with a word that begins with the term the weight of its best such word.
func (c *Catalogue) prefixed(term string) map[int]int {
	best := make(map[int]int)
	first, _ := slices.BinarySearchFunc(c.postings, term, func(p posting, t string) int { return strings.Compare(p.term, t) })
	for _, p := range c.postings[first:] {
		if !strings.HasPrefix(p.term, term) {
			break
		}
		weight := p.weight
		if len(p.term) == len(term) {
			weight += wholeWord
		}
		best[p.entry] = max(best[p.entry], weight)
	}
	return best
}
