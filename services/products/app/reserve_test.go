package app_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"caravan/internal/money"
	"caravan/services/products/contract"
	"caravan/services/products/domain"
)

func TestReserve(t *testing.T) {
	ctx := context.Background()
	total := func(cents int64) func(*contract.Reserve) {
		return func(c *contract.Reserve) { m := eur(cents); c.ExpectedTotal = &m }
	}
	for _, c := range []struct {
		name    string
		lines   []contract.Line
		with    func(*contract.Reserve)
		outcome string
		sku     string
		total   int64
		a, b    domain.Level // A-1 has 5 units, B-1 has 3
	}{
		{"one line", []contract.Line{line("A-1", 2)}, nil, contract.OutcomeReserved, "", 2000, domain.Level{OnHand: 5, Reserved: 2}, domain.Level{OnHand: 3}},
		{"several lines", []contract.Line{line("B-1", 1), line("A-1", 5)}, nil, contract.OutcomeReserved, "", 6000, domain.Level{OnHand: 5, Reserved: 5}, domain.Level{OnHand: 3, Reserved: 1}},
		{"the total agreed to", []contract.Line{line("A-1", 2)}, total(2000), contract.OutcomeReserved, "", 2000, domain.Level{OnHand: 5, Reserved: 2}, domain.Level{OnHand: 3}},
		{"the anchor is out of stock", []contract.Line{line("B-1", 1), line("A-1", 6)}, nil, contract.OutcomeOutOfStock, "A-1", 0, domain.Level{OnHand: 5}, domain.Level{OnHand: 3}},
		{"another line is out of stock", []contract.Line{line("A-1", 1), line("B-1", 4)}, nil, contract.OutcomeOutOfStock, "B-1", 0, domain.Level{OnHand: 5}, domain.Level{OnHand: 3}},
		{"another total was agreed to", []contract.Line{line("A-1", 1), line("B-1", 1)}, total(1999), contract.OutcomePriceChanged, "", 2000, domain.Level{OnHand: 5}, domain.Level{OnHand: 3}},
		{"the total agreed to in another currency", []contract.Line{line("A-1", 2)}, func(c *contract.Reserve) { m := money.New(2000, "USD"); c.ExpectedTotal = &m }, contract.OutcomeCurrencyMismatch, "", 0, domain.Level{OnHand: 5}, domain.Level{OnHand: 3}},
		{"an unknown product alone", []contract.Line{line("NONE", 1)}, nil, contract.OutcomeUnknownProduct, "NONE", 0, domain.Level{OnHand: 5}, domain.Level{OnHand: 3}},
		{"an unknown product first", []contract.Line{line("A-0", 1), line("A-1", 1)}, nil, contract.OutcomeUnknownProduct, "A-0", 0, domain.Level{OnHand: 5}, domain.Level{OnHand: 3}},
		{"an unknown product last", []contract.Line{line("A-1", 1), line("NONE", 1)}, nil, contract.OutcomeUnknownProduct, "NONE", 0, domain.Level{OnHand: 5}, domain.Level{OnHand: 3}},
		{"a text that cannot be a SKU", []contract.Line{line("A-1", 1), line("stock/A-1||", 1)}, nil, contract.OutcomeUnknownProduct, "stock/A-1||", 0, domain.Level{OnHand: 5}, domain.Level{OnHand: 3}},
		{"an inactive product", []contract.Line{line("A-1", 1), line("OFF", 1)}, nil, contract.OutcomeUnknownProduct, "OFF", 0, domain.Level{OnHand: 5}, domain.Level{OnHand: 3}},
		{"an order older than the product", []contract.Line{line("A-1", 1)}, func(c *contract.Reserve) { c.PlacedAt = noon.Add(-time.Second) }, contract.OutcomeUnknownProduct, "A-1", 0, domain.Level{OnHand: 5}, domain.Level{OnHand: 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStand()
			s.sell(t, "A-1", 5)
			s.sell(t, "B-1", 3)
			s.sell(t, "OFF", 3)
			inactive := domain.Inactive
			if _, err := s.Change.Do(ctx, "OFF", domain.Change{Status: &inactive}); err != nil {
				t.Fatal(err)
			}
			command := reserving("order", c.lines...)
			if c.with != nil {
				c.with(&command)
			}
			for attempt := range 3 { // the first answer and what its repeats get
				got, err := s.Reserve.Do(ctx, command)
				if err != nil || got.Outcome != c.outcome || got.SKU != c.sku || got.Total.Amount != c.total {
					t.Fatalf("attempt %d gives %+v, %v; want %s %s %d", attempt, got, err, c.outcome, c.sku, c.total)
				}
				if c.total > 0 {
					for i, l := range got.Lines {
						if l.SKU != c.lines[i].SKU || l.Name != "Product "+l.SKU || l.UnitPrice != eur(1000) {
							t.Errorf("line %d is %+v", i, l)
						}
					}
				}
				if a, b := s.stock(t, "A-1").Level(), s.stock(t, "B-1").Level(); a != c.a || b != c.b {
					t.Fatalf("attempt %d leaves %+v and %+v; want %+v and %+v", attempt, a, b, c.a, c.b)
				}
			}
			s.audit(t)
		})
	}
}

