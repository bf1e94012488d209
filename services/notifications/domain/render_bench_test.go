package domain_test

import (
	"testing"

	"caravan/services/notifications/domain"
)

func BenchmarkRender(b *testing.B) {
	k, _ := domain.KindNamed("order-confirmed")
	b.Run("entry", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := domain.Render(k, domain.German, sample); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("mail", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := domain.RenderMail(k, domain.German, sample, sampleFrame); err != nil {
				b.Fatal(err)
			}
		}
	})
}
