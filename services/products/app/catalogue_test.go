package app_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"caravan/internal/document/documenttest"
	"caravan/internal/problem"
	"caravan/services/products/app"
	"caravan/services/products/contract"
	"caravan/services/products/domain"
)

func list(t *testing.T, shop *shop, q domain.Query) []string {
	t.Helper()
	skus := []string{}
	for cursor := ""; ; {
		items, next, err := shop.List.Do(context.Background(), q, 3, cursor)
		if err != nil {
			t.Fatalf("listing: %v", err)
		}
		for _, item := range items {
			skus = append(skus, item.Product.SKU)
		}
		if cursor = next; cursor == "" {
			return skus
		}
	}
}

func TestWhatIsCreatedCanBeReadListedAndFoundAtOnce(t *testing.T) {
	ctx, s := context.Background(), newStand()
	var want []string
	for n := range 10 {
		sku := fmt.Sprintf("SKU-%d", n)
		s.sell(t, sku, int64(n))
		want = append(want, sku)
		item, err := s.Get.Do(ctx, sku)
		if err != nil || item.Level.OnHand != int64(n) || item.Product.Name != "Product "+sku {
			t.Fatalf("%s is %+v, %v", sku, item, err)
		}
		if got := list(t, s.shop, domain.Query{}); !slices.Equal(got, want) {
			t.Fatalf("the list is %v; want %v", got, want)
		}
	}
	if got := list(t, s.replica(), domain.Query{Text: "product sku", Category: "things"}); !slices.Equal(got, want) {
		t.Errorf("another replica finds %v", got)
	}
	if _, err := s.Create.Do(ctx, domain.Draft{SKU: "SKU-3", Name: "x", Category: "things", Price: eur(1)}); !errors.Is(err, domain.ErrExists) {
		t.Errorf("creating twice: %v", err)
	}
	for _, sku := range []string{"NONE", "not a SKU", ""} {
		if _, err := s.Get.Do(ctx, sku); !errors.Is(err, domain.ErrNoProduct) {
			t.Errorf("product %q: %v", sku, err)
		}
	}
}

func TestAChangeShowsAtOnceHereAndWithinASecondElsewhere(t *testing.T) {
	ctx, s := context.Background(), newStand()
	s.sell(t, "CUP-1", 5)
	other := s.replica()
	if _, err := other.Get.Do(ctx, "CUP-1"); err != nil {
		t.Fatal(err)
	}
	name, category, price := "Blue Mug", "mugs", eur(777)
	item, err := s.Change.Do(ctx, "CUP-1", domain.Change{Name: &name, Category: &category, Price: &price})
	if err != nil || item.Product.Version != 2 {
		t.Fatalf("%+v, %v", item, err)
	}
	if _, err := s.Correct.Do(ctx, "CUP-1", domain.Correction{Change: 3, Reason: "delivery"}); err != nil {
		t.Fatal(err)
	}
	check := func(who string, shop *shop) {
		t.Helper()
		item, err := shop.Get.Do(ctx, "CUP-1")
		if err != nil || item.Product.Price != price || item.Level.Available() != 8 {
			t.Errorf("%s shows %+v, %v", who, item, err)
		}
		if got := list(t, shop, domain.Query{Category: "mugs", Text: "blue"}); len(got) != 1 {
			t.Errorf("%s finds %v", who, got)
		}
		if got := list(t, shop, domain.Query{Category: "things"}); len(got) != 0 {
			t.Errorf("%s still lists %v", who, got)
		}
	}
	check("this replica", s.shop)
	s.clock.Advance(time.Second)
	check("the other replica", other)

	again, err := s.Change.Do(ctx, "CUP-1", domain.Change{Name: &name})
	if err != nil || again.Product.Version != 2 {
		t.Errorf("a change of nothing gives %+v, %v", again.Product, err)
	}
	inactive := domain.Inactive
	if _, err := s.Change.Do(ctx, "CUP-1", domain.Change{Status: &inactive}); err != nil {
		t.Fatal(err)
	}
	if got := list(t, s.shop, domain.Query{}); len(got) != 0 {
		t.Errorf("an inactive product is listed: %v", got)
	}
	if item, err := s.Get.Do(ctx, "CUP-1"); err != nil || item.Product.Status != domain.Inactive {
		t.Errorf("an inactive product reads %+v, %v", item, err)
	}
	if _, err := s.Change.Do(ctx, "NONE", domain.Change{}); !errors.Is(err, domain.ErrNoProduct) {
		t.Errorf("changing nothing at all: %v", err)
	}
	product, err := s.documents.Products.Get(ctx, "CUP-1")
	if err != nil {
		t.Fatal(err)
	}
	var types []string
	for _, e := range product.Timeline {
		types = append(types, e.Type+" "+e.ID)
	}
	want := []string{contract.EventCreated + " products/CUP-1/1", contract.EventChanged + " products/CUP-1/2", contract.EventChanged + " products/CUP-1/3"}
	if !slices.Equal(types, want) {
		t.Errorf("events are %v; want %v", types, want)
	}
}

