package domain

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"caravan/internal/audit"
	"caravan/services/products/contract"
)

// opened is a stock of ten units as it comes out of the store.
func opened(t *testing.T) *Stock {
	t.Helper()
	s := new(Stock)
	if !s.Open(created(t, draft())) {
		t.Fatal("the stock did not open")
	}
	s.Revision = 1
	return s
}

func order(n int) Order {
	return Order{ID: fmt.Sprintf("order-%04d", n), PlacedAt: noon.Add(time.Duration(n) * time.Second)}
}

// command is one step of a story about a stock; it returns the state that it answers.
type command struct {
	name string
	run  func(*Stock) (Hold, bool, error)
}

func reserve(n int, quantity int64) command {
	return command{fmt.Sprintf("reserve %d of order %d", quantity, n), func(s *Stock) (Hold, bool, error) {
		return s.Reserve(Claim{Order: order(n), Quantity: quantity, UnitPrice: 1000, ExpiresAt: order(n).PlacedAt.Add(time.Hour)}, nil)
	}}
}

func commit(n int) command {
	return command{fmt.Sprintf("commit order %d", n), func(s *Stock) (Hold, bool, error) { return s.Commit(order(n), nil) }}
}

func giveBack(n int) command {
	return command{fmt.Sprintf("release order %d", n), func(s *Stock) (Hold, bool, error) { return s.Release(order(n), ByOrder, nil) }}
}

func refuse(n int) command {
	return command{fmt.Sprintf("refuse order %d", n), func(s *Stock) (Hold, bool, error) {
		return s.Refuse(order(n), PriceChanged, "OTHER", nil)
	}}
}

func TestStockStories(t *testing.T) {
	for _, c := range []struct {
		name     string
		given    []command
		when     command
		state    State
		reason   Reason
		changed  bool
		err      error
		onHand   int64
		reserved int64
	}{
		{name: "reserving holds units", when: reserve(1, 4), state: Reserved, changed: true, onHand: 10, reserved: 4},
		{name: "the last units can be reserved", when: reserve(1, 10), state: Reserved, changed: true, onHand: 10, reserved: 10},
		{name: "more than there is is refused for good", when: reserve(1, 11), state: Released, reason: OutOfStock, changed: true, onHand: 10},
		{name: "what others hold is not available", given: []command{reserve(1, 7)}, when: reserve(2, 4), state: Released, reason: OutOfStock, changed: true, onHand: 10, reserved: 7},
		{name: "a refusal stays when units come back", given: []command{reserve(1, 7), reserve(2, 4), giveBack(1)}, when: reserve(2, 4), state: Released, reason: OutOfStock, onHand: 10},
		{name: "repeating a reserve changes nothing", given: []command{reserve(1, 4)}, when: reserve(1, 4), state: Reserved, onHand: 10, reserved: 4},
		{name: "another quantity for the same order is refused", given: []command{reserve(1, 4)}, when: reserve(1, 5), err: ErrOtherQuantity, onHand: 10, reserved: 4},
		{name: "committing takes units out", given: []command{reserve(1, 4)}, when: commit(1), state: Committed, changed: true, onHand: 6},
		{name: "repeating a commit takes nothing", given: []command{reserve(1, 4), commit(1)}, when: commit(1), state: Committed, onHand: 6},
		{name: "a reserve after the commit takes nothing", given: []command{reserve(1, 4), commit(1)}, when: reserve(1, 4), state: Committed, onHand: 6},
		{name: "a release after the commit gives nothing back", given: []command{reserve(1, 4), commit(1)}, when: giveBack(1), state: Committed, onHand: 6},
		{name: "releasing gives units back", given: []command{reserve(1, 4)}, when: giveBack(1), state: Released, reason: ByOrder, changed: true, onHand: 10},
		{name: "repeating a release gives nothing", given: []command{reserve(1, 4), giveBack(1)}, when: giveBack(1), state: Released, reason: ByOrder, onHand: 10},
		{name: "a commit after the release takes nothing", given: []command{reserve(1, 4), giveBack(1)}, when: commit(1), state: Released, reason: ByOrder, onHand: 10},
		{name: "a release before the reserve leaves a tombstone", when: giveBack(1), state: Released, reason: ByOrder, changed: true, onHand: 10},
		{name: "a reserve after its release is a no-op", given: []command{giveBack(1)}, when: reserve(1, 4), state: Released, reason: ByOrder, onHand: 10},
		{name: "a commit before the reserve leaves a tombstone", when: commit(1), state: Released, reason: ByOrder, changed: true, onHand: 10},
		{name: "a reserve after its commit is a no-op", given: []command{commit(1)}, when: reserve(1, 4), state: Released, reason: ByOrder, onHand: 10},
		{name: "a refusal leaves a tombstone", when: refuse(1), state: Released, reason: PriceChanged, changed: true, onHand: 10},
		{name: "a refusal does not touch a hold", given: []command{reserve(1, 4)}, when: refuse(1), state: Reserved, onHand: 10, reserved: 4},
		{name: "an order older than the stock cannot hold it", when: reserve(-1, 1), state: Released, reason: UnknownProduct, onHand: 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := opened(t)
			for _, step := range c.given {
				if _, _, err := step.run(s); err != nil {
					t.Fatalf("%s: %v", step.name, err)
				}
			}
			hold, changed, err := c.when.run(s)
			if !errors.Is(err, c.err) || hold.State != c.state || hold.Reason != c.reason || changed != c.changed {
				t.Errorf("%s gives %q for %q, changed %v, error %v; want %q for %q, %v, %v",
					c.when.name, hold.State, hold.Reason, changed, err, c.state, c.reason, c.changed, c.err)
			}
			if s.OnHand != c.onHand || s.Reserved != c.reserved {
				t.Errorf("level %+v; want %d on hand, %d reserved", s.Level(), c.onHand, c.reserved)
			}
			if f := audited(s); len(f) > 0 {
				t.Errorf("the audit finds %v", f)
			}
		})
	}
}