func TestARepeatedReserveKeepsItsPrice(t *testing.T) {
	ctx, s := context.Background(), newStand()
	s.sell(t, "A-1", 5)
	s.sell(t, "B-1", 5)
	agreed := eur(4000)
	command := reserving("order", line("A-1", 2), line("B-1", 2))
	command.ExpectedTotal = &agreed
	if got, err := s.Reserve.Do(ctx, command); err != nil || got.Outcome != contract.OutcomeReserved {
		t.Fatalf("%+v, %v", got, err)
	}
	price := eur(1)
	if _, err := s.Change.Do(ctx, "A-1", domain.Change{Price: &price}); err != nil {
		t.Fatal(err)
	}
	s.clock.Advance(time.Hour)
	for _, shop := range []*shop{s.shop, s.replica()} {
		got, err := shop.Reserve.Do(ctx, command)
		if err != nil || got.Outcome != contract.OutcomeReserved || got.Total != agreed || got.Lines[0].UnitPrice != eur(1000) {
			t.Errorf("the repeat gives %+v, %v", got, err)
		}
	}
	other := reserving("order", line("A-1", 3), line("B-1", 2))
	if _, err := s.Reserve.Do(ctx, other); !errors.Is(err, domain.ErrOtherQuantity) {
		t.Errorf("another quantity gives %v", err)
	}
}

// A price that changed between two attempts at one order must not slip into a total that was not agreed to.
func TestAnAttemptThatDiedHalfWayIsFinishedAtItsPrices(t *testing.T) {
	ctx, s := context.Background(), newStand()
	s.sell(t, "A-1", 5)
	s.sell(t, "B-1", 5)
	agreed := eur(2000)
	command := reserving("order", line("A-1", 1), line("B-1", 1))
	command.ExpectedTotal = &agreed
	mortal := s.mortal(0, func(key string) bool { return key == "stock/A-1" })
	if got, err := mortal.Reserve.Do(ctx, command); err == nil {
		t.Fatalf("the first attempt gives %+v", got)
	}
	price := eur(900)
	if _, err := s.Change.Do(ctx, "B-1", domain.Change{Price: &price}); err != nil {
		t.Fatal(err)
	}
	price = eur(1100)
	if _, err := s.Change.Do(ctx, "A-1", domain.Change{Price: &price}); err != nil {
		t.Fatal(err)
	}
	// Today's prices come to the agreed total, but B-1 is locked at its old one.
	got, err := s.Reserve.Do(ctx, command)
	if err != nil || got.Outcome != contract.OutcomePriceChanged {
		t.Fatalf("the second attempt gives %+v, %v", got, err)
	}
	s.wantLevel(t, "A-1", 5, 0)
	s.wantLevel(t, "B-1", 5, 0)
}