func TestTheCatalogueReadsTheStoreOnceASecond(t *testing.T) {
	ctx, s := context.Background(), newStand()
	for n := range 20 {
		s.sell(t, fmt.Sprintf("SKU-%02d", n), 5)
	}
	shop := s.replica()
	var mu sync.Mutex
	reads := 0
	s.store.BeforeGet(func([]string) error {
		mu.Lock()
		defer mu.Unlock()
		reads++
		return nil
	})
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			for n := range 20 {
				if _, err := shop.Get.Do(ctx, fmt.Sprintf("SKU-%02d", n)); err != nil {
					t.Error(err)
				}
			}
			if items, _, err := shop.List.Do(ctx, domain.Query{}, 20, ""); err != nil || len(items) != 20 {
				t.Errorf("%d items, %v", len(items), err)
			}
		})
	}
	all.Wait()
	if reads > 2+2*20 {
		t.Errorf("%d reads of the store", reads)
	}
	for range 100 { // made-up SKUs cost nothing
		if _, err := shop.Get.Do(ctx, "NONE"); !errors.Is(err, domain.ErrNoProduct) {
			t.Fatal(err)
		}
	}
	if reads > 2+2*20 {
		t.Errorf("%d reads of the store", reads)
	}
}

func TestTheCatalogueStaysUpForAWhileWithoutItsStore(t *testing.T) {
	ctx, s := context.Background(), newStand()
	s.sell(t, "CUP-1", 5)
	if _, err := s.Get.Do(ctx, "CUP-1"); err != nil {
		t.Fatal(err)
	}
	away := errors.New("the store is away")
	attempts := 0
	s.store.BeforeGet(func([]string) error { attempts++; return away })
	s.clock.Advance(5 * time.Second)
	for range 10 {
		if item, err := s.Get.Do(ctx, "CUP-1"); err != nil || item.Product.SKU != "CUP-1" {
			t.Fatalf("after five seconds: %+v, %v", item, err)
		}
	}
	if attempts > 2 {
		t.Errorf("%d attempts at the store within a second", attempts)
	}
	s.clock.Advance(app.StaleIfError)
	if _, err := s.Get.Do(ctx, "CUP-1"); !errors.Is(err, away) {
		t.Errorf("after half a minute: %v", err)
	}
	s.store.BeforeGet(nil)
	if _, err := s.Get.Do(ctx, "CUP-1"); err != nil {
		t.Errorf("when the store is back: %v", err)
	}
}

func TestTheCatalogueIndexGrowsOverSeveralSegments(t *testing.T) {
	s := newStand()
	var all sync.WaitGroup
	for n := range domain.SegmentSize + 50 {
		all.Go(func() { s.sell(t, fmt.Sprintf("SKU-%04d", n), 1) })
	}
	all.Wait()
	for _, shop := range []*shop{s.shop, s.replica()} {
		if found := list(t, shop, domain.Query{}); len(found) != domain.SegmentSize+50 {
			t.Errorf("%d products", len(found))
		}
	}
	if keys := s.store.Keys(); !slices.Contains(keys, "directory/1") || slices.Contains(keys, "directory/2") {
		t.Error("the products are not in two segments")
	}
}

// A process may die between any two writes of a create or change. Afterwards the create can be repeated, and what it
// left behind is repaired.
func TestACrashAnywhereInACreateHeals(t *testing.T) {
	ctx := context.Background()
	draft := domain.Draft{SKU: "CUP-1", Name: "Cup", Description: "A cup.", Category: "things", Price: eur(1000), InitialStock: 7}
	for writes := 0; ; writes++ {
		s := newStand()
		_, err := s.mortal(writes, func(string) bool { return true }).Create.Do(ctx, draft)
		if err == nil {
			if writes < 4 {
				t.Fatalf("a create took %d writes only", writes)
			}
			return
		}
		next := s.replica()
		if _, err := next.Create.Do(ctx, draft); err != nil && !errors.Is(err, domain.ErrExists) {
			t.Fatalf("repeating after %d writes: %v", writes, err)
		}
		if err := next.Reconcile.Run(ctx); err != nil {
			t.Fatalf("reconciling after %d writes: %v", writes, err)
		}
		item, err := next.Get.Do(ctx, "CUP-1")
		if err != nil || item.Level.OnHand != 7 {
			t.Errorf("after %d writes the product is %+v, %v", writes, item, err)
		}
		if got := list(t, s.replica(), domain.Query{Text: "cup"}); len(got) != 1 {
			t.Errorf("after %d writes the search finds %v", writes, got)
		}
		s.audit(t)
	}
}

