package audit_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	shape "caravan/internal/audit"
	"caravan/internal/document"
	"caravan/internal/document/documenttest"
	"caravan/internal/feed"
	"caravan/services/payments/app"
	"caravan/services/payments/contract"
	"caravan/services/payments/domain"
)

func TestAuditFindsPlantedViolations(t *testing.T) {
	account := domain.AccountPrefix + alice
	for _, c := range []struct {
		name  string
		plant func(t *testing.T, p *world)
		want  string
	}{
		{"money appeared in a wallet", func(t *testing.T, p *world) {
			documenttest.Edit(t, p.store, account, func(doc map[string]any) { doc["books"].(map[string]any)["balance"] = 12345 })
		}, contract.InvariantZeroSum},
		{"a posting was forged on both sides", func(t *testing.T, p *world) {
			documenttest.Edit(t, p.store, account, func(doc map[string]any) {
				books := doc["books"].(map[string]any)
				books["balance"] = books["balance"].(float64) + 50
				counters := books["counters"].(map[string]any)
				counters["bank:test"] = counters["bank:test"].(float64) - 50
			})
		}, contract.InvariantBalance},
		{"a hold was forgotten", func(t *testing.T, p *world) {
			documenttest.Edit(t, p.store, account, func(doc map[string]any) { delete(doc["holds"].(map[string]any), orderID(99)) })
		}, contract.InvariantHeld},
		{"an archived posting was changed", func(t *testing.T, p *world) {
			documenttest.Edit(t, p.store, p.store.Key(t, account+"/archive/0-0"), func(doc map[string]any) {
				doc["postings"].([]any)[0].(map[string]any)["amount"] = 1
			})
		}, contract.InvariantBalance},
		{"an archived order was changed", func(t *testing.T, p *world) {
			documenttest.Edit(t, p.store, p.store.Key(t, account+"/archive/0-1"), func(doc map[string]any) {
				for _, h := range doc["holds"].(map[string]any) {
					h.(map[string]any)["amount"] = 777
				}
			})
		}, contract.InvariantArchive},
		{"an archive segment is lost", func(t *testing.T, p *world) {
			p.store.Remove(p.store.Key(t, account+"/archive/0-1"))
		}, contract.InvariantArchive},
		{"a deposit that nobody asked for", func(t *testing.T, p *world) {
			_, err := p.ledger.Accounts.Update(t.Context(), alice, func(a *domain.Account) error {
				_, err := a.Credit("made-up", eur(5), p.clock.Now(), p.clock.Now(), domain.Past{Count: a.Archived.Count})
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}, contract.InvariantDeposit},
		{"a deposit booked twice", func(t *testing.T, p *world) {
			d := p.deposit(t, alice, "twice", 5)
			_, err := p.ledger.Accounts.Update(t.Context(), alice, func(a *domain.Account) error {
				a.Posted++
				posting := a.Postings[len(a.Postings)-1]
				posting.Sequence = a.Posted
				a.Postings = append(a.Postings, posting)
				a.Books.Balance += posting.Amount
				a.Books.Counters[domain.CounterBank] -= posting.Amount
				return nil
			})
			if err != nil || d.Status != domain.DepositSucceeded {
				t.Fatal(err)
			}
		}, contract.InvariantOperation},
		{"the bank took money that nobody asked for", func(t *testing.T, p *world) {
			if _, err := p.bank.Charge(t.Context(), app.Charge{OperationID: "stray", Source: "tok_ok", Amount: eur(5)}); err != nil {
				t.Fatal(err)
			}
		}, contract.InvariantDeposit},
		{"the bank took another amount", func(t *testing.T, p *world) {
			documenttest.Edit(t, p.store, p.store.Key(t, "testbank/charge/"), func(doc map[string]any) {
				doc["amount"] = map[string]any{"amount": 1, "currency": "EUR"}
			})
		}, contract.InvariantDeposit},
		{"a paid deposit was marked declined", func(t *testing.T, p *world) {
			documenttest.Edit(t, p.store, p.store.Key(t, domain.DepositPrefix), func(doc map[string]any) { doc["status"] = "declined" })
		}, contract.InvariantDeposit},
		{"a capture booked twice", func(t *testing.T, p *world) {
			_, err := p.ledger.Accounts.Update(t.Context(), alice, func(a *domain.Account) error {
				posting := a.Postings[len(a.Postings)-1]
				a.Posted++
				posting.Sequence = a.Posted
				a.Postings = append(a.Postings, posting)
				a.Books.Balance += posting.Amount
				a.Books.Counters[domain.CounterSales] -= posting.Amount
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}, contract.InvariantOperation},
		{"a failed deposit is remembered as declined", func(t *testing.T, p *world) {
			p.deposit(t, bob, "k", 5)
			documenttest.Edit(t, p.store, domain.DepositPrefix+app.DepositID(bob, "k"), func(doc map[string]any) { doc["status"], doc["reason"] = "declined", "bank_unavailable" })
			p.store.Remove("testbank/charge/" + app.DepositID(bob, "k"))
			documenttest.Edit(t, p.store, domain.AccountPrefix+bob, func(doc map[string]any) {
				doc["postings"], doc["posted"], doc["books"] = []any{}, 0, map[string]any{"balance": 0}
			})
		}, contract.InvariantDeposit},
		{"a payment was refused although there was enough", func(t *testing.T, p *world) {
			p.authorize(t, 98, 1_000_000)
			documenttest.Edit(t, p.store, account, func(doc map[string]any) {
				hold := doc["holds"].(map[string]any)[orderID(98)].(map[string]any)
				hold["available"] = hold["wanted"]
			})
		}, contract.InvariantRefusal},
		{"a deposit of another key", func(t *testing.T, p *world) {
			documenttest.Edit(t, p.store, p.store.Key(t, domain.DepositPrefix), func(doc map[string]any) { doc["key"] = "another" })
		}, contract.InvariantDepositKey},
		{"a deposit that the bank never saw is pending for too long", func(t *testing.T, p *world) {
			p.deposit(t, bob, "k", 5)
			for _, key := range p.store.Keys() {
				if strings.HasPrefix(key, "testbank/") {
					p.store.Remove(key)
				}
			}
			documenttest.Edit(t, p.store, p.store.Key(t, domain.DepositPrefix), func(doc map[string]any) { doc["status"] = "pending" })
			p.clock.Advance(16 * time.Minute)
		}, contract.InvariantPending},
		{"an event that the feed lacks", func(t *testing.T, p *world) {
			p.clock.Advance(time.Hour)
			for _, key := range p.store.Keys() {
				if strings.HasPrefix(key, "feed/") && key != "feed/first" {
					p.store.Remove(key)
				}
			}
		}, feed.InvariantIndexed},
		{"a lost event", func(t *testing.T, p *world) {
			documenttest.Edit(t, p.store, account, func(doc map[string]any) { doc["timeline"] = doc["timeline"].([]any)[1:] })
		}, document.InvariantTimeline},
		{"a deposit is pending for too long", func(t *testing.T, p *world) {
			p.request(t, alice, "slow", "tok_timeout", 5)
			p.clock.Advance(16 * time.Minute)
		}, contract.InvariantPending},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := fresh(domain.Limits{Keep: 2, Max: 4})
			p.deposit(t, alice, "k", 1000)
			for order := range 20 {
				p.authorize(t, order, 10)
				p.capture(t, order)
			}
			p.authorize(t, 99, 10)
			p.sound(t)
			c.plant(t, p)
			found := p.total(t).Findings
			if !slices.ContainsFunc(found, func(f shape.Finding) bool { return f.Invariant == c.want }) {
				t.Errorf("found %+v; want %s", found, c.want)
			}
		})
	}
}

// The pages of the audit, however a long archive cuts them, cover every account, segment and order once.
func TestAuditPagesCoverEverything(t *testing.T) {
	p := fresh(domain.Limits{Keep: 1, Max: 2})
	p.deposit(t, alice, "k", 1_000_000)
	const orders = 400 // some 270 segments, several pages
	for order := range orders {
		p.authorize(t, order, 1)
		p.capture(t, order)
	}
	p.refund(t, 3, "r", 1) // takes an order back out of the archive
	const others = 60
	for i := range others {
		p.deposit(t, fmt.Sprintf("user-%d", i), "k", 10)
	}
	all := p.sound(t)
	account, err := p.ledger.Accounts.Get(t.Context(), alice)
	if err != nil {
		t.Fatal(err)
	}
	if account.Archived.Count < 3*64 {
		t.Fatalf("only %d segments, the archive fits on a page or two", account.Archived.Count)
	}
	equal(t, "accounts", all.Counts["accounts"], others+1)
	equal(t, "segments", all.Counts["segments"], account.Archived.Count)
	equal(t, "postings", all.Counts["postings"], orders+2+others)
	equal(t, "charges", all.Counts["charges"], others+1)
	equal(t, "balance", all.Counts["balance.EUR"], 1_000_000-orders+1+10*others)
	equal(t, "the bank's books", all.Counts["bank:test.EUR"], -all.Counts["charged.EUR"])
	first := map[string]contract.OrderMoney{}
	for _, o := range all.Orders {
		if _, younger := first[o.OrderID]; !younger {
			first[o.OrderID] = o
		}
	}
	equal(t, "orders", len(first), orders)
	equal(t, "refunded of the order taken back", first[orderID(3)].Refunded, 1)
}

func TestAuditChecksEverything(t *testing.T) {
	p := fresh(domain.Limits{Keep: 1, Max: 2})
	p.deposit(t, alice, "k", 1000)
	for order := range 20 {
		p.authorize(t, order, 10)
		p.capture(t, order)
	}
	p.refund(t, 3, "r", 1)
	p.clock.Advance(time.Hour)
	for invariant, n := range p.sound(t).Checked {
		if n == 0 {
			t.Errorf("%s was never checked", invariant)
		}
	}
}

// TestOrdersAreFoundWhereverTheyAre asks for orders in the head, in the archive, taken back out of it, and for unknown ones.
func TestOrdersAreFoundWhereverTheyAre(t *testing.T) {
	p := fresh(domain.Limits{Keep: 2, Max: 4})
	p.deposit(t, alice, "k", 1000)
	for order := range 20 {
		p.authorize(t, order, 10)
		p.capture(t, order)
	}
	p.refund(t, 3, "r", 4)
	var asked contract.OrdersRequest
	for _, n := range []int{1, 3, 19, 77} {
		asked.Orders = append(asked.Orders, contract.OrderRef{OrderID: orderID(n), UserID: alice, PlacedAt: at(n)})
	}
	asked.Orders = append(asked.Orders, contract.OrderRef{OrderID: orderID(1), UserID: bob, PlacedAt: at(1)})
	found, err := p.audit.Orders(t.Context(), asked)
	if err != nil {
		t.Fatal(err)
	}
	want := []contract.OrderMoney{
		{OrderID: orderID(1), UserID: alice, State: "captured", Currency: "EUR", Authorized: 10, Captured: 10},
		{OrderID: orderID(3), UserID: alice, State: "captured", Currency: "EUR", Authorized: 10, Captured: 10, Refunded: 4},
		{OrderID: orderID(19), UserID: alice, State: "captured", Currency: "EUR", Authorized: 10, Captured: 10},
	}
	if !slices.Equal(found.Orders, want) {
		t.Errorf("found %+v", found.Orders)
	}
}

func TestAuditIgnoresVoidRegistryEntries(t *testing.T) {
	p := fresh(domain.DefaultLimits())
	p.deposit(t, alice, "k", 10)
	chain := document.NewChain[map[string]string](p.store, "accounts/", 50, document.Options{Clock: p.clock, IDs: uniqueIDs{}})
	for shard := range 16 {
		for _, user := range []string{alice, "never-opened"} {
			if err := chain.Prepend(t.Context(), fmt.Sprint(shard), user, map[string]string{"userId": user, "entry": "lost"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	equal(t, "accounts", p.sound(t).Counts["accounts"], 1)
}

// uniqueIDs names writes; two of one test never meet.
type uniqueIDs struct{}

func (uniqueIDs) New() string { return fmt.Sprint(time.Now().UnixNano()) }

func TestAuditRefusesAStrangeCursor(t *testing.T) {
	if _, err := fresh(domain.DefaultLimits()).audit.Page(t.Context(), shape.Request{Cursor: "nonsense"}); err == nil {
		t.Error("accepted")
	}
}
