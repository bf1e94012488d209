package cells

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"caravan/dapr/client"
	"caravan/internal/id"
	"caravan/internal/money"
	"caravan/test/chaos/intercept"
)

// currency is the currency of the shop.
const currency = "EUR"

func euros(cents int64) money.Money { return money.New(cents, currency) }

// Each cell begins with its own product, with this price and stock, and its own customer, who has this much money and
// orders this many units.
const (
	price    = 250
	stock    = 10
	purse    = 5000
	quantity = 2
)

// trial is one running cell.
type trial struct {
	*testing.T
	w    *world
	name string
	down func() // waits for all cells of the phase, and then until its victim is down
	up   func() // the same until the victim is back

	customer *client.Client
	user     string // the customer's id
	products []*product
	balance  int64 // the wallet's balance without any order
	deposits int
	orders   []string
	key      string // the Idempotency-Key of the first order
	order    string // its id, which is known in advance

	mu     sync.Mutex
	faults []*intercept.Fault
}

// product is a product of the trial, and what was received of it.
type product struct {
	sku      string
	received int64
}

// arrange creates what a cell begins with.
func arrange(t *testing.T, w *world, c cell) *trial {
	t.Helper()
	x := &trial{T: t, w: w, name: c.name, key: id.Random{}.New()}
	t.Cleanup(func() {
		for _, f := range x.faults {
			f.Lift()
			f.Release()
		}
		if t.Failed() {
			w.explain(t, x.order)
		}
	})
	x.product(price, stock)
	email, password := "cell-"+id.Random{}.New()+"@shop.example", "correct horse "+id.Random{}.New()
	user, err := client.New(w.GatewayURL(), w.http).RegisterUser(x.ctx(), client.Registration{Email: email, Password: password, Name: "Zoë Shopper"})
	if err != nil {
		t.Fatal(err)
	}
	if x.customer, err = client.New(w.GatewayURL(), w.http).Login(x.ctx(), email, password); err != nil {
		t.Fatal(err)
	}
	x.user = user.ID
	x.order = id.Derive("order", x.user, x.key)
	x.deposit(purse)
	return x
}

// ctx is a context for one call.
func (x *trial) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	x.Cleanup(cancel)
	return ctx
}

func (x *trial) product(cents, stock int64) *product {
	x.Helper()
	p := &product{sku: "CELL-" + strings.ToUpper(id.Random{}.New()[24:]) + fmt.Sprintf("-%d", len(x.products)), received: stock}
	x.eventually("product "+p.sku+" to be there", func(ctx context.Context) error {
		_, err := x.w.admin.CreateProduct(ctx, client.NewProduct{
			SKU: p.sku, Name: "Lantern of " + x.name, Description: "Shines on faults.", Category: "cells", Price: euros(cents), Stock: stock,
		})
		if client.Status(err) == http.StatusConflict { // an attempt without an answer created it
			return nil
		}
		return err
	})
	x.products = append(x.products, p)
	return p
}

func (x *trial) deposit(cents int64) {
	x.Helper()
	x.booked(id.Random{}.New(), cents)
	x.balance += cents
	x.deposits++
}

// booked makes a deposit. It repeats the request with the same key until the bank has answered.
func (x *trial) booked(key string, cents int64) {
	x.Helper()
	x.eventually("the deposit to succeed", func(ctx context.Context) error {
		got, err := x.customer.TopUp(ctx, key, euros(cents))
		if err == nil && got.Status != "succeeded" {
			err = errorf("it is %s", got.Status)
		}
		return err
	})
}

// The keys of the documents that an order of the trial changes.
func (x *trial) orderKey() string   { return "order/" + x.order }
func (x *trial) sku() string        { return x.products[0].sku }
func (x *trial) stockKey() string   { return "stock/" + x.sku() }
func (x *trial) accountKey() string { return "account/" + x.user }
func (x *trial) inboxKey() string   { return "inbox/" + x.user }

// placement is the order of the trial.
func (x *trial) placement() client.NewOrder {
	return client.NewOrder{Items: []client.NewOrderItem{{SKU: x.sku(), Quantity: quantity}}}
}