func TestCommandsOnAStockThatWasNeverOpened(t *testing.T) {
	for _, c := range []command{reserve(1, 1), commit(1), giveBack(1), refuse(1)} {
		if _, changed, err := c.run(new(Stock)); !errors.Is(err, ErrNotOpen) || changed {
			t.Errorf("%s: changed %v, error %v; want %v", c.name, changed, err, ErrNotOpen)
		}
	}
}

func TestTheHeadOfAStockStaysSmall(t *testing.T) {
	s := opened(t)
	s.OnHand, s.Received = 100_000, 100_000
	for n := range 5000 {
		for _, c := range []command{reserve(n, 1), commit(n)} {
			if _, _, err := c.run(s); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
		}
		if len(s.Holds) > KeepFinished+ArchiveBatch {
			t.Fatalf("%d holds in the head", len(s.Holds))
		}
	}
	if levels := len(s.Archived.Levels); levels > 4 {
		t.Errorf("the archive has %d levels", levels)
	}
	if f := audited(s); len(f) > 0 {
		t.Errorf("the audit finds %v", f)
	}
	if _, _, err := s.Release(order(3), ByOrder, nil); !errors.Is(err, ErrPast) {
		t.Errorf("releasing an order of the archive: %v; want %v", err, ErrPast)
	}
	committed := Hold{OrderID: order(3).ID, State: Committed, Quantity: 1}
	if h, changed, err := s.Release(order(3), ByOrder, &Past{Leaves: s.Archived.Leaves, Hold: &committed}); err != nil || changed || h.State != Committed {
		t.Errorf("with the archive's word it is %v, changed %v, %v", h, changed, err)
	}
	if _, _, err := s.Release(order(3), ByOrder, &Past{}); !errors.Is(err, ErrPast) {
		t.Errorf("a look into an empty archive was believed: %v", err)
	}
	since := s.Archived.Leaves - 1
	if !s.Archived.Grown(since, func(span Span) bool { return span.Covers(s.Archived.Through) }) || s.Archived.Grown(since, func(span Span) bool { return span.MayHave(order(3)) }) {
		t.Error("a new leaf concerns the orders of its time only")
	}
}

