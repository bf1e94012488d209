package planted

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"caravan/dapr/client"
	"caravan/internal/document"
	"caravan/internal/feed"
	notifications "caravan/services/notifications/contract"
	orders "caravan/services/orders/contract"
	paymentsapp "caravan/services/payments/app"
	payments "caravan/services/payments/contract"
	products "caravan/services/products/contract"
	productsdomain "caravan/services/products/domain"
	users "caravan/services/users/contract"
)

// TestASoundSystemHasNoFindings is the other half of the proof. It also shows that every invariant was checked, because
// an invariant that is never checked has no findings either.
func TestASoundSystemHasNoFindings(t *testing.T) {
	keys := t.TempDir()
	checked := make(map[string]int64)
	for _, mails := range []bool{false, true} { // the shop that sends e-mails is too small for archives
		report := run(t, keys, mails, func(*scene) {})
		for _, f := range report.Findings {
			t.Errorf("%s: %s: %s: %s", f.Service, f.Invariant, f.Key, f.Detail)
		}
		for _, i := range report.Invariants {
			checked[i.Service+": "+i.Invariant] += i.Checked
		}
		t.Logf("counts: %v", report.Counts)
	}
	// A system at rest without faults has no dead letters, no waiting messages and no waiting orders.
	idle := []string{notifications.InvariantLetter, notifications.InvariantMessageEnd, orders.InvariantProgress, orders.InvariantWaiting}
	for name, times := range checked {
		if _, invariant, _ := strings.Cut(name, ": "); times == 0 && !slices.Contains(idle, invariant) {
			t.Errorf("%s was never checked", name)
		}
	}
}

// TestTheAuditSeesSpoiledDocuments plants one fault at a time in a sound system.
func TestTheAuditSeesSpoiledDocuments(t *testing.T) {
	keys := t.TempDir()
	plant := func(all []spoiled, mails bool) {
		for _, p := range all {
			t.Run(p.name, func(t *testing.T) {
				report := run(t, keys, mails, p.plant)
				if !names(report, p.service, p.invariant) {
					t.Errorf("the audit does not see that %s of %s is broken; it found %+v", p.invariant, p.service, report.Findings)
				}
			})
		}
	}
	plant(slices.Concat(spoiledOrders, spoiledStock, spoiledMoney, spoiledInboxes, spoiledFeeds, spoiledUsers), false)
	plant(spoiledMessages, true)
}

// names reports whether an audit has a finding for the invariant.
func names(report client.Audit, service, invariant string) bool {
	return slices.ContainsFunc(report.Findings, func(f client.AuditFinding) bool { return f.Service == service && f.Invariant == invariant })
}

// spoiled is one fault in the documents, and the invariant that it violates.
type spoiled struct {
	name, service, invariant string
	plant                    func(*scene)
}

func longAgo() string { return time.Now().Add(-time.Hour).UTC().Format(time.RFC3339Nano) }

