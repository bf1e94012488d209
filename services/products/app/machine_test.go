package app_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"caravan/internal/audit"
	"caravan/services/products/contract"
	"caravan/services/products/domain"
)

// model is what a stock should be, without documents, archives or retries.
type model struct {
	onHand, reserved int64
	orders           map[int]*modelOrder
}

type modelOrder struct {
	quantity, price int64
	state           string // contract.HoldReserved, HoldCommitted, HoldReleased
	outcome         string // of a repeated reserve
}

// machine drives one stock and its model with the same commands.
type machine struct {
	*stand
	model model
	price int64
	keys  map[string]int64
}

const machineSKU = "CUP-1"

// order draws one of many orders; each has one quantity and one time for ever.
func (m *machine) order(t *rapid.T) (n int, id string, quantity int64, placedAt time.Time) {
	n = rapid.IntRange(0, 150).Draw(t, "order")
	return m.details(n)
}

func (m *machine) details(n int) (int, string, int64, time.Time) {
	// Times are not in the order of the numbers, and some are equal.
	return n, fmt.Sprintf("order-%03d", n), int64(n%5 + 1), noon.Add(time.Minute + time.Duration(n*37%101)*time.Second)
}

func (m *machine) reserve(t *rapid.T, n int) {
	_, id, quantity, placedAt := m.details(n)
	got, err := m.Reserve.Do(context.Background(), contract.Reserve{OrderID: id, Lines: []contract.Line{line(machineSKU, quantity)}, PlacedAt: placedAt})
	if err != nil {
		t.Fatalf("reserving: %v", err)
	}
	o, known := m.model.orders[n]
	if !known {
		o = &modelOrder{quantity: quantity, price: m.price, state: contract.HoldReserved, outcome: contract.OutcomeReserved}
		if m.model.onHand-m.model.reserved < quantity {
			o = &modelOrder{state: contract.HoldReleased, outcome: contract.OutcomeOutOfStock}
		}
		m.model.reserved += o.quantity
		m.model.orders[n] = o
	}
	if got.Outcome != o.outcome {
		t.Fatalf("reserving %s gives %q; want %q", id, got.Outcome, o.outcome)
	}
	if o.outcome == contract.OutcomeReserved && (got.Lines[0].UnitPrice != eur(o.price) || got.Total != eur(o.price*quantity)) {
		t.Fatalf("%s is priced %v, %s; want %d each", id, got.Lines, got.Total, o.price)
	}
}

// end commits or releases an order in the model and returns the state it comes to.
func (m *machine) end(n int, state string) string {
	o, known := m.model.orders[n]
	if !known {
		o = &modelOrder{state: contract.HoldReleased, outcome: contract.OutcomeReleased}
		m.model.orders[n] = o
	}
	if o.state == contract.HoldReserved {
		m.model.reserved -= o.quantity
		if o.state = state; state == contract.HoldCommitted {
			m.model.onHand -= o.quantity
		} else {
			o.outcome = contract.OutcomeReleased
		}
	}
	return o.state
}

func (m *machine) commit(t *rapid.T, n int) {
	_, id, _, placedAt := m.details(n)
	got, err := m.Commit.Do(context.Background(), contract.Commit{OrderID: id, SKUs: []string{machineSKU}, PlacedAt: placedAt})
	if want := m.end(n, contract.HoldCommitted); err != nil || got.Outcome != want {
		t.Fatalf("committing %s gives %q, %v; want %q", id, got.Outcome, err, want)
	}
}

func (m *machine) release(t *rapid.T, n int) {
	_, id, _, placedAt := m.details(n)
	got, err := m.Release.Do(context.Background(), contract.Release{OrderID: id, SKUs: []string{machineSKU}, PlacedAt: placedAt})
	if want := m.end(n, contract.HoldReleased); err != nil || got.Outcome != want {
		t.Fatalf("releasing %s gives %q, %v; want %q", id, got.Outcome, err, want)
	}
}

func (m *machine) correct(t *rapid.T, key string, change int64) {
	got, err := m.Correct.Do(context.Background(), machineSKU, domain.Correction{Key: key, Change: change, Reason: "counted"})
	var shortage *domain.ShortageError
	applied, repeated := m.keys[key]
	switch {
	case repeated && applied != change:
		if !errors.Is(err, domain.ErrOtherCorrection) {
			t.Fatalf("another correction under %s gives %v, %v", key, got, err)
		}
	case repeated:
		if err != nil {
			t.Fatalf("repeating correction %s: %v", key, err)
		}
	case m.model.onHand+change < m.model.reserved:
		if !errors.As(err, &shortage) {
			t.Fatalf("correcting by %d gives %v, %v; want a shortage", change, got, err)
		}
	default:
		m.model.onHand += change
		m.keys[key] = change
		if err != nil || got != (domain.Level{OnHand: m.model.onHand, Reserved: m.model.reserved}) {
			t.Fatalf("correcting by %d gives %+v, %v", change, got, err)
		}
	}
}

