package domain

import (
	"encoding/json"
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
