package domain_test

import (
	"slices"
	"testing"

	"caravan/services/notifications/contract"
	"caravan/services/notifications/domain"
	orders "caravan/services/orders/contract"
)

func TestTheTableOfKindsIsSound(t *testing.T) {
	names, events := make(map[string]bool), make(map[string]bool)
	for _, k := range domain.Kinds() {
		if k.Name == "" || names[k.Name] {
			t.Errorf("the name %q is empty or used twice", k.Name)
		}
		names[k.Name] = true
		if len(k.Events) == 0 || len(k.Channels) == 0 {
			t.Errorf("%s has %d events and %d channels", k.Name, len(k.Events), len(k.Channels))
		}
		for _, typ := range k.Events {
			if events[typ] {
				t.Errorf("%s leads to two kinds", typ)
			}
			events[typ] = true
			if found, ok := domain.KindOf(typ); !ok || found.Name != k.Name {
				t.Errorf("%s leads to %q, %t; want %s", typ, found.Name, ok, k.Name)
			}
		}
		all := slices.Concat(k.Channels, k.Optional)
		slices.Sort(all)
		if len(slices.Compact(all)) != len(k.Channels)+len(k.Optional) {
			t.Errorf("%s has a channel twice", k.Name)
		}
		for _, c := range domain.Channels() {
			if k.Offers(c) != slices.Contains(all, c) || k.ByDefault(c) != slices.Contains(k.Channels, c) {
				t.Errorf("%s in %s is offered %t, by default %t", k.Name, c, k.Offers(c), k.ByDefault(c))
			}
		}
		if k.Offers(domain.Push) && (k.TTL <= 0 || !slices.Contains([]string{domain.UrgencyLow, domain.UrgencyNormal, domain.UrgencyHigh}, k.Urgency)) {
			t.Errorf("%s has the urgency %q and a TTL of %s", k.Name, k.Urgency, k.TTL)
		}
		if k.Link != "" && (!k.Security || !slices.Equal(all, []domain.Channel{domain.Email})) {
			t.Errorf("%s has a link, and is not a mail only or can be switched off", k.Name)
		}
		if named, ok := domain.KindNamed(k.Name); !ok || named.Name != k.Name {
			t.Errorf("%s is not found by its name", k.Name)
		}
	}
	if _, ok := domain.KindNamed("no-such-kind"); ok {
		t.Error("a kind without a row is found")
	}
	if _, ok := domain.KindOf("orders.capturing.v1"); ok {
		t.Error("an intermediate step has a kind")
	}
}

// The contract names the events with an entry in the inbox, because the audit in orders asks about each of them.
func TestTheContractAgreesWithTheTable(t *testing.T) {
	var inbox []string
	for _, k := range domain.Kinds() {
		if slices.Contains(k.Optional, domain.InApp) {
			t.Errorf("%s is in the inbox of some users only, so the audit could not tell a lost entry from one that is not wanted", k.Name)
		}
		for _, typ := range k.Events {
			if k.ByDefault(domain.InApp) {
				inbox = append(inbox, typ)
			}
			if contract.Notifiable(typ) != k.ByDefault(domain.InApp) {
				t.Errorf("Notifiable(%s) is %t", typ, contract.Notifiable(typ))
			}
		}
	}
	types := contract.InboxTypes()
	slices.Sort(inbox)
	slices.Sort(types)
	if !slices.Equal(inbox, types) {
		t.Errorf("the table puts %q into inboxes, the contract has %q", inbox, types)
	}
}

// Of two messages about one order the later status wins.
func TestTheRanksOfAnOrderFollowItsStatuses(t *testing.T) {
	rank := func(typ string) int {
		k, ok := domain.KindOf(typ)
		if !ok {
			t.Fatalf("%s has no kind", typ)
		}
		return k.Rank
	}
	for _, end := range []string{orders.EventConfirmed, orders.EventRejected, orders.EventCancelled} {
		if placed := rank(orders.EventPlaced); placed < 1 || placed >= rank(end) {
			t.Errorf("placed has rank %d, %s has %d", placed, end, rank(end))
		}
	}
	if rank(orders.EventConfirmed) >= rank(orders.EventRefunded) {
		t.Error("a refund does not come after the confirmation")
	}
}