// tryPlace places the order once.
func (x *trial) tryPlace(ctx context.Context, placement client.NewOrder) error {
	accepted, err := x.customer.PlaceOrder(ctx, x.key, client.PlaceOrderParams{}, placement)
	if err != nil {
		return err
	}
	if accepted.ID != x.order {
		x.Errorf("the order of key %s is %s; want %s", x.key, accepted.ID, x.order)
	}
	x.remember(x.order)
	return nil
}

func (x *trial) remember(order string) {
	if !slices.Contains(x.orders, order) {
		x.orders = append(x.orders, order)
	}
}

// place places the order. Like every client, it repeats the request with the same key until it is accepted.
func (x *trial) place() { x.placeAs(x.placement()) }

func (x *trial) placeAs(placement client.NewOrder) {
	x.Helper()
	x.eventually("the order to be accepted", func(ctx context.Context) error { return x.tryPlace(ctx, placement) })
}

// buy runs an order until it is confirmed.
func (x *trial) buy() client.Order {
	x.Helper()
	x.place()
	return x.ends("confirmed", "")
}

func (x *trial) eventually(what string, condition func(context.Context) error) {
	x.Helper()
	eventually(x.T, what, condition)
}

// until waits for a state of the order. It ignores calls that fail meanwhile.
func (x *trial) until(what string, wanted func(client.Order) bool) client.Order {
	x.Helper()
	var got client.Order
	x.eventually("order "+x.order+" to come to "+what, func(ctx context.Context) error {
		o, err := x.customer.GetOrder(ctx, x.order, client.GetOrderParams{})
		if err != nil {
			return err
		}
		if got = o; !wanted(o) {
			return fmt.Errorf("it is %s (%s), waiting %+v", o.Status, o.Reason, o.Waiting)
		}
		return nil
	})
	return got
}

// waits waits until the order waits at a step of the saga.
func (x *trial) waits(step string) client.Order {
	x.Helper()
	return x.until("a wait at "+step, func(o client.Order) bool { return o.Waiting != nil && o.Waiting.Step == step })
}

// waitsAgain waits for one more attempt than the order has made so far.
func (x *trial) waitsAgain(step string) client.Order {
	x.Helper()
	first := x.waits(step)
	return x.until("another attempt at "+step, func(o client.Order) bool {
		return o.Waiting != nil && o.Waiting.Step == step && o.Waiting.Attempts > first.Waiting.Attempts
	})
}

// ends waits for the end of the order and checks status and reason.
func (x *trial) ends(status, reason string) client.Order {
	x.Helper()
	o := x.until("an end", func(o client.Order) bool { return o.Status.Ended() })
	if string(o.Status) != status || reason != "" && o.Reason != reason {
		x.Fatalf("the order is %s (%s) after %v; want %s (%s)", o.Status, o.Reason, steps(o), status, reason)
	}
	return o
}

// steps are the facts of an order's timeline, such as "confirmed".
func steps(o client.Order) []string {
	var all []string
	for _, moment := range o.Timeline {
		all = append(all, moment.Type)
	}
	return all
}

// cancel asks for a cancellation of the order until there is an answer.
func (x *trial) cancel() {
	x.Helper()
	x.eventually("the cancellation to be accepted", x.tryCancel)
}

func (x *trial) tryCancel(ctx context.Context) error {
	_, err := x.customer.CancelOrder(ctx, x.order)
	return err
}

// confirmedWhileDown takes the phase's victim down while the order waits at a step, and expects that it is confirmed.
func (x *trial) confirmedWhileDown(step string, calls intercept.Match) {
	x.Helper()
	gate := x.bar(calls)
	x.place()
	x.waits(step)
	x.down()
	x.lift(gate)
	x.ends("confirmed", "")
	x.up()
}

// theRest is the amount of a refund of everything that is left.
var theRest money.Money