func TestCommitAndRelease(t *testing.T) {
	ctx, s := context.Background(), newStand()
	s.sell(t, "A-1", 5)
	s.sell(t, "B-1", 5)
	for _, id := range []string{"one", "two"} {
		if _, err := s.Reserve.Do(ctx, reserving(id, line("A-1", 1), line("B-1", 2))); err != nil {
			t.Fatal(err)
		}
	}
	commitOne, releaseOne := s.ending("one", "A-1", "B-1")
	commitTwo, releaseTwo := s.ending("two", "B-1", "A-1")
	for range 2 {
		if got, err := s.Commit.Do(ctx, commitOne); err != nil || got.Outcome != contract.OutcomeCommitted {
			t.Errorf("commit: %+v, %v", got, err)
		}
		if got, err := s.Release.Do(ctx, releaseOne); err != nil || got.Outcome != contract.OutcomeCommitted {
			t.Errorf("release after commit: %+v, %v", got, err)
		}
		if got, err := s.Release.Do(ctx, releaseTwo); err != nil || got.Outcome != contract.OutcomeReleased {
			t.Errorf("release: %+v, %v", got, err)
		}
		if got, err := s.Commit.Do(ctx, commitTwo); err != nil || got.Outcome != contract.OutcomeReleased {
			t.Errorf("commit after release: %+v, %v", got, err)
		}
	}
	_, nowhere := s.ending("three", "A-1", "NONE", "not a SKU")
	if got, err := s.Release.Do(ctx, nowhere); err != nil || got.Outcome != contract.OutcomeReleased {
		t.Errorf("releasing what was never held: %+v, %v", got, err)
	}
	if got, err := s.Reserve.Do(ctx, reserving("three", line("A-1", 1))); err != nil || got.Outcome != contract.OutcomeReleased {
		t.Errorf("a reserve after its release: %+v, %v", got, err)
	}
	s.wantLevel(t, "A-1", 4, 0)
	s.wantLevel(t, "B-1", 3, 0)
	holds := s.audit(t)
	if h := holds["B-1 one"]; h.State != contract.HoldCommitted || h.Quantity != 2 {
		t.Errorf("the audit reports %+v", h)
	}
}

// Two drivers of one order in two replicas may meet at any point. Whatever each of them was told, it was the same, and
// the stock agrees with it.
func TestTwoDriversOfOneOrderAreToldTheSame(t *testing.T) {
	ctx, s := context.Background(), newStand()
	skus := []string{"A-1", "B-1", "C-1"}
	for _, sku := range skus {
		s.sell(t, sku, 30)
	}
	replicas := []*shop{s.shop, s.replica()}
	const orders = 60 // of one unit each: half of them find nothing
	outcomes := make([][2]string, orders)
	var all sync.WaitGroup
	for n := range orders {
		lines := []contract.Line{line(skus[n%3], 1), line(skus[(n+1)%3], 1)}
		for i, shop := range replicas {
			all.Go(func() {
				got, err := shop.Reserve.Do(ctx, reserving(fmt.Sprint("order-", n), lines...))
				if err != nil {
					t.Errorf("order %d: %v", n, err)
				}
				outcomes[n][i] = got.Outcome
			})
		}
	}
	all.Wait()
	holds := s.audit(t)
	reserved := 0
	for n, told := range outcomes {
		if told[0] != told[1] {
			t.Errorf("order %d was told %v", n, told)
		}
		want := contract.HoldReleased
		if told[0] == contract.OutcomeReserved {
			want, reserved = contract.HoldReserved, reserved+1
		}
		for _, sku := range []string{skus[n%3], skus[(n+1)%3]} {
			if h := holds[fmt.Sprint(sku, " order-", n)]; h.State != want {
				t.Errorf("order %d was told %s and its hold on %s is %+v", n, told[0], sku, h)
			}
		}
	}
	if reserved == 0 || reserved > 45 {
		t.Errorf("%d orders were reserved out of 90 units", reserved)
	}
}

// A flash sale: many want one thing, and exactly what there is is sold.
func TestAFlashSaleSellsExactlyTheStock(t *testing.T) {
	ctx, s := context.Background(), newStand()
	s.sell(t, "HOT", 25)
	replicas := []*shop{s.shop, s.replica()}
	var all sync.WaitGroup
	var mu sync.Mutex
	sold := 0
	for n := range 200 {
		all.Go(func() {
			id := fmt.Sprint("order-", n)
			got, err := replicas[n%2].Reserve.Do(ctx, reserving(id, line("HOT", 1)))
			if err != nil {
				t.Errorf("order %d: %v", n, err)
			}
			if got.Outcome != contract.OutcomeReserved {
				return
			}
			commit, _ := s.ending(id, "HOT")
			if got, err := replicas[(n+1)%2].Commit.Do(ctx, commit); err != nil || got.Outcome != contract.OutcomeCommitted {
				t.Errorf("committing order %d: %+v, %v", n, got, err)
			}
			mu.Lock()
			defer mu.Unlock()
			sold++
		})
	}
	all.Wait()
	if sold != 25 {
		t.Errorf("%d sold of 25", sold)
	}
	s.wantLevel(t, "HOT", 0, 0)
	if holds := s.audit(t); len(holds) != 200 {
		t.Errorf("the audit reports %d orders", len(holds))
	}
}
