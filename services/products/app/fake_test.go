package app_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	pages "caravan/internal/audit"
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

// fakeOrders knows the statuses of some orders, or does not answer.
type fakeOrders struct {
	statuses map[string]string
	away     bool
}

func (o *fakeOrders) Statuses(context.Context, []string) (map[string]string, error) {
	if o.away {
		return nil, errors.New("orders is away")
	}
	return o.statuses, nil
}

// shop is one process with all use cases.
type shop struct {
	documents *app.Documents
	shared    *app.Shop
	Create    app.CreateProduct
	Change    app.ChangeProduct
	Correct   app.CorrectStock
	Get       app.GetProduct
	List      app.ListProducts
	Reserve   app.ReserveStock
	Commit    app.CommitStock
	Release   app.ReleaseStock
	Sweep     app.Sweep
	Reconcile app.Reconcile
	Watch     app.WatchProduct
	Unwatch   app.UnwatchProduct
	Watches   app.ListWatches
	Inform    app.InformWatchers
}

// stand is a shop over a store in memory.
type stand struct {
	*shop
	store  *documenttest.FakeStore
	clock  *clocktest.Clock
	orders *fakeOrders
}

func newStand() *stand {
	s := &stand{store: documenttest.NewStore(), clock: clocktest.At(noon), orders: &fakeOrders{statuses: map[string]string{}}}
	s.shop = s.replica()
	return s
}

// replica is another process over the same store.
func (s *stand) replica() *shop { return s.over(s.store, s.clock) }

func (s *stand) over(store document.Store, clk clock.Clock) *shop {
	documents := app.NewDocuments(store, document.Options{
		Source: contract.App, Clock: clk, IDs: id.Random{}, Index: feed.NewIndex(store, clk, feed.DefaultTiming(), "stand"),
	})
	documents.LowStock = 5
	shared := app.NewShop(documents, clk, time.Second)
	drops := app.NewPriceDrops(shared, time.Second, slog.New(slog.DiscardHandler))
	return &shop{
		documents: documents, shared: shared,
		Create: app.CreateProduct{Shop: shared, Currency: "EUR"}, Change: app.ChangeProduct{Shop: shared, Drops: drops}, Correct: app.CorrectStock{Shop: shared},
		Get: app.GetProduct{Shop: shared}, List: app.ListProducts{Shop: shared},
		Reserve: app.ReserveStock{Shop: shared, Currency: "EUR", TTL: 30 * time.Minute},
		Commit:  app.CommitStock{Shop: shared}, Release: app.ReleaseStock{Shop: shared},
		Sweep:     app.Sweep{Shop: shared, Orders: s.orders, Log: slog.New(slog.DiscardHandler)},
		Reconcile: app.Reconcile{Shop: shared, Drops: drops},
		Watch:     app.WatchProduct{Shop: shared, Most: 3}, Unwatch: app.UnwatchProduct{Shop: shared},
		Watches: app.ListWatches{Shop: shared}, Inform: app.InformWatchers{Shop: shared},
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
	_, err := s.Create.Do(context.Background(), domain.Draft{
		SKU: sku, Name: "Product " + sku, Description: "A thing.", Category: "things", Price: eur(1000), InitialStock: stock,
	})
	if err != nil {
		t.Fatalf("creating %s: %v", sku, err)
	}
}

func (s *stand) stock(t fataler, sku string) *domain.Stock {
	t.Helper()
	stock, err := s.documents.Stocks.Get(context.Background(), sku)
	if err != nil {
		t.Fatalf("reading the stock of %s: %v", sku, err)
	}
	return stock
}

func (s *stand) wantLevel(t *testing.T, sku string, onHand, reserved int64) {
	t.Helper()
	if got := s.stock(t, sku).Level(); got != (domain.Level{OnHand: onHand, Reserved: reserved}) {
		t.Errorf("%s has %d on hand, %d reserved; want %d, %d", sku, got.OnHand, got.Reserved, onHand, reserved)
	}
}

// audit runs all pages, fails the test on a finding, and returns the holds by SKU and order.
func (s *stand) audit(t fataler) map[string]contract.OrderHold {
	t.Helper()
	holds := make(map[string]contract.OrderHold)
	a := audit.Audit{
		Documents: s.documents, Clock: s.clock, OpenWithin: 11 * time.Minute,
		Trail: feed.Trail{Store: s.store, Source: contract.App, Coverage: feed.NewCoverage(feed.NewReader(s.store, s.clock, feed.DefaultTiming()))},
	}
	for cursor := ""; ; {
		p, err := a.Page(context.Background(), pages.Request{Cursor: cursor})
		if err != nil {
			t.Fatalf("auditing: %v", err)
		}
		if len(p.Findings) > 0 {
			t.Fatalf("the audit finds %v", p.Findings)
		}
		for _, h := range p.Holds {
			if earlier, twice := holds[h.SKU+" "+h.OrderID]; twice {
				t.Fatalf("order %s holds %s twice: %v, %v", h.OrderID, h.SKU, earlier, h)
			}
			holds[h.SKU+" "+h.OrderID] = h
		}
		if cursor = p.Next; cursor == "" {
			return holds
		}
	}
}

func line(sku string, quantity int64) contract.Line {
	return contract.Line{SKU: sku, Quantity: quantity}
}

func reserving(orderID string, lines ...contract.Line) contract.Reserve {
	return contract.Reserve{OrderID: orderID, Lines: lines, PlacedAt: noon.Add(time.Minute)}
}

func (s *stand) ending(orderID string, skus ...string) (contract.Commit, contract.Release) {
	return contract.Commit{OrderID: orderID, SKUs: skus, PlacedAt: noon.Add(time.Minute)},
		contract.Release{OrderID: orderID, SKUs: skus, PlacedAt: noon.Add(time.Minute)}
}
