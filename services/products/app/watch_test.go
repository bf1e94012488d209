package app_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"caravan/internal/clock"
	"caravan/internal/document/documenttest"
	"caravan/services/products/app"
	"caravan/services/products/contract"
	"caravan/services/products/domain"
)

func (s *stand) watch(t fataler, userID, sku string) {
	t.Helper()
	if _, err := s.Watch.Do(context.Background(), userID, sku); err != nil {
		t.Fatalf("%s watches %s: %v", userID, sku, err)
	}
}

func (s *stand) price(t fataler, sku string, cents int64) {
	t.Helper()
	price := eur(cents)
	if _, err := s.Change.Do(context.Background(), sku, domain.Change{Price: &price}); err != nil {
		t.Fatalf("changing the price of %s: %v", sku, err)
	}
}

// told are the messages to each watcher of a product so far, such as "1000>900".
func (s *stand) told(t fataler, sku string) map[string][]string {
	t.Helper()
	told := make(map[string][]string)
	for bucket := range domain.WatchBuckets {
		w, err := s.documents.Watchers.GetMany(context.Background(), fmt.Sprintf("%s/%d", sku, bucket))
		if err != nil {
			t.Fatalf("reading watchers: %v", err)
		}
		for _, one := range w {
			for _, e := range one.Timeline {
				var fact contract.PriceDropped
				if err := e.Decode(&fact); err != nil || e.Type != contract.EventPriceDropped || fact.SKU != sku || len(fact.UserIDs) > contract.MaxDropUsers {
					t.Fatalf("an event %+v: %v", e, err)
				}
				for _, userID := range fact.UserIDs {
					told[userID] = append(told[userID], fmt.Sprintf("%d>%d", fact.Old.Amount, fact.New.Amount))
				}
			}
		}
	}
	return told
}

func (s *stand) inform(t fataler, sku string) {
	t.Helper()
	if err := s.Inform.Do(context.Background(), sku); err != nil {
		t.Fatalf("informing the watchers of %s: %v", sku, err)
	}
}

func TestAWatcherHearsOfLowerPricesOnly(t *testing.T) {
	s := newStand()
	s.sell(t, "TEA", 10)
	s.price(t, "TEA", 900) // nobody watches yet
	s.watch(t, "ada", "TEA")
	s.watch(t, "ada", "TEA") // a repeat
	s.inform(t, "TEA")
	steps := []struct {
		price    int64
		ada, bob string
	}{
		{800, "[900>800]", "[]"},
		{800, "[900>800]", "[]"},
		{1200, "[900>800]", "[]"}, // bob begins to watch here
		{1000, "[900>800]", "[1200>1000]"},
		{950, "[900>800]", "[1200>1000 1000>950]"},
		{700, "[900>800 950>700]", "[1200>1000 1000>950 950>700]"},
	}
	for i, step := range steps {
		s.price(t, "TEA", step.price)
		if step.price == 1200 {
			s.watch(t, "bob", "TEA")
		}
		for range 2 {
			s.inform(t, "TEA")
		}
		told := s.told(t, "TEA")
		if fmt.Sprint(told["ada"]) != step.ada || fmt.Sprint(told["bob"]) != step.bob {
			t.Fatalf("after step %d: %v", i, told)
		}
	}
	if err := s.Unwatch.Do(t.Context(), "ada", "TEA"); err != nil {
		t.Fatal(err)
	}
	s.price(t, "TEA", 600)
	s.inform(t, "TEA")
	if told := s.told(t, "TEA"); len(told["ada"]) != 2 || len(told["bob"]) != 4 {
		t.Fatalf("after the end of a watch: %v", told)
	}
}

func TestAProductThatCannotBeBoughtHasNoDrop(t *testing.T) {
	s := newStand()
	s.sell(t, "TEA", 10)
	s.watch(t, "ada", "TEA")
	status := domain.Inactive
	price := eur(500)
	if _, err := s.Change.Do(t.Context(), "TEA", domain.Change{Status: &status, Price: &price}); err != nil {
		t.Fatal(err)
	}
	s.inform(t, "TEA")
	if told := s.told(t, "TEA"); len(told) != 0 {
		t.Fatalf("told %v", told)
	}
	status = domain.Active
	if _, err := s.Change.Do(t.Context(), "TEA", domain.Change{Status: &status}); err != nil {
		t.Fatal(err)
	}
	s.inform(t, "TEA")
	if told := s.told(t, "TEA"); fmt.Sprint(told["ada"]) != "[1000>500]" {
		t.Fatalf("told %v", told)
	}
}

