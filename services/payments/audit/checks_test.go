package audit_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	shape "caravan/internal/audit"
	"caravan/services/payments/audit"
	"caravan/services/payments/contract"
	. "caravan/services/payments/domain"
)

// audited is an account with every kind of content and the one segment of its archive.
func audited(t *testing.T) (*Account, Place, Segment) {
	t.Helper()
	a := new(Account)
	a.Open("user-1", "EUR", "entry-1")
	if _, err := a.Credit("deposit-0", eur(1000), placed, placed, Past{}); err != nil {
		t.Fatal(err)
	}
	for i, id := range []string{"a", "b", "c", "d"} {
		order := Order{ID: id, PlacedAt: placed.Add(time.Duration(i) * time.Minute)}
		if _, err := a.Authorize(order, eur(100), Past{}); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Capture(order, placed, Past{}); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Refund(order, "r-"+id, eur(10), placed, Past{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Authorize(Order{ID: "order-1", PlacedAt: placed}, eur(50), Past{}); err != nil {
		t.Fatal(err)
	}
	a.Trim(Limits{Keep: 2, Max: 3})
	if len(a.Sealed) != 1 {
		t.Fatalf("%d segments were archived", len(a.Sealed))
	}
	var s Segment
	if err := json.Unmarshal(a.Sealed[0].Value, &s); err != nil {
		t.Fatal(err)
	}
	return a, Place{Key: a.Sealed[0].Key, Sum: a.Archived.Tree.Levels[0][0].Summary.Sum}, s
}

func TestChecksFindNothingInASoundAccount(t *testing.T) {
	a, at, s := audited(t)
	var r shape.Results
	audit.CheckAccount(&r, a)
	audit.CheckSegment(&r, a.UserID, at, s, a.Archived.Books)
	if len(r.Findings) > 0 {
		t.Errorf("found %v", r.Findings)
	}
}

func TestChecksFindPlantedViolations(t *testing.T) {
	change := func(a *Account, id string, f func(h *Hold)) {
		h := a.Holds[id]
		f(&h)
		a.Holds[id] = h
	}
	for _, c := range []struct {
		name  string
		plant func(a *Account)
		want  string
	}{
		{"money out of nothing", func(a *Account) { a.Books.Balance++ }, contract.InvariantZeroSum},
		{"a counter-account that forgot", func(a *Account) { a.Books.Counters[CounterSales]-- }, contract.InvariantZeroSum},
		{"both sides changed without a posting", func(a *Account) { a.Books = a.Books.Post(Posting{Amount: 5, CounterAccount: CounterBank}) }, contract.InvariantBalance},
		{"a posting with another amount", func(a *Account) { a.Postings[1].Amount++ }, contract.InvariantBalance},
		{"a lost posting", func(a *Account) { a.Postings = a.Postings[1:] }, contract.InvariantBalance},
		{"postings out of order", func(a *Account) { slices.Reverse(a.Postings) }, contract.InvariantPostings},
		{"a hold that is not counted", func(a *Account) { a.Held -= 50 }, contract.InvariantHeld},
		{"held too much", func(a *Account) { a.Held += 10_000 }, contract.InvariantAvailable},
		{"captured more than authorized", func(a *Account) { change(a, "d", func(h *Hold) { h.Captured = 101 }) }, contract.InvariantHold},
		{"captured while active", func(a *Account) { change(a, "order-1", func(h *Hold) { h.Captured = 1 }) }, contract.InvariantHold},
		{"refunded more than captured", func(a *Account) { change(a, "d", func(h *Hold) { h.Refunded = 200 }) }, contract.InvariantRefunds},
		{"a forgotten refund", func(a *Account) { change(a, "d", func(h *Hold) { h.Refunds = nil; h.Refunded = 0 }) }, contract.InvariantOrderPosting},
		{"a capture booked for a voided order", func(a *Account) { change(a, "d", func(h *Hold) { *h = Hold{State: Voided, PlacedAt: placed} }) }, contract.InvariantOrderPosting},
		{"a capture by another posting", func(a *Account) { change(a, "c", func(h *Hold) { h.Posting = a.Posted }) }, contract.InvariantOrderPosting},
		{"a lost segment", func(a *Account) { a.Archived.Tree.Levels = nil }, contract.InvariantArchive},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, _, _ := audited(t)
			c.plant(a)
			var r shape.Results
			if audit.CheckAccount(&r, a); !blames(r.Findings, c.want) {
				t.Errorf("found %v; want %s", r.Findings, c.want)
			}
		})
	}
}

func TestChecksFindViolationsInTheArchive(t *testing.T) {
	for _, c := range []struct {
		name  string
		plant func(s *Segment)
		want  string
	}{
		{"a changed posting", func(s *Segment) { s.Postings[0].Amount++ }, contract.InvariantBalance},
		{"a lost posting", func(s *Segment) { s.Postings = s.Postings[1:] }, contract.InvariantPostings},
		{"a changed total", func(s *Segment) { s.Closing.Balance++ }, contract.InvariantZeroSum},
		{"a beginning out of nothing", func(s *Segment) {
			s.Opening = s.Opening.Post(Posting{Amount: 1, CounterAccount: CounterBank})
		}, contract.InvariantArchive},
		{"another order", func(s *Segment) { s.Holds["x"] = Hold{State: Voided, PlacedAt: placed} }, contract.InvariantArchive},
		{"an active hold", func(s *Segment) { s.Holds["x"] = Hold{State: Authorized, PlacedAt: placed} }, contract.InvariantArchive},
		{"a refund that was not", func(s *Segment) {
			h := s.Holds["a"]
			h.Refunded = 20
			s.Holds["a"] = h
		}, contract.InvariantRefunds},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, at, s := audited(t)
			c.plant(&s)
			var r shape.Results
			if audit.CheckSegment(&r, a.UserID, at, s, a.Archived.Books); !blames(r.Findings, c.want) {
				t.Errorf("found %v; want %s", r.Findings, c.want)
			}
		})
	}
}

func blames(found []shape.Finding, invariant string) bool {
	return slices.ContainsFunc(found, func(f shape.Finding) bool { return f.Invariant == invariant })
}