var spoiledOrders = []spoiled{
	{"an order that ended twice", orders.App, orders.InvariantOneEnd, func(s *scene) {
		o := s.sold()
		s.edit(orders.App, o.key, func(doc object) {
			e := copied(last(doc, "timeline"))
			add(doc, "sequence", 1)
			add(e, "sequence", 1)
			e["id"], e["type"] = fmt.Sprintf("orders/%s/%v", o.id, e["sequence"]), orders.EventCancelled
			e["data"].(object)["status"] = "cancelled"
			doc["timeline"], doc["status"] = append(doc["timeline"].([]any), e), "cancelled"
		})
	}},
	{"a step that no saga takes", orders.App, orders.InvariantHistory, func(s *scene) {
		s.edit(orders.App, s.sold().key, func(doc object) {
			timeline := doc["timeline"].([]any)
			first, second := timeline[1].(object), timeline[2].(object)
			first["type"], second["type"] = second["type"], first["type"]
			first["data"], second["data"] = second["data"], first["data"]
		})
	}},
	{"a state that its history does not lead to", orders.App, orders.InvariantHistory, func(s *scene) {
		s.edit(orders.App, s.sold().key, func(doc object) { doc["status"] = "refunded" })
	}},
	{"an order that is gone", orders.App, orders.InvariantHeldFor, func(s *scene) {
		s.stored(orders.App).Remove(s.sold().key)
	}},
	{"a paid order that is gone", orders.App, orders.InvariantPaidFor, func(s *scene) {
		s.stored(orders.App).Remove(s.sold().key)
	}},
	{"an event that is gone", orders.App, document.InvariantTimeline, func(s *scene) {
		s.edit(orders.App, s.sold().key, func(doc object) { doc["timeline"] = slices.Delete(doc["timeline"].([]any), 1, 2) })
	}},
	{"an order that was rejected because nobody answered", orders.App, orders.InvariantReason, func(s *scene) {
		s.edit(orders.App, s.refused().key, func(doc object) { doc["reason"] = "payments_unavailable" })
	}},
	{"a failed reservation that was remembered as a refusal", orders.App, orders.InvariantReason, func(s *scene) {
		s.edit(orders.App, s.refused().key, func(doc object) { doc["reason"] = "out_of_stock" })
	}},
	{"a failed payment that was remembered as a refusal", orders.App, orders.InvariantReason, func(s *scene) {
		o := s.refused()
		s.edit(payments.App, "account/"+o.user, func(doc object) {
			doc["holds"].(object)[o.id] = object{"state": "voided", "reason": "order", "placedAt": o.doc["placedAt"]}
		})
	}},
	{"an order that was cancelled before its deadline", orders.App, orders.InvariantReason, func(s *scene) {
		s.edit(orders.App, s.order(func(o order) bool { return o.doc["status"] == "cancelled" }).key, func(doc object) { doc["reason"] = "deadline" })
	}},
	{"a total that is none", orders.App, orders.InvariantTotals, func(s *scene) {
		s.edit(orders.App, s.sold().key, func(doc object) { add(doc["total"], "amount", 1) })
	}},
	{"a price that was never locked", orders.App, orders.InvariantPrice, func(s *scene) {
		s.edit(orders.App, s.sold().key, func(doc object) {
			line := doc["lines"].([]any)[0].(object)
			add(line["unitPrice"], "amount", 1)
			add(line["lineTotal"], "amount", number(line["quantity"]))
			add(doc["total"], "amount", number(line["quantity"]))
		})
	}},
	{"two orders for one idempotency key", orders.App, orders.InvariantKey, func(s *scene) {
		one := s.sold()
		other := s.order(func(o order) bool { return o.user == one.user && o.id != one.id })
		s.edit(orders.App, other.key, func(doc object) { doc["key"] = one.doc["key"] })
	}},
	{"an order that waits for ever", orders.App, orders.InvariantWaiting, func(s *scene) {
		s.edit(orders.App, s.sold().key, func(doc object) {
			capturing(doc)
			doc["waiting"] = object{"step": "capture", "reason": "planted", "attempts": 99, "since": longAgo(), "nextAttemptAt": time.Now()}
		})
	}},
	{"an order that nobody works on", orders.App, orders.InvariantProgress, func(s *scene) {
		s.edit(orders.App, s.sold().key, func(doc object) {
			capturing(doc)
			doc["updatedAt"] = longAgo()
		})
	}},
	{"an order in the list of another user", orders.App, orders.InvariantListed, func(s *scene) {
		o := s.sold()
		list := s.find(orders.App, "orders-of/", func(doc object) bool { return doc["entries"] != nil && !strings.Contains(fmt.Sprint(doc), o.id) })
		s.edit(orders.App, list, func(doc object) { last(doc, "entries")["value"].(object)["orderId"] = o.id })
	}},
	{"an order that its user cannot find", orders.App, orders.InvariantListed, func(s *scene) {
		s.edit(orders.App, s.find(orders.App, "orders-of/", func(doc object) bool { return doc["entries"] != nil }), func(doc object) {
			doc["entries"] = doc["entries"].([]any)[1:]
		})
	}},
	{"an order that its user finds twice", orders.App, orders.InvariantListed, func(s *scene) {
		s.edit(orders.App, s.find(orders.App, "orders-of/", func(doc object) bool { return doc["entries"] != nil }), func(doc object) {
			doc["entries"] = append(doc["entries"].([]any), doc["entries"].([]any)[0])
		})
	}},
	{"a refund that nobody asked for", orders.App, orders.InvariantRefunds, func(s *scene) {
		s.edit(orders.App, s.sold().key, func(doc object) { add(doc["refunded"], "amount", 1) })
	}},
	{"a refund that never reached the wallet", orders.App, orders.InvariantRefunded, func(s *scene) {
		s.edit(orders.App, s.sold().key, func(doc object) {
			add(doc["refunded"], "amount", 1)
			doc["refunds"] = []any{object{"id": "planted", "amount": object{"amount": 1, "currency": "EUR"}, "done": true}}
		})
	}},
}

