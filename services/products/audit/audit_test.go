package audit_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	pages "caravan/internal/audit"
	"caravan/internal/document"
	"caravan/internal/document/documenttest"
	"caravan/internal/feed"
	"caravan/services/products/app"
	"caravan/services/products/contract"
	"caravan/services/products/domain"
)

// violations are planted into a product with a few corrections and 400 orders, most of them in the archive.
var violations = []struct {
	name, invariant, key string
	plant                func(t *testing.T, s *stand)
}{
	{"a unit lost from the head", contract.InvariantStock, "stock/CUP-1", func(t *testing.T, s *stand) {
		spoil(t, s, "stock/CUP-1", `"onHand":605,"reserved"`, `"onHand":604,"reserved"`)
	}},
	{"a unit added in the archive", contract.InvariantArchive, "stock-archive/CUP-1/0-0", func(t *testing.T, s *stand) {
		spoil(t, s, "stock-archive/CUP-1/0-0", "order-0001 1 1000", "order-0001 2 1000")
	}},
	{"a reference changed in the archive", contract.InvariantArchive, "stock-archive/CUP-1/1-0", func(t *testing.T, s *stand) {
		spoil(t, s, "stock-archive/CUP-1/1-0", " 32 32\"", " 32 33\"")
	}},
	{"an unreadable archive", contract.InvariantArchive, "stock/CUP-1", func(t *testing.T, s *stand) {
		s.store.Overwrite("stock-archive/CUP-1/0-8", []byte(`{"holds":"what"}`))
	}},
	{"a lost leaf", contract.InvariantArchive, "stock/CUP-1", func(_ *testing.T, s *stand) {
		s.store.Remove("stock-archive/CUP-1/0-3")
	}},
	{"an order twice in one leaf", contract.InvariantHold, "stock-archive/CUP-1/0-0", func(t *testing.T, s *stand) {
		spoil(t, s, "stock-archive/CUP-1/0-0", "order-0002", "order-0001")
	}},
	{"an order in two leaves", contract.InvariantHold, "stock-archive/CUP-1/0-0", func(t *testing.T, s *stand) {
		// The first order of the second leaf becomes the last one of the first.
		last := fmt.Sprintf("order-0031 1 1000 committed %d", placed(31).UnixMicro())
		spoil(t, s, "stock-archive/CUP-1/0-1", fmt.Sprintf("order-0032 1 1000 committed %d", placed(32).UnixMicro()), last)
	}},
	{"an archived order again in the head", contract.InvariantHold, "stock-archive/CUP-1/0-0", func(t *testing.T, s *stand) {
		spoil(t, s, "stock/CUP-1", `"holds":"`, fmt.Sprintf(`"holds":"order-0007 1 1000 committed %d|`, placed(7).UnixMicro()))
	}},
	{"a correction that led to another level", contract.InvariantHistory, "stock/CUP-1", func(t *testing.T, s *stand) {
		spoil(t, s, "stock/CUP-1/timeline/0", `"onHand":1005,"reason":"found"`, `"onHand":1006,"reason":"found"`)
	}},
	{"a correction of another size", contract.InvariantHistory, "stock/CUP-1", func(t *testing.T, s *stand) {
		spoil(t, s, "stock/CUP-1/timeline/0", `"change":5`, `"change":4`)
	}},
	{"a correction that is gone", document.InvariantTimeline, "stock/CUP-1/timeline/0", func(t *testing.T, s *stand) {
		s.store.Overwrite("stock/CUP-1/timeline/0", []byte(`[]`))
	}},
	{"an event that the feed lacks", feed.InvariantIndexed, "products/CUP-1/1", func(_ *testing.T, s *stand) {
		for _, key := range s.store.Keys() {
			if strings.HasPrefix(key, "feed/") && key != "feed/first" {
				s.store.Overwrite(key, []byte(`["stock/CUP-1"]`))
			}
		}
	}},
	{"watchers who were never reached", contract.InvariantWatchers, "product/CUP-1", func(t *testing.T, s *stand) {
		s.watched(t, "CUP-1", "u1", "u2")
		s.watched(t, "CUP-1", "u3")
		s.cheaper(t, "CUP-1") // and the program stopped before it informed anybody
		s.clock.Advance(12 * time.Minute)
	}},
	{"a watcher who was left out", contract.InvariantWatchers, "product/CUP-1", func(t *testing.T, s *stand) {
		s.watched(t, "CUP-1", "u1", "u2")
		s.cheaper(t, "CUP-1")
		s.inform(t, "CUP-1")
		id := fmt.Sprintf("watchers/CUP-1/%d", domain.WatchBucket("u2"))
		spoil(t, s, id, `{"user":"u2","price":900}`, `{"user":"u2","price":1000}`)
		s.clock.Advance(12 * time.Minute)
	}},
	{"an event for watchers that the feed lacks", feed.InvariantIndexed, fmt.Sprintf("products/watchers/CUP-1/%d/1", domain.WatchBucket("u1")), func(t *testing.T, s *stand) {
		s.watched(t, "CUP-1", "u1")
		s.cheaper(t, "CUP-1")
		s.inform(t, "CUP-1")
		for _, key := range s.store.Keys() {
			if strings.HasPrefix(key, "feed/") && key != "feed/first" {
				s.store.Overwrite(key, []byte(`["stock/CUP-1","product/CUP-1","stock/MUG-1","product/MUG-1"]`))
			}
		}
		s.clock.Advance(12 * time.Minute)
	}},
	{"a product without stock", contract.InvariantProduct, "product/CUP-1", func(_ *testing.T, s *stand) {
		s.store.Remove("stock/CUP-1")
	}},
	{"stock without a product", contract.InvariantProduct, "product/CUP-1", func(_ *testing.T, s *stand) {
		s.store.Remove("product/CUP-1")
	}},
}

