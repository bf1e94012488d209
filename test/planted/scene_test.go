// Package planted tests the audit, on which all other tests rely. It plants faults in the documents of a sound system
// and in the code that writes them, and checks that the audit names the violated invariant.
package planted

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"caravan/dapr/client"
	"caravan/test/sim"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // the simulated shop logs many refusals
	runtime.GOMAXPROCS(1)                          // the simulation needs it to repeat a run
	os.Exit(m.Run())
}

// size leads to every kind of archive: more orders than the heads of stocks, wallets, inboxes and lists can have.
var size = sim.Size{Products: 2, Customers: 2, Orders: 40, Changes: 16, Stock: 1000}

// mailing is the size of a shop that sends e-mails.
var mailing = sim.Size{Products: 1, Customers: 2, Orders: 8, Changes: 8, Stock: 1000}

// run simulates the shop, or one that sends e-mails, spoils its documents, and returns the audit.
func run(t *testing.T, keys string, mails bool, spoil func(*scene)) client.Audit {
	t.Helper()
	result := simulate(t, keys, mails, spoil)
	if !result.Audit.Complete {
		t.Fatalf("the audit did not come to its end: %v", result.Violations)
	}
	return result.Audit
}

// mostSeeds is how many shops are tried. One may lack what a fault needs at its end, such as a confirmed order that no archive has yet.
const mostSeeds = 8

// lacking is what a shop does not have. It ends the spoiling before it changed anything.
type lacking string

// simulate runs a seed whose shop has, at its end, what a fault needs.
func simulate(t *testing.T, keys string, mails bool, spoil func(*scene)) sim.Result {
	t.Helper()
	var lacks lacking
	plan := sim.Plan{Size: size, Keys: keys, Log: quiet(), Faults: sim.Faults{Email: mails}, Spoil: func(stored func(app string) sim.Documents) {
		defer func() {
			switch reason := recover().(type) {
			case nil:
			case lacking:
				lacks = reason
			default:
				panic(reason)
			}
		}()
		spoil(&scene{t: t, stored: stored})
	}}
	if mails {
		plan.Size = mailing
	}
	for plan.Seed = 1; plan.Seed <= mostSeeds; plan.Seed++ {
		lacks = ""
		if result := sim.Run(t, plan); lacks == "" {
			return result
		}
	}
	t.Fatalf("none of %d shops has what the fault needs: %s", mostSeeds, lacks)
	return sim.Result{}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// scene is a system at rest before its documents are spoiled.
type scene struct {
	t      *testing.T
	stored func(app string) sim.Documents
}

// object is a JSON object with its numbers as they are written.
type object = map[string]any

func (s *scene) get(app, key string, into any) {
	s.t.Helper()
	raw := s.stored(app).Get(key)
	if raw == nil {
		s.t.Fatalf("%s has no %s", app, key)
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(into); err != nil {
		s.t.Fatalf("%s: %v", key, err)
	}
}

func (s *scene) put(app, key string, value any) {
	s.t.Helper()
	raw, err := json.Marshal(value)
	if err != nil {
		s.t.Fatal(err)
	}
	s.stored(app).Put(key, raw)
}

// edit changes a document.
func (s *scene) edit(app, key string, change func(object)) {
	s.t.Helper()
	var doc object
	s.get(app, key, &doc)
	change(doc)
	s.put(app, key, doc)
}

// find returns the first key with the prefix whose document is wanted.
func (s *scene) find(app, prefix string, wanted func(object) bool) string {
	s.t.Helper()
	for _, key := range s.stored(app).Keys() {
		var doc object
		if !strings.HasPrefix(key, prefix) || json.Unmarshal(s.stored(app).Get(key), &doc) != nil {
			continue
		}
		s.get(app, key, &doc)
		if wanted(doc) {
			return key
		}
	}
	panic(lacking(fmt.Sprintf("%s has no such %s", app, prefix)))
}

// sold returns a confirmed order whose hold and money are still in the heads of their documents.
func (s *scene) sold() order {
	s.t.Helper()
	return s.order(func(o order) bool {
		return o.doc["status"] == "confirmed" && o.doc["refunds"] == nil && strings.Contains(s.text("products", "stock/"+o.sku, "holds"), o.id) &&
			strings.Contains(s.text("payments", "account/"+o.user, "holds"), o.id)
	})
}

// failed returns an order that ended otherwise, with the same condition.
func (s *scene) failed() order {
	s.t.Helper()
	return s.order(func(o order) bool {
		return (o.doc["status"] == "cancelled" || o.doc["status"] == "rejected") && strings.Contains(s.text("products", "stock/"+o.sku, "holds"), o.id) &&
			strings.Contains(s.text("payments", "account/"+o.user, "holds"), o.id)
	})
}

// refused returns an order that was rejected for lack of money and whose tombstone is still in the head of its wallet.
func (s *scene) refused() order {
	s.t.Helper()
	return s.order(func(o order) bool {
		return o.doc["status"] == "rejected" && o.doc["reason"] == "insufficient_funds" && strings.Contains(s.text("payments", "account/"+o.user, "holds"), o.id)
	})
}

// order is a stored order.
type order struct {
	key, id, user, sku string
	quantity, price    int64 // of the first line
	doc                object
}

func (s *scene) order(wanted func(order) bool) order {
	s.t.Helper()
	var found order
	s.find("orders", "order/", func(doc object) bool {
		if doc["lines"] == nil {
			return false
		}
		line := doc["lines"].([]any)[0].(object)
		o := order{id: doc["id"].(string), user: doc["userId"].(string), sku: line["sku"].(string), quantity: number(line["quantity"]), doc: doc}
		if price, ok := line["unitPrice"].(object); ok {
			o.price = number(price["amount"])
		}
		o.key = "order/" + o.id
		if !wanted(o) {
			return false
		}
		found = o
		return true
	})
	return found
}

// text returns a member of a document as it is written.
func (s *scene) text(app, key, member string) string {
	var doc map[string]json.RawMessage
	if raw := s.stored(app).Get(key); raw == nil || json.Unmarshal(raw, &doc) != nil {
		return ""
	}
	return string(doc[member])
}

// unindex removes a document from a service's index.
func (s *scene) unindex(app, key string) {
	for _, entry := range s.stored(app).Keys() {
		var keys []string
		if strings.HasPrefix(entry, "feed/") && json.Unmarshal(s.stored(app).Get(entry), &keys) == nil {
			s.put(app, entry, append([]string{}, slices.DeleteFunc(keys, func(k string) bool { return k == key })...))
		}
	}
}

// index adds a document to a service's index wherever beside is.
func (s *scene) index(app, beside, key string) {
	for _, entry := range s.stored(app).Keys() {
		var keys []string
		if strings.HasPrefix(entry, "feed/") && json.Unmarshal(s.stored(app).Get(entry), &keys) == nil && slices.Contains(keys, beside) {
			s.put(app, entry, append(keys, key))
		}
	}
}

func number(v any) int64 {
	n, ok := v.(json.Number)
	if !ok {
		return 0
	}
	value, err := n.Int64()
	if err != nil {
		panic(fmt.Sprintf("%s is no number of the shop", n))
	}
	return value
}

// add adds to a number of an object.
func add(doc any, member string, n int64) {
	fields := doc.(object)
	fields[member] = json.Number(strconv.FormatInt(number(fields[member])+n, 10))
}

// last returns the last element of a list of an object.
func last(doc object, member string) object {
	list := doc[member].([]any)
	return list[len(list)-1].(object)
}

// copied returns a copy of an object.
func copied(o object) object {
	raw, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	var c object
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(&c); err != nil {
		panic(err)
	}
	return c
}
