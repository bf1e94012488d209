package audit_test

import (
	"context"
	"testing"
	"time"

	"caravan/internal/clock"
	"caravan/internal/clock/clocktest"
	"caravan/internal/document"
	"caravan/internal/document/documenttest"
	"caravan/internal/feed"
	"caravan/internal/id"
	"caravan/internal/money"
	"caravan/services/products/app"
	"caravan/services/products/audit"
	"caravan/services/products/contract"
	"caravan/services/products/domain"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func eur(cents int64) money.Money { return money.New(cents, "EUR") }

// shop is one process with the use cases that these tests need.
type shop struct {
	shared    *app.Shop
	documents *app.Documents
	create    app.CreateProduct
	correct   app.CorrectStock
	reserve   app.ReserveStock
	commit    app.CommitStock
	release   app.ReleaseStock
	reconcile app.Reconcile
}

// stand is a shop over a store in memory.
type stand struct {
	*shop
	store *documenttest.FakeStore
	clock *clocktest.Clock
}

func newStand() *stand {
	s := &stand{store: documenttest.NewStore(), clock: clocktest.At(noon)}
	s.shop = s.over(s.store, s.clock)
	return s
}

// over is another process over a store.
func (s *stand) over(store document.Store, clk clock.Clock) *shop {
	documents := app.NewDocuments(store, document.Options{
		Source: contract.App, Clock: clk, IDs: id.Random{}, Index: feed.NewIndex(store, clk, feed.DefaultTiming(), "stand"),
	})
	shared := app.NewShop(documents, clk, time.Second)
	return &shop{
		shared: shared, documents: documents,
		create: app.CreateProduct{Shop: shared, Currency: "EUR"}, correct: app.CorrectStock{Shop: shared},
		reserve: app.ReserveStock{Shop: shared, Currency: "EUR", TTL: 30 * time.Minute},
		commit:  app.CommitStock{Shop: shared}, release: app.ReleaseStock{Shop: shared}, reconcile: app.Reconcile{Shop: shared},
	}
}

// auditor is the audit as this process sees the store.
func (s *stand) auditor() audit.Audit {
	return audit.Audit{
		Documents: s.documents, Clock: s.clock, OpenWithin: 11 * time.Minute,
		Trail: feed.Trail{Store: s.store, Source: contract.App, Coverage: feed.NewCoverage(feed.NewReader(s.store, s.clock, feed.DefaultTiming()))},
	}
}

// mortal is a replica that dies when it tries its n-th write (from 0) of a doomed key: nothing it writes from then on
// is stored.
func (s *stand) mortal(n int, doomed func(key string) bool) *shop {
	replica := &documenttest.Replica{Store: s.store, Name: "mortal", Time: s.clock.Now, Left: n + 1, Doomed: doomed}
	return s.over(replica, replica)
}

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// sell puts a product at 10 EUR with a stock into the catalogue.
func (s *stand) sell(t fataler, sku string, stock int64) {
	t.Helper()
	_, err := s.create.Do(context.Background(), domain.Draft{
		SKU: sku, Name: "Product " + sku, Description: "A thing.", Category: "things", Price: eur(1000), InitialStock: stock,
	})
	if err != nil {
		t.Fatalf("creating %s: %v", sku, err)
	}
}

// sound fails the test if the audit finds anything.
func (s *stand) sound(t *testing.T) {
	t.Helper()
	if found := s.audited(t).Findings; len(found) > 0 {
		t.Fatalf("the audit finds %v", found)
	}
}

func reserving(orderID string, lines ...contract.Line) contract.Reserve {
	return contract.Reserve{OrderID: orderID, Lines: lines, PlacedAt: noon.Add(time.Minute)}
}

func line(sku string, quantity int64) contract.Line {
	return contract.Line{SKU: sku, Quantity: quantity}
}