func TestTheAuditReportsWhatWasPlanted(t *testing.T) {
	sound := newStand()
	sound.busy(t)
	sound.sound(t)
	for _, v := range violations {
		t.Run(v.name, func(t *testing.T) {
			s := newStand()
			s.clock.Advance(sound.clock.Now().Sub(s.clock.Now()))
			records, err := sound.store.Get(t.Context(), sound.store.Keys()...)
			if err != nil {
				t.Fatal(err)
			}
			for key, record := range records {
				s.store.Overwrite(key, record.Value)
			}
			v.plant(t, s)
			all := s.audited(t)
			if !slices.ContainsFunc(all.Findings, func(f pages.Finding) bool { return f.Invariant == v.invariant && f.Key == v.key }) {
				t.Errorf("found %v; want %s at %s", all.Findings, v.invariant, v.key)
			}
		})
	}
}

func TestTheAuditChecksEverythingOnce(t *testing.T) {
	s := newStand()
	s.busy(t)
	all := s.audited(t)
	if len(all.Checked) != 7+len(feed.TrailInvariants) {
		t.Errorf("the invariants are %v", all.Checked)
	}
	for invariant, checked := range all.Checked {
		if checked == 0 {
			t.Errorf("%s was never checked", invariant)
		}
	}
	if all.Counts["holds"] != 400 || all.Counts["onHand"] != 605 || all.Counts["products"] != 1 {
		t.Errorf("counted %v", all.Counts)
	}
}

// Orders from before SKUs were checked have lines of whatever a client sent. They hold nothing, and the audit of what
// others hold goes on.
func TestHoldsOfAnOrderWithAnImpossibleSKU(t *testing.T) {
	s := newStand()
	s.sell(t, "A-1", 5)
	if _, err := s.reserve.Do(t.Context(), reserving("good", line("A-1", 2))); err != nil {
		t.Fatal(err)
	}
	skus := append(documenttest.BadKeys(), "A-1")
	held, err := s.auditor().Holds(t.Context(), contract.HoldsRequest{Orders: []contract.OrderLines{
		{OrderID: "old", PlacedAt: noon.Add(time.Minute), SKUs: skus}, {OrderID: "good", PlacedAt: noon.Add(time.Minute), SKUs: []string{"A-1"}},
	}})
	if err != nil || len(held.Holds) != 1 || held.Holds[0].OrderID != "good" || held.Holds[0].State != contract.HoldReserved {
		t.Errorf("%+v, %v", held, err)
	}
	for _, sku := range documenttest.BadKeys()[1:] {
		command := reserving("old", line("A-1", 1), line(sku, 1))
		if got, err := s.reserve.Do(t.Context(), command); err != nil || got.Outcome != contract.OutcomeUnknownProduct || got.SKU != sku {
			t.Errorf("reserving %+.20q: %+v, %v", sku, got, err)
		}
		release := contract.Release{OrderID: "old", SKUs: []string{"A-1", sku}, PlacedAt: noon.Add(time.Minute)}
		if got, err := s.release.Do(t.Context(), release); err != nil || got.Outcome != contract.OutcomeReleased {
			t.Errorf("releasing %+.20q: %+v, %v", sku, got, err)
		}
	}
	s.sound(t)
}