// refund asks for a refund as staff until there is an answer.
func (x *trial) refund(key string, amount money.Money) {
	x.Helper()
	x.eventually("the refund to be accepted", func(ctx context.Context) error {
		_, err := x.w.admin.RefundOrder(ctx, x.order, key, client.Refund{Amount: amount, Reason: "broken"})
		return err
	})
}

// reprice changes the price of the first product.
func (x *trial) reprice(cents int64) {
	x.Helper()
	to := euros(cents)
	x.eventually("the price to change", func(ctx context.Context) error {
		_, err := x.w.admin.UpdateProduct(ctx, x.sku(), client.ProductChange{Price: &to})
		return err
	})
}

// refuses expects a call to be refused with a status and a kind of problem.
func (x *trial) refuses(what string, err error, status int, slug string) {
	x.Helper()
	if client.Status(err) != status || slug != "" && client.Slug(err) != slug {
		x.Fatalf("%s: %v; want %d %s", what, err, status, slug)
	}
}

// unanswered expects that a call that met a fault did not succeed.
func (x *trial) unanswered(what string, err error) {
	x.Helper()
	if err == nil {
		x.Fatalf("%s succeeded although nobody could answer", what)
	}
	if status := client.Status(err); status != 0 && status != http.StatusServiceUnavailable {
		x.Errorf("%s: %v; want 503 or no answer at all", what, err)
	}
}

// inject injects a fault, which has to strike before the trial ends.
func (x *trial) inject(match intercept.Match, action intercept.Action, options ...intercept.Option) *intercept.Fault {
	f := x.w.faults.Inject(match, action, options...)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.faults = append(x.faults, f)
	return f
}

// bar answers every matching call as if the callee were unavailable, until it is lifted.
func (x *trial) bar(match intercept.Match) *intercept.Fault {
	return x.inject(match, intercept.Fail(codes.Unavailable), intercept.Always())
}

// pardon removes a fault that cannot strike any more in this run.
func (x *trial) pardon(f *intercept.Fault) {
	f.Lift()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.faults = slices.DeleteFunc(x.faults, func(other *intercept.Fault) bool { return other == f })
}

// struck waits until a fault has struck.
func (x *trial) struck(f *intercept.Fault) {
	x.Helper()
	if err := f.Await(x.ctx()); err != nil {
		x.Fatal(err)
	}
}

// done waits until a fault has struck and all its effects have ended.
func (x *trial) done(f *intercept.Fault) {
	x.Helper()
	if err := f.Done(x.ctx()); err != nil {
		x.Fatal(err)
	}
}

// lift ends a fault that has no end of its own.
func (x *trial) lift(f *intercept.Fault) {
	x.Helper()
	x.struck(f)
	f.Lift()
}

// crashes kills the program of an app that makes the next matching call; restart starts it again. Until then no other
// cell may kill a process of that app.
func (x *trial) crashes(app string, match intercept.Match, action func(intercept.Kill) intercept.Action) (f *intercept.Fault, restart func()) {
	x.Helper()
	var killed atomic.Pointer[string]
	back := x.alone(app, func() []string {
		if name := killed.Load(); name != nil {
			return []string{*name}
		}
		return nil
	})
	f = x.inject(match, action(func(process string) error {
		killed.Store(&process)
		err := x.w.crash(process)
		if err != nil {
			x.Errorf("killing %s: %v", process, err)
		}
		return err
	}))
	return f, func() {
		x.Helper()
		x.done(f)
		back()
	}
}

// alone gives the trial the right to crash processes of an app. back starts those that are down and gives the right
// back, at the latest at the end of the trial.
func (x *trial) alone(app string, down func() []string) (back func()) {
	x.Helper()
	yield := x.w.claim(app)
	back = sync.OnceFunc(func() {
		x.Helper()
		defer yield()
		for _, name := range down() {
			if err := x.w.raise(name); err != nil {
				x.Error(err)
			}
		}
	})
	x.Cleanup(back)
	return back
}

