package app_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"caravan/internal/id"
	"caravan/services/products/contract"
	"caravan/services/products/domain"
)

// BenchmarkOrder is what one order of two lines costs products itself, store and sidecars aside.
func BenchmarkOrder(b *testing.B) {
	ctx, s := context.Background(), newStand()
	var skus []string
	for n := range 90 {
		skus = append(skus, fmt.Sprintf("SKU-%02d", n))
		s.sell(b, skus[n], 1_000_000)
	}
	n := 0
	for b.Loop() {
		s.clock.Advance(2 * time.Millisecond)
		order := id.Random{}.New()
		lines := []contract.Line{line(skus[n%90], 1), line(skus[(n+7)%90], 1)}
		got, err := s.Reserve.Do(ctx, contract.Reserve{OrderID: order, Lines: lines, PlacedAt: s.clock.Now()})
		if err != nil || got.Outcome != contract.OutcomeReserved {
			b.Fatal(got, err)
		}
		if _, err := s.Commit.Do(ctx, contract.Commit{OrderID: order, SKUs: []string{lines[0].SKU, lines[1].SKU}, PlacedAt: s.clock.Now()}); err != nil {
			b.Fatal(err)
		}
		n++
	}
}

// BenchmarkRead is what reading one product and one page of the catalogue costs.
func BenchmarkRead(b *testing.B) {
	ctx, s := context.Background(), newStand()
	for n := range 90 {
		s.sell(b, fmt.Sprintf("SKU-%02d", n), 10)
	}
	b.Run("product", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Get.Do(ctx, "SKU-42"); err != nil {
				b.Fatal(err)
			}
		}
	})
	for name, query := range map[string]domain.Query{"page": {}, "search": {Text: "product thing"}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if items, _, err := s.List.Do(ctx, query, 20, ""); err != nil || len(items) != 20 {
					b.Fatal(len(items), err)
				}
			}
		})
	}
}