// interruptedStore runs something before its n-th read, from 0.
type interruptedStore struct {
	document.Store
	left int
	run  func()
}

func (i *interruptedStore) Get(ctx context.Context, keys ...string) (map[string]document.Record, error) {
	if i.left == 0 {
		i.run()
	}
	i.left--
	return i.Store.Get(ctx, keys...)
}

// TestAuditAcceptsAProductThatIsBeingCreated creates a product, or a part of it, before each read of the audit.
func TestAuditAcceptsAProductThatIsBeingCreated(t *testing.T) {
	draft := domain.Draft{SKU: "MUG-1", Name: "Mug", Category: "things", Price: eur(500), InitialStock: 3}
	whole := 0 // how many writes a creation has
	for reached := true; reached; whole++ {
		s := newStand()
		_, err := s.mortal(whole, func(string) bool { return true }).create.Do(t.Context(), draft)
		reached = err != nil
	}
	for writes := range whole {
		for read, interrupted := 0, true; interrupted; read++ {
			s := newStand()
			s.sell(t, "CUP-1", 10)
			interrupted = false
			store := &interruptedStore{Store: s.store, left: read, run: func() {
				interrupted = true
				_, _ = s.mortal(writes, func(string) bool { return true }).create.Do(t.Context(), draft)
			}}
			observer := *s
			observer.shop = s.over(store, s.clock)
			if found := observer.audited(t).Findings; len(found) > 0 {
				t.Errorf("with %d writes before read %d the audit finds %v", writes, read, found)
			}
			if err := s.over(s.store, s.clock).reconcile.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.clock.Advance(time.Hour)
			s.sound(t)
		}
	}
}

// TestAuditReportsAProductThatWasNeverCompleted lets no process open its stock.
func TestAuditReportsAProductThatWasNeverCompleted(t *testing.T) {
	s := newStand()
	mortal := s.mortal(0, func(key string) bool { return strings.HasPrefix(key, "stock/") })
	_, err := mortal.create.Do(t.Context(), domain.Draft{SKU: "MUG-1", Name: "Mug", Category: "things", Price: eur(500), InitialStock: 3})
	if err == nil {
		t.Fatal("it did not die")
	}
	for _, step := range []struct {
		age      time.Duration
		findings int
	}{{11 * time.Minute, 0}, {time.Minute, 1}} {
		s.clock.Advance(step.age)
		if found := s.audited(t).Findings; len(found) != step.findings {
			t.Errorf("%s later the audit finds %v", step.age, found)
		}
	}
}

// TestHoldsAreFoundWhereverTheyAre asks for orders in the head, in the archive, on two SKUs, and for unknown ones.
func TestHoldsAreFoundWhereverTheyAre(t *testing.T) {
	s := newStand()
	s.busy(t)
	var asked contract.HoldsRequest
	for _, n := range []int{0, 40, 399, 400} {
		asked.Orders = append(asked.Orders, contract.OrderLines{
			OrderID: fmt.Sprintf("order-%04d", n), PlacedAt: placed(n), SKUs: []string{"CUP-1", "MUG-1"},
		})
	}
	held, err := s.auditor().Holds(t.Context(), asked)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, h := range held.Holds {
		ids = append(ids, h.OrderID)
		if h.SKU != "CUP-1" || h.State != contract.HoldCommitted || h.Quantity != 1 || h.UnitPrice != 1000 || h.Currency != "EUR" {
			t.Errorf("hold %+v", h)
		}
	}
	if !slices.Equal(ids, []string{"order-0000", "order-0040", "order-0399"}) {
		t.Errorf("held by %v", ids)
	}
}