func TestWatchesAreListedAndBounded(t *testing.T) {
	s := newStand()
	for i := range 5 {
		s.sell(t, fmt.Sprintf("TEA-%d", i), 10)
		s.clock.Advance(time.Second)
	}
	for _, i := range []int{0, 1, 2} {
		s.watch(t, "ada", fmt.Sprintf("TEA-%d", i))
		s.clock.Advance(time.Second)
	}
	if _, err := s.Watch.Do(t.Context(), "ada", "TEA-3"); !errors.Is(err, domain.ErrTooManyWatches) {
		t.Errorf("one more than the limit: %v", err)
	}
	if _, err := s.Watch.Do(t.Context(), "bob", "TEA-9"); !errors.Is(err, domain.ErrNoProduct) {
		t.Errorf("an unknown product: %v", err)
	}
	if err := s.Unwatch.Do(t.Context(), "bob", "TEA-9"); !errors.Is(err, domain.ErrNoProduct) {
		t.Errorf("the end of the watch of an unknown product: %v", err)
	}
	if err := s.Unwatch.Do(t.Context(), "bob", "TEA-1"); err != nil {
		t.Errorf("the end of no watch: %v", err)
	}
	if err := s.Unwatch.Do(t.Context(), "ada", "TEA-1"); err != nil {
		t.Fatal(err)
	}
	s.watch(t, "ada", "TEA-4")
	var listed []string
	for cursor := ""; ; {
		page, next, err := s.Watches.Do(t.Context(), "ada", cursor, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range page {
			listed = append(listed, fmt.Sprint(w.Product.SKU, " ", w.Known.Amount))
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	if fmt.Sprint(listed) != "[TEA-4 1000 TEA-2 1000 TEA-0 1000]" {
		t.Errorf("listed %v", listed)
	}
	if page, next, err := s.Watches.Do(t.Context(), "bob", "", 2); err != nil || len(page) != 0 || next != "" {
		t.Errorf("the list of one who watches nothing: %v, %q, %v", page, next, err)
	}
}

// A process dies at each of its writes while a watch begins, and while watchers are informed. What was not completed does not count,
// and a repeat completes it.
func TestACrashAnywhereInformsEachWatcherOnce(t *testing.T) {
	users := []string{"ada", "bob", "eve", "joe", "kim"}
	for n := range 60 {
		s := newStand()
		s.sell(t, "TEA", 10)
		for _, userID := range users[:4] {
			s.watch(t, userID, "TEA")
		}
		crashed := false
		replica := &documenttest.Replica{Store: s.store, Name: "mortal", Time: s.clock.Now, Left: n}
		mortal := s.over(replica, replica)
		_, err := mortal.Watch.Do(t.Context(), "kim", "TEA")
		if err != nil {
			crashed = true
			list, _, listErr := s.replica().Watches.Do(t.Context(), "kim", "", 10)
			if listErr != nil || len(list) > 0 {
				t.Fatalf("crash %d: a watch that was not completed is listed: %v, %v", n, list, listErr)
			}
			s.watch(t, "kim", "TEA")
		}
		price := eur(500)
		if _, err := s.Change.Do(t.Context(), "TEA", domain.Change{Price: &price}); err != nil {
			t.Fatal(err)
		}
		if err := mortal.Inform.Do(t.Context(), "TEA"); err != nil {
			crashed = true
		}
		for range 2 {
			s.inform(t, "TEA")
		}
		told := s.told(t, "TEA")
		for _, userID := range users {
			if fmt.Sprint(told[userID]) != "[1000>500]" {
				t.Fatalf("crash %d: %v", n, told)
			}
		}
		if !crashed {
			return
		}
	}
	t.Fatal("the process still dies at its 60th write")
}

// Ten thousand watchers are spread over documents of a bounded size.
func TestTenThousandWatchers(t *testing.T) {
	s := newStand()
	s.sell(t, "TEA", 10)
	const watchers = 10_000
	buckets := make(map[int][]string)
	for i := range watchers { // as WatchProduct writes them, many in one write
		userID := fmt.Sprintf("user-%05d", i)
		bucket := domain.WatchBucket(userID)
		buckets[bucket] = append(buckets[bucket], userID)
		if _, err := s.documents.Watchlists.Update(t.Context(), userID, func(l *domain.Watchlist) error { return l.Add("TEA", 1, noon) }); err != nil {
			t.Fatal(err)
		}
	}
	for bucket, users := range buckets {
		if _, err := s.documents.Products.Update(t.Context(), "TEA", func(p *domain.Product) error { return p.Watch(bucket, noon) }); err != nil {
			t.Fatal(err)
		}
		_, err := s.documents.Watchers.Update(t.Context(), app.WatchersID("TEA", bucket), func(w *domain.Watchers) error {
			for _, userID := range users {
				if err := w.Add(userID, 1000); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	s.price(t, "TEA", 500)
	s.inform(t, "TEA")
	informed := make(map[string]int)
	for _, key := range s.store.Keys() {
		if !strings.HasPrefix(key, "watchers/") {
			continue
		}
		records, err := s.store.Get(t.Context(), key)
		if err != nil || len(records[key].Value) > 64<<10 {
			t.Errorf("%s has %d bytes, %v", key, len(records[key].Value), err)
		}
	}
	for userID, told := range s.told(t, "TEA") {
		informed[userID] += len(told)
	}
	if len(informed) != watchers {
		t.Errorf("%d watchers are informed", len(informed))
	}
	for userID, times := range informed {
		if times != 1 {
			t.Fatalf("%s is informed %d times", userID, times)
		}
	}
}

func TestABucketIsBounded(t *testing.T) {
	w := new(domain.Watchers)
	for i := range domain.MaxWatchers {
		if err := w.Add(fmt.Sprint("u", i), 100); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Add("another", 100); !errors.Is(err, domain.ErrTooManyWatchers) {
		t.Errorf("one more: %v", err)
	}
}

// The worker informs watchers some time after a change, of the last of several prices. Reconcile finds what it did not hear of.
func TestPriceDropsFoldABurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand()
		s.shop = s.over(s.store, clock.System{})
		s.sell(t, "TEA", 10)
		s.sell(t, "JAM", 10)
		s.watch(t, "ada", "TEA")
		s.watch(t, "ada", "JAM")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Change.Drops.Run(ctx) }()
		for _, price := range []int64{900, 700, 800} {
			s.price(t, "TEA", price)
		}
		later := []domain.ScheduledPrice{{EffectiveFrom: time.Now().Add(time.Minute), Price: eur(300)}}
		if _, err := s.Change.Do(t.Context(), "JAM", domain.Change{Schedule: &later}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if told := s.told(t, "TEA"); fmt.Sprint(told["ada"]) != "[1000>800]" {
			t.Errorf("told %v", told)
		}
		time.Sleep(time.Hour)
		if err := s.Reconcile.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if told := s.told(t, "JAM"); fmt.Sprint(told["ada"]) != "[1000>300]" {
			t.Errorf("after a scheduled price: %v", told)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// lows are the numbers of available units that a stock reported as low.
func (s *stand) lows(t fataler, sku string) []int64 {
	t.Helper()
	var lows []int64
	for _, e := range s.stock(t, sku).Timeline {
		var fact contract.StockLow
		if e.Type != contract.EventStockLow {
			continue
		}
		if err := e.Decode(&fact); err != nil || fact.SKU != sku || fact.Threshold != 5 {
			t.Fatalf("an event %+v: %v", e, err)
		}
		lows = append(lows, fact.Available)
	}
	return lows
}

func TestLowStockIsReportedOncePerCrossing(t *testing.T) {
	s := newStand()
	s.sell(t, "TEA", 7)
	order := 0
	buy := func(units int64) string {
		order++
		id := fmt.Sprint("order-", order)
		r, err := s.Reserve.Do(t.Context(), contract.Reserve{OrderID: id, PlacedAt: s.clock.Now(), Lines: []contract.Line{{SKU: "TEA", Quantity: units}}})
		if err != nil || r.Outcome != contract.OutcomeReserved {
			t.Fatalf("reserving: %v, %v", r, err)
		}
		return id
	}
	giveBack := func(id string) {
		if _, err := s.Release.Do(t.Context(), contract.Release{OrderID: id, SKUs: []string{"TEA"}, PlacedAt: s.clock.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	correct := func(change int64) {
		if _, err := s.Correct.Do(t.Context(), "TEA", domain.Correction{Change: change, Reason: "counted"}); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(when string, want ...int64) {
		t.Helper()
		if got := s.lows(t, "TEA"); !slices.Equal(got, want) {
			t.Fatalf("%s: reported at %v; want %v", when, got, want)
		}
	}
	buy(2)
	expect("at the threshold")
	last := buy(1)
	expect("below it", 4)
	buy(1)
	giveBack(last) // 4
	giveBack(buy(2))
	expect("orders that fail around the threshold are no crossing", 4)
	correct(2) // 6
	buy(2)
	expect("again after staff brought it above", 4, 4)
	correct(-1)
	expect("a correction below the threshold is none", 4, 4)
	correct(30)
	giveBack(buy(29))
	expect("one order takes nearly all", 4, 4, 4)
	buy(29)
	expect("and again after twice the threshold was free", 4, 4, 4, 4)
}