func TestReconcileRepairsAndThenHasNothingToDo(t *testing.T) {
	ctx, s := context.Background(), newStand()
	s.sell(t, "CUP-1", 5)
	// A change whose process died before it showed.
	name := "Mug"
	_, err := s.documents.Products.Update(ctx, "CUP-1", func(p *domain.Product) error {
		_, err := p.Apply(domain.Change{Name: &name}, noon)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	// A segment whose process died before it announced it.
	_, err = s.documents.Segments().Update(ctx, "1", func(d *domain.CatalogueSegment) error {
		_, err := d.Add(domain.Entry{SKU: "GHOST", Name: "Ghost", Category: "things", Version: 1})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	shop := s.replica()
	if err := shop.Reconcile.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if got := list(t, shop, domain.Query{Text: "mug"}); !slices.Equal(got, []string{"CUP-1"}) {
		t.Errorf("found %v", got)
	}
	known, err := s.replica().Get.Shop.Known(ctx)
	if err != nil || !slices.Equal(known.SKUs("", 3), []string{"CUP-1", "GHOST"}) {
		t.Errorf("another replica knows %v, %v", known.SKUs("", 3), err)
	}
	if got := list(t, shop, domain.Query{}); !slices.Equal(got, []string{"CUP-1"}) {
		t.Errorf("a product that never came is listed: %v", got)
	}
	s.store.BeforePut(func(key string, _ []byte) error {
		t.Errorf("the second time %s is written", key)
		return nil
	})
	if err := shop.Reconcile.Run(ctx); err != nil {
		t.Fatal(err)
	}
	s.store.BeforePut(nil)
	s.audit(t)
}

func TestCorrectStock(t *testing.T) {
	ctx, s := context.Background(), newStand()
	s.sell(t, "CUP-1", 5)
	first := domain.Correction{Key: "first", Change: 10, Reason: "delivery"}
	for range 2 {
		if got, err := s.Correct.Do(ctx, "CUP-1", first); err != nil || got != (domain.Level{OnHand: 15}) {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	for n := range 2 * domain.KeepCorrections { // until the first has left the document
		if _, err := s.Correct.Do(ctx, "CUP-1", domain.Correction{Key: fmt.Sprint(n), Change: 1, Reason: "counted"}); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.replica().Correct.Do(ctx, "CUP-1", first); err != nil || got != (domain.Level{OnHand: 15}) {
		t.Errorf("an old repeat gives %+v, %v", got, err)
	}
	s.wantLevel(t, "CUP-1", 15+2*domain.KeepCorrections, 0)
	if _, err := s.Correct.Do(ctx, "NONE", first); !errors.Is(err, domain.ErrNoProduct) {
		t.Errorf("correcting nothing: %v", err)
	}
	var v domain.Violations
	if _, err := s.Correct.Do(ctx, "CUP-1", domain.Correction{}); !errors.As(err, &v) || len(v) != 2 {
		t.Errorf("an empty correction: %v", err)
	}
	if e := s.stock(t, "CUP-1").Timeline; len(e) == 0 || e[len(e)-1].Type != contract.EventStockCorrected {
		t.Errorf("the timeline is %v", e)
	}
}

func TestSweep(t *testing.T) {
	ctx, s := context.Background(), newStand()
	s.sell(t, "CUP-1", 50)
	statuses := map[string]string{"rejected": "rejected", "cancelled": "cancelled", "capturing": "capturing", "placed": "placed", "confirmed": "confirmed", "cancelling": "cancelling"}
	for id := range statuses {
		if _, err := s.Reserve.Do(ctx, reserving(id, line("CUP-1", 1))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Reserve.Do(ctx, reserving("unknown", line("CUP-1", 1))); err != nil {
		t.Fatal(err)
	}
	s.orders.statuses = statuses
	sweep := func(wantReserved int64) {
		t.Helper()
		if err := s.Sweep.Run(ctx); err != nil {
			t.Fatal(err)
		}
		s.wantLevel(t, "CUP-1", 50, wantReserved)
	}
	sweep(7) // nothing is overdue
	s.clock.Advance(31 * time.Minute)
	s.orders.away = true
	sweep(7) // orders does not answer: all are kept
	s.orders.away = false
	sweep(7) // and not asked for again at once
	s.clock.Advance(app.Extension)
	sweep(4) // rejected, cancelled and unknown are gone
	s.clock.Advance(24 * time.Hour)
	sweep(4) // the others are kept for as long as their orders live
	commit, _ := s.ending("capturing", "CUP-1")
	if got, err := s.Commit.Do(ctx, commit); err != nil || got.Outcome != contract.OutcomeCommitted {
		t.Errorf("a late commit: %+v, %v", got, err)
	}
	if got, err := s.Reserve.Do(ctx, reserving("unknown", line("CUP-1", 1))); err != nil || got.Outcome != contract.OutcomeReleased {
		t.Errorf("a late reserve: %+v, %v", got, err)
	}
	s.audit(t)
}

// A stock that can not be read keeps its own reservations and nobody else's; a store that is away is not asked SKU by SKU.
func TestSweepGoesPastAStockThatCanNotBeRead(t *testing.T) {
	ctx, s := context.Background(), newStand()
	var reads atomic.Int64
	var spoilt atomic.Value // begins the keys that cannot be read; "" for none
	spoilt.Store("")
	// It is set before the first write, because a repository still reads ahead after a write has been answered.
	s.store.BeforeGet(func(keys []string) error {
		prefix := spoilt.Load().(string)
		if prefix != "" && slices.ContainsFunc(keys, func(key string) bool { return strings.HasPrefix(key, prefix) }) {
			reads.Add(1)
			return documenttest.ErrInjected
		}
		return nil
	})
	for _, sku := range []string{"CUP-1", "CUP-2", "CUP-3", "CUP-4", "CUP-5"} {
		s.sell(t, sku, 50)
		if _, err := s.Reserve.Do(ctx, reserving("order-"+sku, line(sku, 1))); err != nil {
			t.Fatal(err)
		}
	}
	s.clock.Advance(31 * time.Minute)
	spoilt.Store("stock/CUP-2")
	if err := s.Sweep.Run(ctx); !errors.Is(err, documenttest.ErrInjected) || !strings.Contains(err.Error(), "CUP-2") {
		t.Errorf("swept: %v", err)
	}
	for _, sku := range []string{"CUP-1", "CUP-3", "CUP-4", "CUP-5"} {
		s.wantLevel(t, sku, 50, 0)
	}
	reads.Store(0)
	spoilt.Store("stock/")
	if err := s.Sweep.Run(ctx); err == nil || reads.Load() > 1+app.InARow {
		t.Errorf("a store that is away was asked %d times: %v", reads.Load(), err)
	}
	spoilt.Store("")
	if err := s.Sweep.Run(ctx); err != nil {
		t.Fatal(err)
	}
	s.wantLevel(t, "CUP-2", 50, 0)
	s.audit(t)
}

// Whatever text comes as a cursor, it is a page of this list or a problem that names the cursor.
func FuzzCursor(f *testing.F) {
	s := newStand()
	for n := range 8 {
		s.sell(f, fmt.Sprintf("SKU-%d", n), 1)
	}
	_, next, err := s.List.Do(context.Background(), domain.Query{}, 2, "")
	if err != nil || next == "" {
		f.Fatal(next, err)
	}
	for _, seed := range []string{"", next, next[1:], "e30", "bnVsbA", strings.Repeat("A", 600), "{}", "\x00"} {
		f.Add(seed, "")
		f.Add(seed, "product")
	}
	f.Fuzz(func(t *testing.T, cursor, text string) {
		items, next, err := s.List.Do(context.Background(), domain.Query{Text: text}, 3, cursor)
		var p *problem.Problem
		var v domain.Violations
		switch {
		case errors.As(err, &v):
		case errors.As(err, &p):
			if p.Status != 400 || p.Errors[0].Field != "cursor" {
				t.Fatalf("problem %v", p)
			}
		case err != nil:
			t.Fatalf("%v", err)
		case len(items) > 3 || next != "" && len(items) == 0:
			t.Fatalf("%d items and %q", len(items), next)
		}
	})
}

// A product that leaves the cache while it is read is not taken for one that does not exist.
func TestAFullCacheHidesNoProduct(t *testing.T) {
	s := newStand()
	for n := range 5 {
		s.sell(t, fmt.Sprintf("SKU-%d", n), 1)
	}
	reader := s.replica()
	reader.shared.LimitCache(1)
	for range 3 {
		if got := list(t, reader, domain.Query{}); len(got) != 5 {
			t.Errorf("%d of 5 products are listed: %v", len(got), got)
		}
	}
}