// placed is when the n-th order of a busy stand was placed.
func placed(n int) time.Time { return noon.Add(time.Minute + time.Duration(n)*time.Second) }

// busy sells a product 400 times and corrects its stock 50 times.
func (s *stand) busy(t *testing.T) {
	t.Helper()
	s.sell(t, "CUP-1", 1000)
	s.clock.Advance(time.Second)
	if _, err := s.correct.Do(t.Context(), "CUP-1", domain.Correction{Change: 5, Reason: "found"}); err != nil {
		t.Fatal(err)
	}
	for n := range 400 {
		id := fmt.Sprintf("order-%04d", n)
		reserve := reserving(id, line("CUP-1", 1))
		reserve.PlacedAt = placed(n)
		commit := contract.Commit{OrderID: id, SKUs: []string{"CUP-1"}, PlacedAt: placed(n)}
		if _, err := s.reserve.Do(t.Context(), reserve); err != nil {
			t.Fatal(err)
		}
		if _, err := s.commit.Do(t.Context(), commit); err != nil {
			t.Fatal(err)
		}
		if n%8 == 0 {
			change := int64(3)
			if n%16 == 0 {
				change = -3
			}
			if _, err := s.correct.Do(t.Context(), "CUP-1", domain.Correction{Change: change, Reason: "counted"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.clock.Advance(time.Hour)
}

// audited is all that the audit says.
func (s *stand) audited(t *testing.T) contract.AuditPage {
	t.Helper()
	auditor, all := s.auditor(), contract.AuditPage{Page: pages.NewPage()}
	for cursor := ""; ; {
		p, err := auditor.Page(t.Context(), pages.Request{Cursor: cursor})
		if err != nil {
			t.Fatal(err)
		}
		all.Add(p.Results)
		all.Holds = append(all.Holds, p.Holds...)
		for name, n := range p.Counts {
			all.Counts[name] += n
		}
		if cursor = p.Next; cursor == "" {
			return all
		}
	}
}

// spoil changes a stored document behind everybody's back.
func spoil(t *testing.T, s *stand, key, old, new string) {
	t.Helper()
	records, err := s.store.Get(t.Context(), key)
	if err != nil || !strings.Contains(string(records[key].Value), old) {
		t.Fatalf("%s does not have %s, %v", key, old, err)
	}
	s.store.Overwrite(key, []byte(strings.Replace(string(records[key].Value), old, new, 1)))
}

// watched lets users watch a product.
func (s *stand) watched(t *testing.T, sku string, userIDs ...string) {
	t.Helper()
	for _, userID := range userIDs {
		if _, err := (app.WatchProduct{Shop: s.shared, Most: 10}).Do(t.Context(), userID, sku); err != nil {
			t.Fatal(err)
		}
	}
}

// cheaper takes 1 EUR off a product.
func (s *stand) cheaper(t *testing.T, sku string) {
	t.Helper()
	price := eur(900)
	_, err := s.documents.Products.Update(t.Context(), sku, func(p *domain.Product) error {
		_, err := p.Apply(domain.Change{Price: &price}, s.clock.Now())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (s *stand) inform(t *testing.T, sku string) {
	t.Helper()
	if err := (app.InformWatchers{Shop: s.shared}).Do(t.Context(), sku); err != nil {
		t.Fatal(err)
	}
}

// Watchers are informed a moment after a product became cheaper, or within some minutes after a crash. Both are sound, as is a user who
// does not watch any more.
func TestTheAuditAcceptsWatchersWhoAreBeingInformed(t *testing.T) {
	s := newStand()
	s.sell(t, "CUP-1", 5)
	s.watched(t, "CUP-1", "u1", "u2", "gone")
	if _, err := s.documents.Watchlists.Update(t.Context(), "gone", func(l *domain.Watchlist) error { return l.Remove("CUP-1") }); err != nil {
		t.Fatal(err)
	}
	s.clock.Advance(time.Hour)
	s.sound(t)
	s.cheaper(t, "CUP-1")
	s.sound(t)
	s.clock.Advance(10 * time.Minute)
	s.sound(t)
	s.inform(t, "CUP-1")
	s.clock.Advance(time.Hour)
	s.sound(t)
	if n := s.audited(t).Counts["watchers"]; n != 3 {
		t.Errorf("the audit has read %d watchers", n)
	}
}
