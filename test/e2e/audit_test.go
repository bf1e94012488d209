package e2e

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"caravan/dapr/launcher"
	"caravan/internal/id"
	"caravan/test/stacktest"
)

// violation is one change of the stored documents, and the finding that the audit must have.
type violation struct {
	name string
	// plant breaks something about an order of two units and its customer.
	plant func(at scene)
	// service and invariant of the finding; key is a part of its key or detail.
	service, invariant string
	key                func(at scene) string
}

// scene is a confirmed order, and everything that it changed.
type scene struct {
	t        *testing.T
	customer *customer
	product  *product
	order    orderBody
	state    func(service string) stacktest.Documents
}

func (at scene) orderID() string { return at.order.ID }
func (at scene) userID() string  { return at.customer.id }
func (at scene) sku() string     { return at.product.SKU }

var violations = []violation{
	{
		name: "money out of nowhere", service: "payments", invariant: "ledger-zero-sum", key: scene.userID,
		plant: account(func(a map[string]any) { add(a["books"], "balance", 100) }),
	},
	{
		name: "a posting that is gone", service: "payments", invariant: "balance-is-sum-of-postings", key: scene.userID,
		plant: account(func(a map[string]any) { a["postings"] = a["postings"].([]any)[:1] }),
	},
	{
		name: "money held for nothing", service: "payments", invariant: "held-is-sum-of-holds", key: scene.userID,
		plant: account(func(a map[string]any) { add(a, "held", 50) }),
	},
	{
		name: "an order that was not paid", service: "orders", invariant: "confirmed-order-paid-once", key: scene.orderID,
		plant: func(at scene) {
			at.state("payments").Change("account/"+at.customer.id, func(a map[string]any) { delete(a["holds"].(map[string]any), at.order.ID) })
		},
	},
	{
		name: "units out of nowhere", service: "products", invariant: "stock-conserved", key: scene.sku,
		plant: stock(func(s map[string]any) { add(s, "onHand", 5) }),
	},
	{
		name: "units reserved for nobody", service: "products", invariant: "stock-conserved", key: scene.sku,
		plant: stock(func(s map[string]any) { add(s, "reserved", 1) }),
	},
	{
		name: "a hold that is gone", service: "orders", invariant: "confirmed-order-has-its-units", key: scene.orderID,
		plant: stock(func(s map[string]any) { s["holds"] = "" }),
	},
	{
		name: "units sold to nobody", service: "orders", invariant: "stock-held-as-ordered", key: func(scene) string { return ghost },
		plant: func(at scene) {
			at.state("products").Change("stock/"+at.product.SKU, func(s map[string]any) {
				sold := s["holds"].(string)
				s["holds"] = sold + "|" + strings.Replace(sold, at.order.ID, ghost, 1)
				add(s, "committed", 2)
				add(s, "onHand", -2)
			})
		},
	},
	{
		name: "an order that is gone, and its stock", service: "orders", invariant: "stock-held-as-ordered", key: scene.orderID,
		plant: func(at scene) { at.state("orders").Remove("order/" + at.order.ID) },
	},
	{
		name: "an order that is gone, and its money", service: "orders", invariant: "money-moves-for-its-order", key: scene.orderID,
		plant: func(at scene) { at.state("orders").Remove("order/" + at.order.ID) },
	},
	{
		name: "an order in another state than its history", service: "orders", invariant: "order-history-legal", key: scene.orderID,
		plant: ordered(func(o map[string]any) { o["status"] = "cancelled" }),
	},
	{
		name: "an order that failed and was paid", service: "orders", invariant: "failed-order-costs-nothing", key: scene.orderID,
		plant: ordered(func(o map[string]any) { o["status"] = "cancelled" }),
	},
	{
		name: "an order that failed and has its units", service: "orders", invariant: "failed-order-holds-no-stock", key: scene.orderID,
		plant: ordered(func(o map[string]any) { o["status"] = "cancelled" }),
	},
	{
		name: "a total that is none", service: "orders", invariant: "order-total-is-sum-of-lines", key: scene.orderID,
		plant: ordered(func(o map[string]any) { add(o["total"], "amount", 1) }),
	},
	{
		name: "a price that was never", service: "orders", invariant: "order-total-is-sum-of-lines", key: scene.orderID,
		plant: ordered(func(o map[string]any) { add(o["lines"].([]any)[0].(map[string]any)["unitPrice"], "amount", -1) }),
	},
	{
		name: "a refund that nobody got", service: "orders", invariant: "refund-reaches-wallet-once", key: scene.orderID,
		plant: ordered(func(o map[string]any) { add(o["refunded"], "amount", 10) }),
	},
	{
		name: "a history with a gap", service: "orders", invariant: "events-without-gap", key: scene.orderID,
		plant: ordered(func(o map[string]any) { o["timeline"] = slices.Delete(o["timeline"].([]any), 2, 3) }),
	},
	{
		name: "an order without an end", service: "orders", invariant: "order-comes-to-an-end", key: scene.orderID,
		plant: ordered(func(o map[string]any) {
			o["status"], o["updatedAt"] = "capturing", time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
			o["timeline"] = o["timeline"].([]any)[:4]
		}),
	},
	{
		name: "a notice that came twice", service: "notifications", invariant: "one-inbox-entry-per-event", key: scene.orderID,
		plant: inbox(func(i map[string]any) {
			entries := i["entries"].([]any)
			i["entries"] = append(entries, entries[len(entries)-1])
			add(i, "total", 1)
		}),
	},
	{
		name: "a notice that is gone", service: "notifications", invariant: "inbox-complete", key: scene.userID,
		plant: inbox(func(i map[string]any) { i["entries"] = i["entries"].([]any)[:1] }),
	},
	{
		name: "an order under the key of another", service: "orders", invariant: "one-order-per-idempotency-key", key: scene.orderID,
		plant: ordered(func(o map[string]any) { o["key"] = "the-key-of-another" }),
	},
	{
		name: "a price that was never locked", service: "orders", invariant: "priced-as-reserved", key: scene.orderID,
		plant: ordered(func(o map[string]any) {
			line := o["lines"].([]any)[0].(map[string]any)
			add(line["unitPrice"], "amount", 1)
			add(line["lineTotal"], "amount", 2)
			add(o["total"], "amount", 2)
		}),
	},
	{
		name: "an order that waits for ever", service: "orders", invariant: "order-waits-within-limit", key: scene.orderID,
		plant: ordered(func(o map[string]any) {
			timeline := o["timeline"].([]any)
			o["status"], o["timeline"] = "capturing", timeline[:len(timeline)-1]
			add(o, "sequence", -1)
			o["waiting"] = map[string]any{
				"step": "capture", "reason": "planted", "attempts": 99,
				"since": time.Now().Add(-time.Hour).UTC(), "nextAttemptAt": time.Now().UTC(),
			}
		}),
	},
	{
		name: "a capture booked twice", service: "payments", invariant: "one-posting-per-operation", key: scene.userID,
		plant: account(func(a map[string]any) {
			postings := a["postings"].([]any)
			again := maps.Clone(postings[len(postings)-1].(map[string]any))
			add(a, "posted", 1)
			again["sequence"] = a["posted"]
			a["postings"] = append(postings, again)
			amount, _ := again["amount"].(json.Number).Int64()
			add(a["books"], "balance", amount)
			add(a["books"].(map[string]any)["counters"], "merchant:sales", -amount)
		}),
	},
	{
		name: "a delivery that nobody received", service: "products", invariant: "stock-history-adds-up", key: scene.sku,
		plant: stock(func(s map[string]any) { add(s, "received", 5); add(s, "onHand", 5) }),
	},
	{
		name: "a role that nobody gave", service: "users", invariant: "roles-known", key: scene.userID,
		plant: func(at scene) {
			at.state("users").Change("user/"+at.customer.id, func(u map[string]any) { u["roles"] = []string{"emperor"} })
		},
	},
	{
		name: "an account under another's address", service: "users", invariant: "one-account-per-address", key: scene.userID,
		plant: func(at scene) {
			at.state("users").Change("user/"+at.customer.id, func(u map[string]any) { u["email"] = "somebody-else@shop.example" })
		},
	},
}

