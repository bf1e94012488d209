package app_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"caravan/internal/clock/clocktest"
	"caravan/internal/document/documenttest"
	"caravan/services/payments/app"
	"caravan/services/payments/contract"
	"caravan/services/payments/domain"
)

// stored loads what a version of payments stored whose archive was a list: a wallet with 24 captured orders and one refund.
func stored(t *testing.T) *fakeProcess {
	t.Helper()
	content, err := os.ReadFile("testdata/list.json")
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Now       time.Time
		Documents map[string]json.RawMessage
	}
	if err := json.Unmarshal(content, &list); err != nil {
		t.Fatal(err)
	}
	store := documenttest.NewStore()
	for key, value := range list.Documents {
		if err := store.Put(t.Context(), key, value, ""); err != nil {
			t.Fatal(err)
		}
	}
	return start(store, clocktest.At(list.Now), nil, limited(2, 4))
}

// An archive of the older form is read and checked, and goes on in the present form.
func TestAnArchiveOfTheOlderFormGoesOn(t *testing.T) {
	p := stored(t)
	check := func(orders int) {
		t.Helper()
		all := p.sound(t)
		equal(t, "postings", all.Counts["postings"], int64(orders+2))
		for order := range orders {
			if got := p.capture(t, order); got != contract.OutcomeCaptured {
				t.Errorf("a repeated capture of order %d is %s", order, got)
			}
		}
		entries, next, err := app.ListPostings{Ledger: p.ledger}.Do(t.Context(), alice, "", 100)
		if err != nil || next != "" || len(entries) != orders+2 {
			t.Errorf("the history has %d entries, %q, %v", len(entries), next, err)
		}
	}
	check(24)
	p.refund(t, 3, "r", 4)  // a repeat
	p.refund(t, 0, "r0", 1) // takes the order out of the list
	p.clock.Advance(time.Hour)
	for order := 24; order < 60; order++ {
		p.authorize(t, order, 10)
		p.capture(t, order)
	}
	account, err := p.ledger.Accounts.Get(t.Context(), alice)
	if err != nil {
		t.Fatal(err)
	}
	if len(account.Archived.Trees) == 0 || account.Archived.Tree.Leaves < 9 {
		t.Fatalf("%d roots and %d leaves", len(account.Archived.Trees), account.Archived.Tree.Leaves)
	}
	all := p.sound(t)
	equal(t, "postings", all.Counts["postings"], int64(60+3))
	equal(t, "segments", all.Counts["segments"], account.Archived.Count)
	for order := range 60 {
		if got := p.capture(t, order); got != contract.OutcomeCaptured {
			t.Errorf("a repeated capture of order %d is %s", order, got)
		}
	}
}

func TestTheAuditSeesDamageInTheOlderForm(t *testing.T) {
	for name, damage := range map[string]func(p *fakeProcess, key string){
		"changed": func(p *fakeProcess, key string) {
			documenttest.Edit(t, p.store, key, func(doc map[string]any) { doc["holds"].(map[string]any)["x"] = map[string]any{} })
		},
		"lost": func(p *fakeProcess, key string) { p.store.Remove(key) },
	} {
		p := stored(t)
		damage(p, p.store.Key(t, domain.AccountPrefix+alice+"/segment/2-"))
		seen := false
		for _, f := range p.total(t).Findings {
			seen = seen || strings.Contains(f.Invariant, contract.InvariantArchive)
		}
		if !seen {
			t.Errorf("a segment that is %s is not noticed", name)
		}
	}
}