// capturing sets an order back to the step before its end.
func capturing(doc object) {
	timeline := doc["timeline"].([]any)
	doc["timeline"], doc["status"] = timeline[:len(timeline)-1], "capturing"
	add(doc, "sequence", -1)
}

// holds changes the holds of a stock, one text for each.
func holds(change func(all []string) []string) func(object) {
	return func(doc object) { doc["holds"] = strings.Join(change(strings.Split(doc["holds"].(string), "|")), "|") }
}

// changed replaces a part of the hold of an order.
func changed(orderID, old, now string) func(object) {
	return holds(func(all []string) []string {
		for i, h := range all {
			if strings.HasPrefix(h, orderID+" ") {
				all[i] = strings.Replace(h, old, now, 1)
			}
		}
		return all
	})
}

var spoiledStock = []spoiled{
	{"a lost unit", products.App, products.InvariantStock, func(s *scene) {
		s.edit(products.App, "stock/"+s.sold().sku, func(doc object) { add(doc, "onHand", -1) })
	}},
	{"a unit reserved for nobody", products.App, products.InvariantStock, func(s *scene) {
		s.edit(products.App, "stock/"+s.sold().sku, func(doc object) { add(doc, "reserved", 1) })
	}},
	{"a unit sold twice", products.App, products.InvariantSold, func(s *scene) {
		s.edit(products.App, "stock/"+s.sold().sku, func(doc object) { add(doc, "committed", -1); add(doc, "onHand", 1) })
	}},
	{"an order that took more than it ordered", orders.App, orders.InvariantHeldFor, func(s *scene) {
		o := s.sold()
		s.edit(products.App, "stock/"+o.sku, func(doc object) {
			changed(o.id, fmt.Sprintf(" %d ", o.quantity), fmt.Sprintf(" %d ", o.quantity+1))(doc)
			add(doc, "committed", 1)
			add(doc, "onHand", -1)
		})
	}},
	{"units that were sold and never left", orders.App, orders.InvariantSold, func(s *scene) {
		o := s.sold()
		s.edit(products.App, "stock/"+o.sku, func(doc object) {
			holds(func(all []string) []string {
				return slices.DeleteFunc(all, func(h string) bool { return strings.HasPrefix(h, o.id+" ") })
			})(doc)
			add(doc, "committed", -o.quantity)
			add(doc, "onHand", o.quantity)
		})
	}},
	{"units that left and were never sold", orders.App, orders.InvariantUnits, func(s *scene) {
		s.edit(products.App, "stock/"+s.sold().sku, func(doc object) {
			doc["holds"] = doc["holds"].(string) + "|11111111-2222-4333-8444-555555555555 1 100 committed 1"
			add(doc, "committed", 1)
			add(doc, "onHand", -1)
		})
	}},
	{"a hold left behind", orders.App, orders.InvariantGivenBack, func(s *scene) {
		o := s.failed()
		s.edit(products.App, "stock/"+o.sku, func(doc object) {
			holds(func(all []string) []string {
				for i, h := range all {
					if fields := strings.Fields(h); fields[0] == o.id {
						all[i] = fmt.Sprintf("%s %d %d reserved %s %d", o.id, o.quantity, o.price, fields[4], time.Now().Add(time.Hour).UnixMicro())
					}
				}
				return all
			})(doc)
			add(doc, "reserved", o.quantity)
			add(doc, "onHand", o.quantity)
			add(doc, "received", o.quantity)
		})
	}},
	{"a hold for an order that never was", orders.App, orders.InvariantHeldFor, func(s *scene) {
		s.edit(products.App, "stock/"+s.sold().sku, func(doc object) {
			doc["holds"] = doc["holds"].(string) + "|11111111-2222-4333-8444-555555555555 1 100 committed 1"
			add(doc, "committed", 1)
			add(doc, "onHand", -1)
		})
	}},
	{"one order served twice", products.App, products.InvariantHold, func(s *scene) {
		o := s.sold()
		s.edit(products.App, "stock/"+o.sku, func(doc object) {
			holds(func(all []string) []string {
				i := slices.IndexFunc(all, func(h string) bool { return strings.HasPrefix(h, o.id+" ") })
				return append(all, all[i])
			})(doc)
			add(doc, "committed", o.quantity)
			add(doc, "onHand", -o.quantity)
		})
	}},
	{"a lost leaf of the archive", products.App, products.InvariantArchive, func(s *scene) {
		s.stored(products.App).Remove(s.find(products.App, "stock-archive/", func(object) bool { return true }))
	}},
	{"an altered leaf of the archive", products.App, products.InvariantArchive, func(s *scene) {
		leaf := s.find(products.App, "stock-archive/", func(doc object) bool { return doc["holds"] != nil })
		s.edit(products.App, leaf, holds(func(all []string) []string { return all[1:] }))
	}},
	{"a correction that led to another level", products.App, products.InvariantHistory, func(s *scene) {
		stock := s.find(products.App, "stock/", func(doc object) bool { return doc["timeline"] != nil })
		s.edit(products.App, stock, func(doc object) { add(last(doc, "timeline")["data"], "onHand", 1000) })
	}},
	{"a correction that nobody made", products.App, products.InvariantHistory, func(s *scene) {
		s.edit(products.App, "stock/"+s.sold().sku, func(doc object) { add(doc, "onHand", 1); add(doc, "received", 1) })
	}},
	{"a product without stock", products.App, products.InvariantProduct, func(s *scene) {
		s.stored(products.App).Remove("stock/" + s.sold().sku)
	}},
	{"watchers who never heard of a lower price", products.App, products.InvariantWatchers, func(s *scene) {
		o := s.sold()
		bucket := productsdomain.WatchBucket(o.user)
		s.edit(products.App, "product/"+o.sku, func(doc object) {
			doc["watched"], doc["changedAt"], doc["status"] = json.Number(fmt.Sprint(uint64(1)<<bucket)), longAgo(), "active"
			doc["known"] = doc["price"]
			delete(doc, "schedule")
			add(doc["price"], "amount", -1)
		})
		s.put(products.App, "watchlist/"+o.user, object{"revision": 1, "writeId": "planted", "watches": []any{object{"sku": o.sku, "since": longAgo()}}})
		s.put(products.App, fmt.Sprintf("watchers/%s/%d", o.sku, bucket), object{
			"revision": 1, "writeId": "planted", "users": []any{object{"user": o.user, "price": 1_000_000}},
		})
	}},
}

