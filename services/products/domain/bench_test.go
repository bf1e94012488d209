package domain

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"caravan/internal/id"
)

// busyStock is a stock as it is on average under load.
func busyStock(tb testing.TB) *Stock {
	s := new(Stock)
	s.Open(created(tb, draft()))
	s.Revision, s.OnHand, s.Received = 1, 1_000_000, 1_000_000
	for n := range 3000 {
		o := Order{ID: id.Random{}.New(), PlacedAt: order(n).PlacedAt}
		if _, _, err := s.Reserve(Claim{Order: o, Quantity: 1, UnitPrice: 1999, ExpiresAt: o.PlacedAt}, nil); err != nil {
			tb.Fatal(err)
		}
		if n < 2990 {
			if _, _, err := s.Commit(o, nil); err != nil {
				tb.Fatal(err)
			}
		}
	}
	s.Sealed = nil // written long ago
	return s
}

func BenchmarkStockDocument(b *testing.B) {
	s := busyStock(b)
	data, err := json.Marshal(s)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			if _, err := json.Marshal(s); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			if err := json.Unmarshal(data, new(Stock)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// holdAsObject is a hold as a JSON object with short names.
type holdAsObject struct {
	OrderID    string `json:"o"`
	Quantity   int64  `json:"q"`
	UnitPrice  int64  `json:"u"`
	State      State  `json:"s"`
	Reason     Reason `json:"r,omitempty"`
	RefusedSKU string `json:"k,omitempty"`
	PlacedAt   int64  `json:"p"`
	ExpiresAt  int64  `json:"e,omitempty"`
}

// BenchmarkHolds compares the stored form of holds with JSON objects.
func BenchmarkHolds(b *testing.B) {
	holds := busyStock(b).Holds
	objects := make([]holdAsObject, len(holds))
	for i, h := range holds {
		objects[i] = holdAsObject(h)
	}
	benchmarkForm(b, "text", holds)
	benchmarkForm(b, "objects", objects)
}

func benchmarkForm[T any](b *testing.B, form string, value T) {
	data, err := json.Marshal(value)
	if err != nil {
		b.Fatal(err)
	}
	b.Run(form+"/encode", func(b *testing.B) {
		for b.Loop() {
			if _, err := json.Marshal(value); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(len(data)), "bytes")
	})
	b.Run(form+"/decode", func(b *testing.B) {
		for b.Loop() {
			if err := json.Unmarshal(data, new(T)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkCatalogue builds, lists and searches the largest catalogue, whose words are as frequent as those of a language.
func BenchmarkCatalogue(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	words := make([]string, 8000)
	for i := range words {
		letters := make([]byte, 3+r.IntN(8))
		for j := range letters {
			letters[j] = byte('a' + r.IntN(26))
		}
		words[i] = string(letters)
	}
	frequency := rand.NewZipf(r, 1.1, 10, uint64(len(words)-1))
	sentence := func(n int) string {
		chosen := make([]string, n)
		for i := range chosen {
			chosen[i] = words[frequency.Uint64()]
		}
		return strings.Join(chosen, " ")
	}
	entries := make([]Entry, SegmentSize*MaxSegments)
	for i := range entries {
		entries[i] = entry(fmt.Sprintf("SKU-%06d", i), sentence(3), fmt.Sprint("category-", i%50), sentence(15))
	}
	catalogue := catalogueOf(entries)
	b.Run("build", func(b *testing.B) {
		for b.Loop() {
			catalogueOf(entries)
		}
	})
	for _, c := range []struct {
		name  string
		query Query
	}{
		{"all", Query{}}, {"category", Query{Category: "category-49"}}, {"name", Query{Text: entries[500].Name}},
		{"rare", Query{Text: words[7000]}}, {"frequent", Query{Text: words[0]}}, {"nothing", Query{Text: "qqqq"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				catalogue.Find(c.query, Start(), 20)
			}
		})
	}
}