// ghost is the id of an order that does not exist.
var ghost = id.Derive("ghost")

func account(edit func(map[string]any)) func(scene) {
	return func(at scene) { at.state("payments").Change("account/"+at.customer.id, edit) }
}

func stock(edit func(map[string]any)) func(scene) {
	return func(at scene) { at.state("products").Change("stock/"+at.product.SKU, edit) }
}

func ordered(edit func(map[string]any)) func(scene) {
	return func(at scene) { at.state("orders").Change("order/"+at.order.ID, edit) }
}

func inbox(edit func(map[string]any)) func(scene) {
	return func(at scene) { at.state("notifications").Change("inbox/"+at.customer.id, edit) }
}

// add adds to a number of a document.
func add(object any, member string, n int64) {
	fields := object.(map[string]any)
	old, _ := fields[member].(json.Number)
	value, _ := old.Int64()
	fields[member] = json.Number(strconv.FormatInt(value+n, 10))
}

// TestAuditFindsWhatIsPlanted tests the audit, on which all other tests rely. On a clean stack it has no findings. Then
// one thing is broken in each of many orders, and it must find each of these, and nothing else.
func TestAuditFindsWhatIsPlanted(t *testing.T) {
	s := own(t, launcher.Options{Broker: "kafka", Store: settings.store})
	sh := open(t, s)
	sound := confirmed(t, sh)
	scenes := make([]scene, len(violations))
	for i := range scenes {
		scenes[i] = confirmed(t, sh)
	}
	sh.settle()
	if t.Failed() {
		t.FailNow()
	}
	sh.spoiled = true
	sweptPast(t, s, time.Now())
	for i, v := range violations {
		v.plant(scenes[i])
	}
	found := sh.complete().Findings
	for i, v := range violations {
		t.Run(v.name, func(t *testing.T) {
			key := v.key(scenes[i])
			if !slices.ContainsFunc(found, func(f finding) bool {
				return f.Service == v.service && strings.HasPrefix(f.Invariant, v.invariant) && strings.Contains(f.Key+" "+f.Detail, key)
			}) {
				t.Errorf("the audit does not find it at %s", key)
			}
		})
	}
	for _, f := range found {
		for _, part := range []string{sound.order.ID, sound.customer.id, sound.product.SKU} {
			if strings.Contains(f.Key+" "+f.Detail, part) {
				t.Errorf("the audit reports what is correct: %+v", f)
			}
		}
	}
	if t.Failed() {
		for _, f := range found {
			t.Logf("found by %s: %s: %s: %s", f.Service, f.Invariant, f.Key, f.Detail)
		}
	}
}

// confirmed creates an order of two units by a new customer, and waits for its notice.
func confirmed(t *testing.T, sh *shop) scene {
	t.Helper()
	at := scene{t: t, customer: sh.customer(5000), product: sh.product(700, 10)}
	at.order = at.customer.buys(at.product, 2)
	at.order.expect(t, "confirmed", "")
	at.state = func(service string) stacktest.Documents { return sh.stack.documents(t, service) }
	return at
}

// sweptPast waits until the sweep no longer reads orders from before an instant, so that it does not repair what the
// test plants there.
func sweptPast(t *testing.T, s *stack, instant time.Time) {
	t.Helper()
	eventually(t, "the sweep to pass", func() error {
		var cursor struct {
			Settled string `json:"settled"`
		}
		raw, _ := s.documents(t, "orders").Read("sweep/orders")
		if err := json.Unmarshal(raw, &cursor); err != nil {
			return err
		}
		bucket, _, _ := strings.Cut(cursor.Settled, ".")
		if at, err := strconv.ParseInt(bucket, 10, 64); err != nil || at <= instant.Unix() {
			return errorf("it is at %q", cursor.Settled)
		}
		return nil
	})
}