// account changes the wallet of a sold order.
func account(change func(o order, doc object)) func(*scene) {
	return func(s *scene) {
		o := s.sold()
		s.edit(payments.App, "account/"+o.user, func(doc object) { change(o, doc) })
	}
}

// book adds a posting to a wallet, on both sides.
func book(doc, posting object) {
	add(doc, "posted", 1)
	posting["sequence"] = doc["posted"]
	doc["postings"] = append(doc["postings"].([]any), posting)
	books := doc["books"].(object)
	add(books, "balance", number(posting["amount"]))
	add(books["counters"], posting["counterAccount"].(string), -number(posting["amount"]))
}

var spoiledMoney = []spoiled{
	{"money out of nowhere", payments.App, payments.InvariantZeroSum, account(func(_ order, doc object) { add(doc["books"], "balance", 100) })},
	{"an altered posting", payments.App, payments.InvariantBalance, account(func(_ order, doc object) { add(last(doc, "postings"), "amount", 1) })},
	{"a posting that is gone", payments.App, payments.InvariantPostings, account(func(_ order, doc object) { doc["postings"] = slices.Delete(doc["postings"].([]any), 1, 2) })},
	{"a projection that is off", payments.App, payments.InvariantHeld, account(func(_ order, doc object) { add(doc, "held", 1) })},
	{"more held than there is", payments.App, payments.InvariantAvailable, account(func(_ order, doc object) { add(doc, "held", 1_000_000) })},
	{"more captured than authorized", payments.App, payments.InvariantHold, account(func(o order, doc object) { add(doc["holds"].(object)[o.id], "captured", 1) })},
	{"a capture that booked another amount", payments.App, payments.InvariantOrderPosting, account(func(o order, doc object) { add(doc["holds"].(object)[o.id], "captured", -1) })},
	{"refunded more than captured", payments.App, payments.InvariantRefunds, account(func(o order, doc object) { add(doc["holds"].(object)[o.id], "refunded", 1_000_000) })},
	{"a capture booked twice", payments.App, payments.InvariantOperation, account(func(_ order, doc object) { book(doc, copied(last(doc, "postings"))) })},
	{"more taken than orders paid", orders.App, orders.InvariantRevenue, account(func(_ order, doc object) { book(doc, copied(last(doc, "postings"))) })},
	{"a sale that was not paid", orders.App, orders.InvariantPaid, account(func(o order, doc object) { delete(doc["holds"].(object), o.id) })},
	{"a capture for an order that failed", orders.App, orders.InvariantFree, func(s *scene) {
		o := s.failed()
		s.edit(payments.App, "account/"+o.user, func(doc object) {
			hold := doc["holds"].(object)[o.id].(object)
			book(doc, object{"kind": "capture", "operation": o.id, "orderId": o.id, "amount": json.Number("-1"), "counterAccount": "merchant:sales", "at": time.Now()})
			hold["state"], hold["amount"], hold["captured"], hold["posting"] = "captured", 1, 1, doc["posted"]
		})
	}},
	{"an order paid by another user", orders.App, orders.InvariantPaidFor, func(s *scene) {
		o := s.sold()
		other := s.find(payments.App, "account/", func(doc object) bool { return doc["userId"] != nil && doc["userId"] != o.user })
		s.edit(payments.App, other, func(doc object) {
			doc["holds"].(object)[o.id] = object{"state": "captured", "amount": 1, "captured": 1, "posting": 1, "placedAt": time.Now()}
		})
	}},
	{"a lost archive segment", payments.App, payments.InvariantArchive, func(s *scene) {
		s.stored(payments.App).Remove(s.find(payments.App, "account/", func(doc object) bool { return doc["opening"] != nil }))
	}},
	{"an altered archive segment", payments.App, payments.InvariantArchive, func(s *scene) {
		s.edit(payments.App, s.find(payments.App, "account/", func(doc object) bool { return doc["opening"] != nil }), func(doc object) {
			for _, h := range doc["holds"].(object) {
				h.(object)["placedAt"] = longAgo()
			}
		})
	}},
	{"a deposit that the bank did not pay", payments.App, payments.InvariantDeposit, func(s *scene) {
		s.edit(payments.App, s.find(payments.App, "testbank/charge/", func(object) bool { return true }), func(doc object) { doc["paid"] = false })
	}},
	{"a deposit without an end", payments.App, payments.InvariantPending, func(s *scene) {
		s.edit(payments.App, s.find(payments.App, "deposit/", func(object) bool { return true }), func(doc object) { doc["status"], doc["createdAt"] = "pending", longAgo() })
	}},
	{"a payment that was refused although there was enough", payments.App, payments.InvariantRefusal, func(s *scene) {
		o := s.refused()
		s.edit(payments.App, "account/"+o.user, func(doc object) {
			hold := doc["holds"].(object)[o.id].(object)
			hold["available"] = hold["wanted"]
		})
	}},
	{"a failed deposit that its key remembers", payments.App, payments.InvariantDeposit, func(s *scene) {
		known := s.find(payments.App, "deposit/", func(object) bool { return true })
		var doc object
		s.get(payments.App, known, &doc)
		id := paymentsapp.DepositID(doc["userId"].(string), "failed")
		doc["id"], doc["key"], doc["status"], doc["reason"] = id, "failed", "declined", "bank_unavailable"
		doc["timeline"], doc["sequence"] = nil, 0
		s.put(payments.App, "deposit/"+id, doc)
		s.index(payments.App, known, "deposit/"+id)
	}},
	{"two deposits for one idempotency key", payments.App, payments.InvariantDepositKey, func(s *scene) {
		s.edit(payments.App, s.find(payments.App, "deposit/", func(object) bool { return true }), func(doc object) { doc["key"] = "another" })
	}},
}

