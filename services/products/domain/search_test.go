package domain

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func entry(sku, name, category, description string) Entry {
	return EntryOf(&Product{SKU: sku, Name: name, Category: category, Description: description, Status: Active, Version: 1})
}

func products() []Entry {
	return []Entry{
		entry("COF-1", "Café Crème Beans", "coffee", "Dark roast for espresso."),
		entry("COF-2", "Espresso Machine", "coffee", "Fifteen bar of pressure."),
		entry("KIT-1", "Chef's Knife", "kitchen", "Forged steel; cuts coffee cake too."),
		entry("KIT-2", "Straße Mug", "kitchen", "Holds 0.3 l of Espresso, Kaffee or tea."),
		entry("BOK-1", "Espresso Explained", "books", "From bean to cup."),
	}
}

// catalogueOf is the catalogue of some segments, the first of which has the id 0.
func catalogueOf(segments ...[]Entry) *Catalogue {
	all := make(map[string]*CatalogueSegment)
	for n, entries := range segments {
		all[strconv.Itoa(n)] = &CatalogueSegment{Entries: entries}
	}
	return NewCatalogue(all)
}

func skusOf(found []Position) []string {
	skus := []string{}
	for _, p := range found {
		skus = append(skus, p.SKU)
	}
	return skus
}

func TestFind(t *testing.T) {
	hidden := EntryOf(&Product{SKU: "COF-0", Name: "Espresso of Old", Category: "coffee", Status: Inactive, Version: 3})
	catalogue := catalogueOf(products()[:2], append(products()[2:], hidden))
	for _, c := range []struct {
		name  string
		query Query
		want  []string
	}{
		{"everything by SKU", Query{}, []string{"BOK-1", "COF-1", "COF-2", "KIT-1", "KIT-2"}},
		{"one category", Query{Category: "coffee"}, []string{"COF-1", "COF-2"}},
		{"no such category", Query{Category: "toys"}, []string{}},
		{"a word in names before one in descriptions", Query{Text: "espresso"}, []string{"BOK-1", "COF-2", "COF-1", "KIT-2"}},
		{"the beginning of a word", Query{Text: "espr"}, []string{"BOK-1", "COF-2", "COF-1", "KIT-2"}},
		{"not the middle of a word", Query{Text: "presso"}, []string{}},
		{"case does not matter", Query{Text: "ESPRESSO machine"}, []string{"COF-2"}},
		{"nor do diacritics in the product", Query{Text: "cafe creme"}, []string{"COF-1"}},
		{"nor in the query", Query{Text: "éspressö mäch"}, []string{"COF-2"}},
		{"nor their form", Query{Text: "cafe\u0301"}, []string{"COF-1"}},
		{"sharp s", Query{Text: "strasse"}, []string{"KIT-2"}},
		{"an apostrophe joins", Query{Text: "chefs"}, []string{"KIT-1"}},
		{"and may be left open", Query{Text: "chef’s"}, []string{"KIT-1"}},
		{"every word must occur", Query{Text: "espresso kaffee"}, []string{"KIT-2"}},
		{"a category is found as a word", Query{Text: "kitchen"}, []string{"KIT-1", "KIT-2"}},
		{"name, then category, then description", Query{Text: "coffee"}, []string{"COF-1", "COF-2", "KIT-1"}},
		{"a SKU", Query{Text: "KIT-2"}, []string{"KIT-2"}},
		{"words within a category", Query{Text: "espresso", Category: "coffee"}, []string{"COF-2", "COF-1"}},
		{"no word at all", Query{Text: "?!"}, []string{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			found, more := catalogue.Find(c.query, Start(), 100)
			if got := skusOf(found); !slices.Equal(got, c.want) || more {
				t.Errorf("found %v, more %v; want %v", got, more, c.want)
			}
		})
	}
	if e, segment, ok := catalogue.Entry("COF-0"); !ok || !e.Hidden || segment != "1" {
		t.Errorf("the hidden product is known as %v of segment %s, %v", e, segment, ok)
	}
	if got := catalogue.SKUs("COF-1", 2); !slices.Equal(got, []string{"COF-2", "KIT-1"}) {
		t.Errorf("SKUs after COF-1 are %v", got)
	}
}

func TestOfSeveralEntriesOfAProductTheLatestCounts(t *testing.T) {
	old, now := entry("COF-1", "Old", "coffee", ""), entry("COF-1", "New", "tea", "")
	now.Version = 2
	for _, segments := range [][][]Entry{{{old}, {now}}, {{now}, {old}}, {{old, now}}} {
		catalogue := catalogueOf(segments...)
		if e, _, _ := catalogue.Entry("COF-1"); e.Name != "New" || len(catalogue.SKUs("", 9)) != 1 {
			t.Errorf("entry is %v of %v", e, catalogue.SKUs("", 9))
		}
	}
}