func TestABusyHeadKeepsTheOrdersOfItsTime(t *testing.T) {
	s := opened(t)
	s.OnHand, s.Received = 100_000, 100_000
	for n := range 3000 { // a thousand orders a second
		o := Order{ID: fmt.Sprint("order-", n), PlacedAt: noon.Add(time.Duration(n) * time.Millisecond)}
		if _, _, err := s.Reserve(Claim{Order: o, Quantity: 1, ExpiresAt: noon.Add(time.Hour)}, nil); err != nil {
			t.Fatalf("order %d: %v", n, err)
		}
		if _, _, err := s.Commit(o, nil); err != nil {
			t.Fatal(err)
		}
		if n > MaxFinished && (len(s.Holds) < MaxFinished || len(s.Holds) >= MaxFinished+ArchiveBatch) {
			t.Fatalf("%d holds in the head after %d orders", len(s.Holds), n)
		}
	}
	if f := audited(s); len(f) > 0 {
		t.Errorf("the audit finds %v", f)
	}
}

func TestReservationsUnderWayAreBounded(t *testing.T) {
	s := opened(t)
	s.OnHand, s.Received = 100_000, 100_000
	for n := range MaxActiveHolds {
		if _, _, err := reserve(n, 1).run(s); err != nil {
			t.Fatal(err)
		}
	}
	if _, changed, err := reserve(MaxActiveHolds, 1).run(s); !errors.Is(err, ErrTooManyHolds) || changed {
		t.Errorf("changed %v, error %v; want %v", changed, err, ErrTooManyHolds)
	}
	if _, _, err := commit(5).run(s); err != nil {
		t.Fatal(err)
	}
	if h, _, err := reserve(MaxActiveHolds, 1).run(s); err != nil || h.State != Reserved {
		t.Errorf("after one ended: %v, %v", h, err)
	}
}