// inbox changes an inbox with archived entries.
func inbox(change func(doc object)) func(*scene) {
	return func(s *scene) {
		s.edit(notifications.App, s.find(notifications.App, "inbox/", func(doc object) bool { return doc["segments"] != nil }), change)
	}
}

// segment changes the entries of an archive segment of an inbox.
func segment(change func(entries []any) []any) func(*scene) {
	return func(s *scene) {
		key := s.find(notifications.App, "inbox/", func(doc object) bool { return doc["segments"] != nil }) + "/0"
		var entries []any
		s.get(notifications.App, key, &entries)
		s.put(notifications.App, key, change(entries))
	}
}

var spoiledInboxes = []spoiled{
	{"a notice that is gone", orders.App, orders.InvariantNotice, inbox(func(doc object) {
		entries := doc["entries"].([]any)
		doc["entries"] = entries[:len(entries)-1]
		add(doc, "total", -1)
	})},
	{"a notice that is gone and still counted", notifications.App, notifications.InvariantSegments, inbox(func(doc object) {
		doc["entries"] = doc["entries"].([]any)[1:]
	})},
	{"a notice that came twice", notifications.App, notifications.InvariantOneEntry, inbox(func(doc object) {
		doc["entries"] = append(doc["entries"].([]any), last(doc, "entries"))
		add(doc, "total", 1)
	})},
	{"an archived notice that came again", notifications.App, notifications.InvariantOneEntry, func(s *scene) {
		key := s.find(notifications.App, "inbox/", func(doc object) bool { return doc["segments"] != nil })
		var entries []any
		s.get(notifications.App, key+"/0", &entries)
		s.edit(notifications.App, key, func(doc object) {
			doc["entries"] = append(doc["entries"].([]any), entries[0])
			add(doc, "total", 1)
		})
	}},
	{"a notice for another user", orders.App, orders.InvariantFact, func(s *scene) {
		key := s.find(notifications.App, "inbox/", func(doc object) bool { return doc["segments"] != nil })
		var doc object
		s.get(notifications.App, key, &doc)
		other := s.find(notifications.App, "inbox/", func(doc object) bool { return doc["userId"] != nil && "inbox/"+doc["userId"].(string) != key })
		s.edit(notifications.App, other, func(theirs object) {
			theirs["entries"] = append(theirs["entries"].([]any), last(doc, "entries"))
			add(theirs, "total", 1)
		})
	}},
	{"a notice of what never was", orders.App, orders.InvariantFact, inbox(func(doc object) {
		e := copied(last(doc, "entries"))
		e["event"] = "orders/11111111-2222-4333-8444-555555555555/5"
		doc["entries"] = append(doc["entries"].([]any), e)
		add(doc, "total", 1)
	})},
	{"a notice of a service that is none", orders.App, orders.InvariantFact, inbox(func(doc object) { last(doc, "entries")["event"] = "nobody/1/1" })},
	{"a notice that nobody should get", notifications.App, notifications.InvariantEntry, inbox(func(doc object) { last(doc, "entries")["type"] = orders.EventPlaced })},
	{"an archived notice without its guard", notifications.App, notifications.InvariantDelivery, func(s *scene) {
		s.stored(notifications.App).Remove(s.find(notifications.App, "archived/", func(object) bool { return true }))
	}},
	{"a lost segment of an inbox", notifications.App, notifications.InvariantSegments, func(s *scene) {
		s.stored(notifications.App).Remove(s.find(notifications.App, "inbox/", func(doc object) bool { return doc["segments"] != nil }) + "/0")
	}},
	{"a short segment of an inbox", notifications.App, notifications.InvariantSegments, segment(func(entries []any) []any { return entries[1:] })},
}