// check compares the stock with the model, and the head with its bounds.
func (m *machine) check(t *rapid.T) {
	stock := m.stock(t, machineSKU)
	if stock.OnHand != m.model.onHand || stock.Reserved != m.model.reserved {
		t.Fatalf("%+v; want %d on hand, %d reserved", stock.Level(), m.model.onHand, m.model.reserved)
	}
	var found audit.Results
	if domain.AuditStock(&found, stock); len(found.Findings) > 0 {
		t.Fatalf("the audit finds %v", found.Findings)
	}
	finished := 0
	for _, h := range stock.Holds {
		if h.State != domain.Reserved {
			finished++
		}
	}
	if finished >= domain.MaxFinished+domain.ArchiveBatch || len(stock.Corrections) > domain.KeepCorrections {
		t.Fatalf("the head has %d finished holds and %d corrections", finished, len(stock.Corrections))
	}
}

// Any commands in any order, any number of times, by two replicas over a store that conflicts and loses answers: the
// stock is what the model says, never negative, conserved, and no order is forgotten by the archive.
func TestStockIsItsModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{stand: newStand(), price: 1000, keys: map[string]int64{}}
		m.model = model{onHand: 300, orders: map[int]*modelOrder{}}
		m.sell(t, machineSKU, 300)
		replicas := []*shop{m.shop, m.replica()}
		faults := 0
		m.store.AfterPut(func(string, []byte) error {
			if faults++; faults%7 == 0 {
				return errors.New("fake store: the answer is lost")
			}
			return nil
		})
		either := func(run func(*rapid.T)) func(*rapid.T) {
			return func(t *rapid.T) {
				m.shop = replicas[rapid.IntRange(0, 1).Draw(t, "replica")]
				run(t)
			}
		}
		one := func(run func(*rapid.T, int)) func(*rapid.T) {
			return either(func(t *rapid.T) { n, _, _, _ := m.order(t); run(t, n) })
		}
		t.Repeat(map[string]func(*rapid.T){
			"reserve": one(m.reserve),
			"commit":  one(m.commit),
			"release": one(m.release),
			"many orders": either(func(t *rapid.T) {
				first := rapid.IntRange(0, 125).Draw(t, "first")
				for n := first; n < first+25; n++ {
					m.reserve(t, n)
					if n%3 > 0 {
						m.commit(t, n)
					}
				}
			}),
			"correct": either(func(t *rapid.T) {
				m.correct(t, fmt.Sprint("key-", rapid.IntRange(0, 60).Draw(t, "key")), rapid.Int64Range(-40, 40).Filter(func(n int64) bool { return n != 0 }).Draw(t, "change"))
			}),
			"many corrections": either(func(t *rapid.T) {
				first := rapid.IntRange(0, 40).Draw(t, "first")
				for n := first; n < first+20; n++ { // two of these fill the head
					m.correct(t, fmt.Sprint("key-", n), 1)
				}
			}),
			"change the price": either(func(t *rapid.T) {
				m.price = rapid.Int64Range(1, 5000).Draw(t, "price")
				price := eur(m.price)
				if _, err := m.Change.Do(context.Background(), machineSKU, domain.Change{Price: &price}); err != nil {
					t.Fatalf("changing the price: %v", err)
				}
				m.clock.Advance(time.Second) // until every replica shows it
			}),
			"": m.check,
		})
		holds := m.audit(t)
		if len(holds) != len(m.model.orders) {
			t.Fatalf("the audit reports %d orders; want %d", len(holds), len(m.model.orders))
		}
		for n, o := range m.model.orders {
			_, id, _, _ := m.details(n)
			if h := holds[machineSKU+" "+id]; h.State != o.state || h.Quantity != o.quantity {
				t.Fatalf("order %s is reported as %+v; want %+v", id, h, *o)
			}
		}
	})
}

// Whatever order a reserve and its compensation (or its commit) come in, and however often, they come to the same end
// as the compensation alone.
func TestCompensationCommutes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newStand()
		s.sell(t, "A-1", 5)
		s.sell(t, "B-1", 5)
		reserve := reserving("order", line("B-1", 2), line("A-1", 3))
		_, release := s.ending("order", "A-1", "B-1")
		steps := rapid.SliceOfN(rapid.Bool(), 0, 6).Draw(t, "steps")
		for _, reserves := range append(steps, false) {
			var err error
			if reserves {
				_, err = s.Reserve.Do(context.Background(), reserve)
			} else {
				_, err = s.Release.Do(context.Background(), release)
			}
			if err != nil {
				t.Fatalf("%v", err)
			}
		}
		again, err := s.Reserve.Do(context.Background(), reserve)
		if err != nil || again.Outcome != contract.OutcomeReleased {
			t.Fatalf("a late reserve gives %q, %v", again.Outcome, err)
		}
		for _, sku := range []string{"A-1", "B-1"} {
			if level := s.stock(t, sku).Level(); level != (domain.Level{OnHand: 5}) {
				t.Fatalf("%s ends with %+v", sku, level)
			}
		}
		s.audit(t)
	})
}