// Whatever is inserted while somebody turns the pages: what was there from the beginning is seen exactly once.
func TestPagingIsStableUnderInserts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := []string{"red", "green", "blue", "reddish", "cup", "plate", "bowl"}
		product := rapid.Custom(func(t *rapid.T) Entry {
			return entry(
				fmt.Sprintf("SKU-%03d", rapid.IntRange(0, 150).Draw(t, "sku")),
				strings.Join(rapid.SliceOfN(rapid.SampledFrom(words), 1, 3).Draw(t, "name"), " "),
				rapid.SampledFrom([]string{"a", "b"}).Draw(t, "category"),
				strings.Join(rapid.SliceOfN(rapid.SampledFrom(words), 0, 3).Draw(t, "description"), " "))
		})
		unique := func(e Entry) string { return e.SKU }
		all := rapid.SliceOfNDistinct(product, 0, 60, unique).Draw(t, "products")
		cut := rapid.IntRange(0, len(all)).Draw(t, "cut")
		before, present := all[:cut], all[:cut]
		query := Query{
			Text:     rapid.SampledFrom([]string{"", "red", "cup blue", "re"}).Draw(t, "text"),
			Category: rapid.SampledFrom([]string{"", "a"}).Draw(t, "category"),
		}
		wanted, _ := catalogueOf(before).Find(query, Start(), 1000)
		seen := map[string]int{}
		limit := rapid.IntRange(1, 7).Draw(t, "limit")
		var last Position
		for at, more := Start(), true; more; {
			var found []Position
			found, more = catalogueOf(present).Find(query, at, limit)
			if len(found) > limit || more && len(found) == 0 {
				t.Fatalf("a page of %d for a limit of %d, more %v", len(found), limit, more)
			}
			for _, p := range found {
				if seen[p.SKU]++; seen[p.SKU] > 1 {
					t.Fatalf("%s appears twice", p.SKU)
				}
				if at != Start() && byRank(last, p) >= 0 {
					t.Fatalf("%v follows %v", p, last)
				}
				at, last = p, p
			}
			present = all[:rapid.IntRange(len(present), len(all)).Draw(t, "inserted")]
		}
		for _, p := range wanted {
			if seen[p.SKU] != 1 {
				t.Fatalf("%s was missed", p.SKU)
			}
		}
	})
}

func TestCatalogueSegments(t *testing.T) {
	s := new(CatalogueSegment)
	for n := range SegmentSize {
		if changed, err := s.Add(entry(fmt.Sprintf("SKU-%d", n), "x", "a", "")); !changed || err != nil {
			t.Fatal(changed, err)
		}
	}
	if changed, err := s.Add(entry("SKU-7", "other", "a", "")); changed || err != nil {
		t.Errorf("adding twice: %v, %v", changed, err)
	}
	if _, err := s.Add(entry("NEW", "x", "a", "")); !errors.Is(err, ErrFull) {
		t.Errorf("adding to a full segment: %v", err)
	}
	newer, older := entry("SKU-7", "newer", "a", ""), entry("SKU-7", "older", "a", "")
	newer.Version = 3
	if !s.Show(newer) || s.Show(newer) || s.Show(older) || s.Show(entry("NEW", "x", "a", "")) {
		t.Error("showing does not follow the versions")
	}
	h := new(CatalogueHead)
	if !h.Announce(2, 5) || h.Announce(2, 5) || h.Announce(2, 4) || !h.Announce(0, 1) || len(h.Revisions) != 3 {
		t.Errorf("announced %v", h.Revisions)
	}
}

// Terms of whatever text are words of the form that the index compares, and a text finds itself.
func FuzzSearch(f *testing.F) {
	for _, seed := range []string{"", "Chef's Knife", "Ærøskøbing ŁÓDŹ ß", "e\u0301", "\xff\xfe", "a\x00b", strings.Repeat("x ", 200), "İstanbul", "ﬁne", "①②", "日本語"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		terms := Terms(text)
		for _, term := range terms {
			if term == "" || utf8.RuneCountInString(term) > 4*maxTerm {
				t.Fatalf("term %q", term)
			}
			for _, r := range term {
				if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
					t.Fatalf("term %q has %q", term, r)
				}
			}
		}
		query := Query{Text: text}
		found, more := catalogueOf([]Entry{entry("SKU-1", text, "a", text)}).Find(query, Start(), 1)
		if more || len(found) > 1 {
			t.Fatalf("found %v, more %v", found, more)
		}
		if text != "" && len(found) != min(len(terms), 1) {
			t.Fatalf("%q with the terms %q finds %v", text, terms, found)
		}
		var v Violations
		if err := query.Check(); err != nil && (!errors.As(err, &v) || v[0].Field != "q") {
			t.Fatalf("Check = %v", err)
		}
	})
}