var spoiledFeeds = []spoiled{
	{"an order that the feed does not lead to", orders.App, feed.InvariantIndexed, func(s *scene) { s.unindex(orders.App, s.sold().key) }},
	{"a wallet that the feed does not lead to", payments.App, feed.InvariantIndexed, func(s *scene) { s.unindex(payments.App, "account/"+s.sold().user) }},
	{"a notice that the feed cannot prove", orders.App, orders.InvariantFact, func(s *scene) { s.unindex(orders.App, s.sold().key) }},
	{"a cursor that passes by what is to come", orders.App, orders.InvariantPulled, func(s *scene) {
		s.edit(notifications.App, "cursor/orders", func(doc object) { doc["settled"] = fmt.Sprintf("%d.0.0", time.Now().Add(24*time.Hour).Unix()) })
	}},
}

var spoiledUsers = []spoiled{
	{"an account under another's address", users.App, users.InvariantClaim, func(s *scene) {
		s.edit(users.App, "user/"+s.sold().user, func(doc object) { doc["email"] = "somebody.else@caravan.example" })
	}},
	{"a role that nobody gave", users.App, users.InvariantRoles, func(s *scene) {
		s.edit(users.App, "user/"+s.sold().user, func(doc object) { doc["roles"] = []string{"emperor"} })
	}},
}

// TestWhatIsRepairedInTimeIsSeenToo spoils a stock and a wallet for a moment. The audit can no longer see that. The
// simulation, which checks every revision, does.
func TestWhatIsRepairedInTimeIsSeenToo(t *testing.T) {
	result := simulate(t, t.TempDir(), false, func(s *scene) {
		o := s.sold()
		for app, key := range map[string]string{products.App: "stock/" + o.sku, payments.App: "account/" + o.user} {
			whole := s.stored(app).Get(key)
			s.edit(app, key, func(doc object) {
				member := map[string]string{products.App: "reserved", payments.App: "held"}[app]
				add(doc, member, 1)
			})
			s.stored(app).Put(key, whole)
		}
	})
	for _, invariant := range []string{products.InvariantStock, payments.InvariantHeld} {
		if !slices.ContainsFunc(result.Violations, func(v string) bool { return strings.Contains(v, "at a step: "+invariant) }) {
			t.Errorf("%s was broken for a moment and nobody saw it: %v", invariant, result.Violations)
		}
	}
	if len(result.Audit.Findings) > 0 || result.Revisions < 100 {
		t.Errorf("%d revisions were checked; the audit found %v", result.Revisions, result.Audit.Findings)
	}
}