func TestExpiry(t *testing.T) {
	s := opened(t)
	for n := range 3 {
		if _, _, err := reserve(n, 2).run(s); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := s.NextExpiry, noon.Add(time.Hour).UnixMicro(); got != want {
		t.Errorf("next expiry %d; want %d", got, want)
	}
	late := noon.Add(time.Hour + time.Second)
	overdue := s.Overdue(late, 10)
	if len(overdue) != 2 || overdue[0].OrderID != order(0).ID || len(s.Overdue(late, 1)) != 1 {
		t.Fatalf("overdue are %v", overdue)
	}
	released := s.Settle([]string{order(0).ID, "gone"}, []string{order(1).ID}, late.Add(time.Hour))
	if len(released) != 1 || released[0].Reason != Expired || s.Reserved != 4 {
		t.Errorf("released %v, level %+v", released, s.Level())
	}
	if overdue := s.Overdue(late.Add(time.Minute), 10); len(overdue) != 1 || overdue[0].OrderID != order(2).ID {
		t.Errorf("overdue after the extension are %v", overdue)
	}
	if h, _, err := reserve(0, 2).run(s); err != nil || h.State != Released || h.Reason != Expired {
		t.Errorf("a late reserve gives %v, %v", h, err)
	}
}

func TestCorrections(t *testing.T) {
	s := opened(t)
	if _, _, err := reserve(1, 4).run(s); err != nil {
		t.Fatal(err)
	}
	correct := func(key string, change int64) (Level, bool, error) {
		return s.Correct(Correction{Key: key, Change: change, Reason: "counted"}, nil)
	}
	if l, changed, err := correct("a", 5); err != nil || !changed || l != (Level{15, 4}) {
		t.Errorf("receiving gives %+v, %v, %v", l, changed, err)
	}
	if l, changed, err := correct("b", -11); err != nil || !changed || l != (Level{4, 4}) {
		t.Errorf("taking all that is free gives %+v, %v, %v", l, changed, err)
	}
	var shortage *ShortageError
	if _, changed, err := correct("c", -1); !errors.As(err, &shortage) || changed || shortage.Level != (Level{4, 4}) {
		t.Errorf("taking a reserved unit: %v, %v", changed, err)
	}
	if l, changed, err := correct("a", 5); err != nil || changed || l != (Level{15, 4}) {
		t.Errorf("a repeat gives %+v, %v, %v", l, changed, err)
	}
	if _, _, err := correct("a", 6); !errors.Is(err, ErrOtherCorrection) {
		t.Errorf("another change under the same key: %v", err)
	}
	if _, _, err := correct("", MaxOnHand); err == nil {
		t.Error("the stock grew beyond its limit")
	}
	for range 2 {
		if _, changed, err := correct("", 1); err != nil || !changed {
			t.Errorf("without a key: %v, %v", changed, err)
		}
	}
	for n := range KeepCorrections {
		if _, _, err := correct(fmt.Sprint("more", n), 1); err != nil {
			if errors.Is(err, ErrPast) {
				_, _, err = s.Correct(Correction{Key: fmt.Sprint("more", n), Change: 1, Reason: "counted"}, &PastCorrection{Archived: s.CorrectionsArchived})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(s.Corrections) != KeepCorrections {
		t.Errorf("%d corrections in the head", len(s.Corrections))
	}
	if _, _, err := correct("a", 5); !errors.Is(err, ErrPast) {
		t.Errorf("an archived key: %v", err)
	}
	if f := audited(s); len(f) > 0 {
		t.Errorf("the audit finds %v", f)
	}
}

// audited is what the audit finds wrong with a stock.
func audited(s *Stock) []audit.Finding {
	var found audit.Results
	AuditStock(&found, s)
	return found.Findings
}

func TestTheAuditFindsPlantedViolations(t *testing.T) {
	for _, c := range []struct {
		name, invariant string
		plant           func(*Stock)
	}{
		{"a lost unit", contract.InvariantStock, func(s *Stock) { s.OnHand-- }},
		{"an invented receipt", contract.InvariantStock, func(s *Stock) { s.Received++ }},
		{"a forgotten reservation", contract.InvariantStock, func(s *Stock) { s.Reserved-- }},
		{"more reserved than there is", contract.InvariantStock, func(s *Stock) { s.OnHand, s.Received = 1, 1+s.Committed }},
		{"a unit sold twice", contract.InvariantSold, func(s *Stock) { s.Holds = append(s.Holds, Hold{OrderID: "x", Quantity: 1, State: Committed}) }},
		{"a duplicate hold", contract.InvariantHold, func(s *Stock) { s.Holds = append(s.Holds, s.Holds[0]) }},
		{"an unknown state", contract.InvariantHold, func(s *Stock) { s.Holds[1].State = "maybe" }},
		{"a negative hold", contract.InvariantHold, func(s *Stock) { s.Holds[0].Quantity = -1 }},
		{"a lost leaf", contract.InvariantArchive, func(s *Stock) { s.Archived.Leaves++ }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := opened(t)
			for _, step := range []command{reserve(1, 4), reserve(2, 3), commit(2)} {
				if _, _, err := step.run(s); err != nil {
					t.Fatal(err)
				}
			}
			if f := audited(s); len(f) > 0 {
				t.Fatalf("before: %v", f)
			}
			c.plant(s)
			for _, f := range audited(s) {
				if f.Invariant == c.invariant {
					return
				}
			}
			t.Errorf("the audit finds %v; want a violation of %s", audited(s), c.invariant)
		})
	}
}