// runsInto repeats a call until it meets the fault, and expects that it does not succeed.
func (x *trial) runsInto(f *intercept.Fault, what string, call func(context.Context) error) {
	x.Helper()
	x.eventually(what+" to run into the fault", func(ctx context.Context) error {
		err := call(ctx)
		x.unanswered(what, err)
		if len(f.Struck()) == 0 {
			return fmt.Errorf("the fault struck no call: %w", err)
		}
		return nil
	})
}

// stored reads a document without its service.
func (x *trial) stored(app, key string) stored {
	x.Helper()
	var got stored
	x.eventually("document "+key, func(ctx context.Context) (err error) {
		got, err = x.w.document(ctx, app, key)
		return err
	})
	return got
}

// level expects how many units of the product are on hand and reserved now.
func (x *trial) level(onHand, reserved int64) {
	x.Helper()
	s := x.stored("products", x.stockKey())
	if s.number("onHand") != onHand || s.number("reserved") != reserved {
		x.Fatalf("on hand %d, reserved %d; want %d and %d", s.number("onHand"), s.number("reserved"), onHand, reserved)
	}
}

// funds expects the balance of the wallet and the money held now.
func (x *trial) funds(balance, held int64) {
	x.Helper()
	s := x.stored("payments", x.accountKey())
	books, _ := s.value["books"].(map[string]any)
	if got := (stored{value: books}).number("balance"); got != balance || s.number("held") != held {
		x.Fatalf("balance %d, held %d; want %d and %d: %s", got, s.number("held"), balance, held, s.raw)
	}
}

// outcome returns the answer to a command for the trial's order only.
func (x *trial) outcome(reply intercept.Reply) string {
	if outcome := outcomeIn(reply.Body()); outcome != "" {
		return outcome
	}
	return reply.String()
}

// answered expects that all calls that met the fault got the same outcome of a command.
func (x *trial) answered(f *intercept.Fault, outcome string) {
	x.Helper()
	replies := f.Replies()
	if len(replies) == 0 {
		x.Error("nobody was answered")
	}
	for i, reply := range replies {
		if !reply.OK() || x.outcome(reply) != outcome {
			x.Errorf("answer %d of %d is %s; want %s", i+1, len(replies), reply, outcome)
		}
	}
}

// outcomeIn returns the outcome in the answer to a single command, or "".
func outcomeIn(answer []byte) string {
	var all struct {
		Results []struct {
			Result struct{ Outcome string }
		}
	}
	if err := json.Unmarshal(answer, &all); err != nil || len(all.Results) != 1 {
		return ""
	}
	return all.Results[0].Result.Outcome
}

// overdue moves the order's deadline into the past, as a jump of the clock would.
func (x *trial) overdue() {
	x.Helper()
	x.eventually("the deadline to be over", func(ctx context.Context) error {
		return x.w.overtake(ctx, "orders", x.orderKey(), func(order map[string]any) {
			order["deadline"] = time.Now().Add(-time.Second).UTC().Format(time.RFC3339Nano)
		})
	})
}

// rival writes a document before its writer does: a real conflict in a real store.
func (x *trial) rival(app, key string) func(intercept.Call) {
	return func(intercept.Call) {
		if err := x.w.overtake(x.ctx(), app, key, func(map[string]any) {}); err != nil {
			x.Errorf("overtaking a writer of %s: %v", key, err)
		}
	}
}

// refusesLater is refuses for another goroutine than that of the trial.
func (x *trial) refusesLater(what string, err error, status int, slug string) {
	if client.Status(err) != status || client.Slug(err) != slug {
		x.Errorf("%s: %v; want %d %s", what, err, status, slug)
	}
}

// placedAt is when the order was placed, as in every command about it.
func (x *trial) placedAt() time.Time {
	x.Helper()
	text, _ := x.stored("orders", x.orderKey()).value["placedAt"].(string)
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		x.Fatal(err)
	}
	return at
}

// decode reads a document in its stored form.
func decode(raw []byte, into *map[string]any) error {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber() // revisions and amounts are integers
	return decoder.Decode(into)
}

// errorf makes the errors of conditions.
func errorf(format string, args ...any) error { return fmt.Errorf(format, args...) }
