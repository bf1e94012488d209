package sim

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"caravan/dapr/client"
	"caravan/internal/correlation"
	"caravan/internal/money"
)

var history = flag.Int("sim.history", 900, "how many orders of one customer for one product TestHistoryCostsNothing places")

// mostBytes are the kinds of documents that the orders of one customer for one product write: the pattern of their keys, in which
// "*" is an id and "#" a number, and the most bytes that one may have. docs/parts/history.md says what bounds each of them.
var mostBytes = map[string]int{
	"orders order/*":                4 << 10,
	"orders orders-of/*":            8 << 10,
	"orders orders-of/*/#":          4 << 10,
	"orders feed/#/#/#":             16 << 10,
	"orders feed/first":             64,
	"orders sweep/*":                256,
	"products stock/*":              16 << 10,
	"products stock-archive/*/#":    4 << 10,
	"payments account/*":            24 << 10,
	"payments account/*/archive/#":  8 << 10,
	"payments account/*/timeline/#": 10 << 10,
	"payments feed/#/#/#":           16 << 10,
	"payments reconciler/*":         256,
	"notifications inbox/*":         64 << 10,
	"notifications inbox/*/#":       8 << 10,
	"notifications inboxes/*":       16 << 10,
	"notifications archived/*/#":    32 << 10,
	"notifications delivery/*":      4 << 10,
	"notifications feed/#/#/#":      16 << 10,
	"notifications sweep/*":         256,
	"notifications cursor/*":        256,
}

// kindOf is the kind of a document: its key without ids and numbers.
func kindOf(app, key string) string {
	parts := strings.Split(key, "/")
	for i, part := range parts[1:] {
		switch {
		case part != "" && strings.Trim(part, "0123456789-") == "":
			parts[i+1] = "#"
		case part != "timeline" && part != "archive" && part != "first":
			parts[i+1] = "*"
		}
	}
	return app + " " + strings.Join(parts, "/")
}

// traffic is what was written and read of one kind of documents.
type traffic struct{ writes, bytes, largest, reads int }

// ledger counts the traffic of the stores.
type ledger map[string]*traffic

func (l ledger) of(app, key string) *traffic {
	kind := kindOf(app, key)
	if l[kind] == nil {
		l[kind] = &traffic{}
	}
	return l[kind]
}

// count counts what the stores of a world write and read from now on.
func (l ledger) count(w *World) {
	for app, s := range w.stores {
		s.asked = func(key string) { l.of(app, key).reads++ }
		s.watch = func(key string, value []byte) {
			t := l.of(app, key)
			t.writes, t.bytes, t.largest = t.writes+1, t.bytes+len(value), max(t.largest, len(value))
		}
	}
}

func (l ledger) all() (sum traffic) {
	for _, t := range l {
		sum.writes, sum.bytes, sum.reads = sum.writes+t.writes, sum.bytes+t.bytes, sum.reads+t.reads
	}
	return sum
}

// table lists the kinds, those with the most bytes first.
func (l ledger) table(orders int) string {
	var b strings.Builder
	per := func(n int) float64 { return float64(n) / float64(orders) }
	kinds := slices.SortedFunc(maps.Keys(l), func(a, b string) int { return cmp.Compare(l[b].bytes, l[a].bytes) })
	for _, kind := range kinds {
		t := l[kind]
		fmt.Fprintf(&b, "%-30s %8.0f bytes, %5.2f writes and %5.2f reads an order; %6d bytes at most\n", kind, per(t.bytes), per(t.writes), per(t.reads), t.largest)
	}
	return b.String()
}

// TestHistoryCostsNothing has one customer place all orders, for one product, 100 a second. The documents are in their full
// size after the first third of the orders. What the last third reads and writes for each order must not be more than what
// the second one does, and no document may exceed the bound of its kind.
//
// With -v it prints a table of the documents; -sim.history=20000 takes some minutes.
func TestHistoryCostsNothing(t *testing.T) {
	keys := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		inQuietWorld(t, keys, func(w *World) {
			customer := customerOfOneProduct(t, w)
			var parts [3]ledger
			size := *history / len(parts)
			for n := range parts {
				parts[n] = ledger{}
				parts[n].count(w)
				placeOrders(t, customer, n*size, size)
				t.Logf("orders %d to %d:\n%s", n*size+1, (n+1)*size, parts[n].table(size))
			}
			before, after := parts[1].all(), parts[2].all()
			for what, pair := range map[string][2]int{
				"writes": {before.writes, after.writes}, "bytes": {before.bytes, after.bytes}, "reads": {before.reads, after.reads},
			} {
				if float64(pair[1]) > 1.1*float64(pair[0]) {
					t.Errorf("%d %s for %d orders after as many others needed %d", pair[1], what, size, pair[0])
				}
			}
			for _, part := range parts {
				for kind, seen := range part {
					if most, known := mostBytes[kind]; !known && seen.writes > 0 {
						t.Errorf("%s is a new kind of document: add it here and to docs/parts/history.md", kind)
					} else if seen.largest > most {
						t.Errorf("%s has %d bytes, more than %d", kind, seen.largest, most)
					}
				}
			}
		})
	})
}

// customerOfOneProduct opens a shop with one product and returns a customer who can pay for everything.
func customerOfOneProduct(t *testing.T, w *World) *client.Client {
	time.Sleep(10 * time.Second) // the programs start
	ctx := correlation.With(context.Background(), "history")
	public := client.New("http://shop", newShop(w, Size{}).http)
	staff, err := public.Login(ctx, adminEmail, password)
	if err != nil {
		t.Fatal(err)
	}
	price := money.Money{Amount: 1, Currency: currency}
	if _, err := staff.CreateProduct(ctx, client.NewProduct{SKU: sku(0), Name: "Product", Category: "sim", Price: price, Stock: 1_000_000}); err != nil {
		t.Fatal(err)
	}
	const email = "customer@caravan.example"
	if _, err := public.RegisterUser(ctx, client.Registration{Email: email, Password: password, Name: "Customer"}); err != nil {
		t.Fatal(err)
	}
	customer, err := public.Login(ctx, email, password)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := customer.Deposit(ctx, "deposit", client.NewDeposit{Amount: 1_000_000, Currency: currency, Source: "tok_ok"}); err != nil {
		t.Fatal(err)
	}
	return customer
}

// placeOrders places orders, 100 a second, and waits for their ends.
func placeOrders(t *testing.T, customer *client.Client, from, count int) {
	var all sync.WaitGroup
	for n := from; n < from+count; n++ {
		all.Go(func() {
			ctx := correlation.With(context.Background(), fmt.Sprintf("order.%d", n))
			accepted, err := customer.PlaceOrder(ctx, fmt.Sprintf("order-%d", n), client.PlaceOrderParams{}, client.NewOrder{Items: []client.NewOrderItem{{SKU: sku(0), Quantity: 1}}})
			if err != nil {
				t.Error(err)
				return
			}
			if order, err := customer.AwaitOrder(ctx, accepted.ID); err != nil || order.Status != client.OrderStatusConfirmed {
				t.Errorf("order %d is %s %s, %v", n, order.Status, order.Reason, err)
			}
		})
		time.Sleep(10 * time.Millisecond)
	}
	all.Wait()
}
