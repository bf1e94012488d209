package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"caravan/internal/id"
	"caravan/internal/money"
)

func TestOutOfStock(t *testing.T) {
	sh := open(t, shared(t))
	plenty, scarce := sh.product(500, 10), sh.product(500, 2)
	c := sh.customer(10000)
	c.buys(scarce, 3).expect(t, "rejected", "out_of_stock")

	// One item that is out of stock makes the whole order fail, and the others are not held.
	mixed, _ := c.place(map[string]any{"items": []map[string]any{{"sku": plenty.SKU, "quantity": 4}, {"sku": scarce.SKU, "quantity": 3}}})
	c.await(mixed.ID).expect(t, "rejected", "out_of_stock")

	c.buys(scarce, 2).expect(t, "confirmed", "")
	c.buys(scarce, 1).expect(t, "rejected", "out_of_stock")
}

// TestLastUnits has many customers order few units at the same time: as many orders are confirmed as there are units.
func TestLastUnits(t *testing.T) {
	sh := open(t, shared(t))
	const units, each = 5, 4
	p := sh.product(100, units)
	shoppers := []*customer{sh.customer(10000), sh.customer(10000), sh.customer(10000)}
	var race sync.WaitGroup
	for _, c := range shoppers {
		for range each {
			race.Go(func() { order(c, items(p, 1), id.Random{}.New()) })
		}
	}
	race.Wait()
	confirmed := 0
	for _, c := range shoppers {
		for _, o := range c.orders {
			if ended := c.await(o); ended.Status == "confirmed" {
				confirmed++
			} else {
				ended.expect(t, "rejected", "out_of_stock")
			}
		}
	}
	if confirmed != units {
		t.Errorf("%d orders were confirmed of %d units", confirmed, units)
	}
}

func TestUnknownProduct(t *testing.T) {
	sh := open(t, shared(t))
	c := sh.customer(1000)
	accepted, _ := c.place(map[string]any{"items": []map[string]any{{"sku": "E2E-NO-SUCH-THING", "quantity": 1}}})
	c.await(accepted.ID).expect(t, "rejected", "unknown_product")
}

func TestInsufficientFunds(t *testing.T) {
	sh := open(t, shared(t))
	p := sh.product(700, 10)
	poor, broke := sh.customer(1000), sh.customer(0)
	poor.buys(p, 2).expect(t, "rejected", "insufficient_funds")
	broke.buys(p, 1).expect(t, "rejected", "insufficient_funds")
	poor.buys(p, 1).expect(t, "confirmed", "")
	poor.buys(p, 1).expect(t, "rejected", "insufficient_funds")
}

// TestPriceChanged shows that customers pay only the price that they saw.
func TestPriceChanged(t *testing.T) {
	sh := open(t, shared(t))
	p := sh.product(1000, 10)
	c := sh.customer(10000)
	seen := items(p, 2)
	seen["expectedTotal"] = euros(2000)
	agreed, _ := c.place(seen)
	c.await(agreed.ID).expect(t, "confirmed", "")

	seen["expectedTotal"] = map[string]any{"amount": 2000, "currency": "USD"}
	foreign, _ := c.place(seen)
	c.await(foreign.ID).expect(t, "rejected", "currency_mismatch")
	seen["expectedTotal"] = euros(2000)

	sh.admin.must(http.StatusOK, http.MethodPatch, "/v1/products/"+p.SKU, map[string]any{"price": euros(1100)}, nil)
	dearer, _ := c.place(seen)
	c.await(dearer.ID).expect(t, "rejected", "price_changed")

	seen["expectedTotal"] = euros(2200)
	again, _ := c.place(seen)
	c.await(again.ID).expect(t, "confirmed", "")
}

// order places an order from any goroutine. Like every client, it repeats the request with its key until it gets an
// answer.
func order(c *customer, body map[string]any, key string) {
	err := within(waitLimit, func() error {
		got, err := c.call(http.MethodPost, "/v1/orders", body, idempotent(key))
		if err != nil {
			return err
		}
		switch {
		case got.status == http.StatusAccepted:
			_, order, _ := strings.Cut(got.header.Get("Location"), "/v1/orders/")
			c.remember(order)
			return nil
		case got.status >= http.StatusInternalServerError:
			return fmt.Errorf("%s", got)
		}
		c.t.Errorf("%s", got)
		return nil
	})
	if err != nil {
		c.t.Errorf("placing an order: %v", err)
	}
}

// TestPlacedAndEndedInOneCall places orders with a wait: the answer is the order at its end, as a read shows it, also that of a repeat.
func TestPlacedAndEndedInOneCall(t *testing.T) {
	sh := open(t, shared(t))
	p := sh.product(300, 1)
	c := sh.customer(1000)
	for _, test := range []struct {
		query, prefer, status, reason string
		quantity                      int64
	}{
		{query: "?wait=10s", prefer: "respond-async", status: "confirmed", quantity: 1},
		{prefer: "respond-async, wait=10", status: "rejected", reason: "out_of_stock", quantity: 2},
	} {
		key := id.Random{}.New()
		var ended, shown orderBody
		got := c.must(http.StatusCreated, http.MethodPost, "/v1/orders"+test.query, items(p, test.quantity), &ended, idempotent(key), header{"Prefer", test.prefer})
		c.remember(ended.ID)
		ended.expect(t, test.status, test.reason)
		if location, applied := got.header.Get("Location"), got.header.Get("Preference-Applied"); location != "/v1/orders/"+ended.ID || (applied == "wait=10") != (test.query == "") {
			t.Errorf("the order is at %q, the preference %q", location, applied)
		}
		again := c.must(http.StatusCreated, http.MethodPost, "/v1/orders?wait=1s", items(p, test.quantity), nil, idempotent(key))
		read := c.must(http.StatusOK, http.MethodGet, "/v1/orders/"+ended.ID, nil, &shown)
		if string(got.body) != string(read.body) || string(again.body) != string(read.body) {
			t.Errorf("the answer is %s, that of a repeat %s, and the order %s", got.body, again.body, read.body)
		}
		if late := c.must(http.StatusAccepted, http.MethodPost, "/v1/orders", items(p, test.quantity), nil, idempotent(key)); late.header.Get("Location") != "/v1/orders/"+ended.ID {
			t.Errorf("a repeat that does not wait gets %s", late)
		}
	}
	if refused := c.must(http.StatusBadRequest, http.MethodPost, "/v1/orders?wait=11s", items(p, 1), nil, idempotent(id.Random{}.New())); refused.problem(t).Errors[0].Field != "wait" {
		t.Errorf("a wait that is too long gets %s", refused)
	}
}

// TestSameKeyTwentyTimes sends one request twenty times at once: there is one order, and all get the same answer.
func TestSameKeyTwentyTimes(t *testing.T) {
	sh := open(t, shared(t))
	p := sh.product(300, 100)
	c := sh.customer(10000)
	key := id.Random{}.New()
	answers := make([]answer, 20)
	var storm sync.WaitGroup
	for i := range answers {
		storm.Go(func() {
			got, err := c.call(http.MethodPost, "/v1/orders", items(p, 1), idempotent(key))
			if err != nil {
				t.Error(err)
			}
			answers[i] = got
		})
	}
	storm.Wait()
	for _, got := range answers {
		if got.status != http.StatusAccepted || string(got.body) != string(answers[0].body) || got.header.Get("Location") != answers[0].header.Get("Location") {
			t.Fatalf("%s at %q; the first got %s at %q", got, got.header.Get("Location"), answers[0], answers[0].header.Get("Location"))
		}
	}
	var accepted acceptedBody
	answers[0].into(t, &accepted)
	c.remember(accepted.ID)
	c.await(accepted.ID).expect(t, "confirmed", "")

	late := c.must(http.StatusAccepted, http.MethodPost, "/v1/orders", items(p, 1), nil, idempotent(key))
	if string(late.body) != string(answers[0].body) {
		t.Errorf("a repeat after the end gets %s; the first got %s", late.body, answers[0].body)
	}
	refused := c.must(http.StatusUnprocessableEntity, http.MethodPost, "/v1/orders", items(p, 2), nil, idempotent(key))
	if kind := refused.problem(t).Type; !strings.HasPrefix(kind, "urn:caravan:problem:") {
		t.Errorf("the problem's type is %q", kind)
	}
	// A key belongs to its customer: another one may use the same.
	other := sh.customer(1000)
	var theirs acceptedBody
	other.must(http.StatusAccepted, http.MethodPost, "/v1/orders", items(p, 3), &theirs, idempotent(key))
	other.remember(theirs.ID)
	if theirs.ID == accepted.ID {
		t.Error("two customers share an order")
	}
}

// TestSameDepositTwice shows the same for deposits.
func TestSameDepositTwice(t *testing.T) {
	sh := open(t, shared(t))
	c := sh.customer(0)
	key, body := id.Random{}.New(), map[string]any{"amount": 700, "currency": currency, "source": "tok_ok"}
	var storm sync.WaitGroup
	for range 8 {
		storm.Go(func() {
			if got, err := c.call(http.MethodPost, "/v1/wallet/deposits", body, idempotent(key)); err != nil || got.status != http.StatusCreated && got.status != http.StatusAccepted {
				t.Errorf("%s, %v", got, err)
			}
		})
	}
	storm.Wait()
	c.booked(key, body)
	c.deposits = append(c.deposits, 700)
	body["amount"] = 800
	c.must(http.StatusUnprocessableEntity, http.MethodPost, "/v1/wallet/deposits", body, nil, idempotent(key))
}

func TestDeclinedDeposit(t *testing.T) {
	sh := open(t, shared(t))
	c := sh.customer(0)
	body := map[string]any{"amount": 700, "currency": currency, "source": "tok_declined"}
	c.must(http.StatusUnprocessableEntity, http.MethodPost, "/v1/wallet/deposits", body, nil, idempotent(id.Random{}.New()))
	if w := c.wallet(); w.Balance.Amount != 0 {
		t.Errorf("the wallet is %+v", w)
	}
}

// TestSilentBank deposits from a bank that takes the money and does not answer. The deposit is pending until the bank
// is asked again, and the money is credited once.
func TestSilentBank(t *testing.T) {
	sh := open(t, shared(t))
	c := sh.customer(500)
	body := map[string]any{"amount": 700, "currency": currency, "source": "tok_timeout"}
	key := idempotent(id.Random{}.New())
	got, err := c.call(http.MethodPost, "/v1/wallet/deposits", body, key)
	if err != nil || got.status != http.StatusAccepted && got.status != http.StatusCreated {
		t.Fatalf("%s, %v", got, err)
	}
	c.deposits = append(c.deposits, 700)
	var deposit acceptedBody
	eventually(t, "the deposit to be settled", func() error {
		if c.get(got.header.Get("Location"), &deposit); deposit.Status != "succeeded" {
			return errorf("it is %q", deposit.Status)
		}
		return nil
	})
	var again acceptedBody
	c.must(http.StatusCreated, http.MethodPost, "/v1/wallet/deposits", body, &again, key)
	if again.ID != deposit.ID {
		t.Errorf("the same request makes the deposits %s and %s", deposit.ID, again.ID)
	}
	var sum int64
	for _, posting := range all[struct{ Amount money.Money }](c.client, "/v1/wallet/postings") {
		sum += posting.Amount.Amount
	}
	if sum != 1200 {
		t.Errorf("the postings add up to %d", sum)
	}
}

// TestCancelBeforeThePivot cancels an order that holds stock and waits for the money: the stock is released.
func TestCancelBeforeThePivot(t *testing.T) {
	s := shared(t)
	sh := open(t, s)
	p := sh.product(400, 5)
	c := sh.customer(10000)
	s.crash(t, "payments")
	accepted, _ := c.place(items(p, 3))
	c.waits(accepted.ID, "authorize").expect(t, "reserved", "")
	var held productBody
	eventually(t, "the stock to be held", func() error {
		if sh.admin.get("/v1/products/"+p.SKU, &held); held.Reserved != 3 {
			return errorf("reserved %d", held.Reserved)
		}
		return nil
	})
	c.must(http.StatusAccepted, http.MethodPost, "/v1/orders/"+accepted.ID+"/cancel", nil, nil)
	s.raise(t, "payments")
	o := c.await(accepted.ID)
	o.expect(t, "cancelled", "cancelled_by_customer")

	// A second cancel has the same answer and no further effect.
	c.must(http.StatusAccepted, http.MethodPost, "/v1/orders/"+accepted.ID+"/cancel", nil, nil)
}

// TestCancelAfterThePivot cancels too late: an order that is being paid goes forward.
func TestCancelAfterThePivot(t *testing.T) {
	s := shared(t)
	sh := open(t, s)
	p := sh.product(400, 5)
	c := sh.customer(10000)
	accepted := atCommit(t, c, items(p, 2))
	c.must(http.StatusConflict, http.MethodPost, "/v1/orders/"+accepted+"/cancel", nil, nil)
	s.raise(t, "products")
	c.await(accepted).expect(t, "confirmed", "")
	c.must(http.StatusConflict, http.MethodPost, "/v1/orders/"+accepted+"/cancel", nil, nil)
}

// atCommit brings an order past the pivot and leaves it there, paid, with the products service down. First payments is
// down until the order has reserved, then products is down until the test starts it.
func atCommit(t *testing.T, c *customer, body map[string]any) string {
	t.Helper()
	s := c.shop.stack
	s.crash(t, "payments")
	accepted, _ := c.place(body)
	c.waits(accepted.ID, "authorize")
	s.crash(t, "products")
	s.raise(t, "payments")
	c.waits(accepted.ID, "capture").expect(t, "capturing", "")
	eventually(t, "the money to be taken", func() error {
		if w := c.wallet(); w.Held.Amount != 0 {
			return errorf("the wallet is %+v", w)
		}
		return nil
	})
	return accepted.ID
}

func TestRefund(t *testing.T) {
	sh := open(t, shared(t))
	p := sh.product(1000, 10)
	c := sh.customer(10000)
	o := c.buys(p, 3)
	o.expect(t, "confirmed", "")
	path := "/v1/orders/" + o.ID + "/refund"

	c.must(http.StatusForbidden, http.MethodPost, path, map[string]any{"reason": "I want it back"}, nil)
	part := map[string]any{"amount": euros(1200), "reason": "one arrived broken"}
	key := idempotent(id.Random{}.New())
	sh.admin.must(http.StatusAccepted, http.MethodPost, path, part, nil, key)
	refunded := func(cents int64) func(orderBody) bool {
		return func(o orderBody) bool { return o.terminal() && o.Refunded.Amount == cents }
	}
	c.until(o.ID, "a refund in part", refunded(1200)).expect(t, "confirmed", "")
	// The same request again is the same refund.
	sh.admin.must(http.StatusAccepted, http.MethodPost, path, part, nil, key)
	c.until(o.ID, "the same refund", refunded(1200)).expect(t, "confirmed", "")
	if w := c.wallet(); w.Balance != euros(8200) {
		t.Errorf("after a refund in part the wallet is %+v", w)
	}

	too := sh.admin.must(http.StatusUnprocessableEntity, http.MethodPost, path, map[string]any{"amount": euros(1801), "reason": "too much"}, nil)
	if too.problem(t).CorrelationID == "" {
		t.Errorf("%s has no correlation id", too)
	}
	sh.admin.must(http.StatusAccepted, http.MethodPost, path, map[string]any{"reason": "the rest broke, too"}, nil)
	c.until(o.ID, "a refund in whole", refunded(3000)).expect(t, "refunded", "")
	if w := c.wallet(); w.Balance != euros(10000) {
		t.Errorf("after a refund in whole the wallet is %+v", w)
	}
	sh.admin.must(http.StatusUnprocessableEntity, http.MethodPost, path, map[string]any{"reason": "once more"}, nil)
}

// TestHistory shows a customer's orders newest first, page by page.
func TestHistory(t *testing.T) {
	sh := open(t, shared(t))
	p := sh.product(10, 100)
	c := sh.customer(10000)
	for range 7 {
		c.place(items(p, 1))
	}
	var seen []string
	for cursor := ""; ; {
		var page listBody[orderBody]
		c.get("/v1/orders?limit=3"+cursor, &page)
		if len(page.Items) > 3 {
			t.Fatalf("a page of 3 has %d orders", len(page.Items))
		}
		for _, o := range page.Items {
			seen = append(seen, o.ID)
		}
		if page.Next == "" {
			break
		}
		cursor = "&cursor=" + url.QueryEscape(page.Next)
	}
	slices.Reverse(seen)
	if !slices.Equal(seen, c.orders) {
		t.Errorf("the history is %v; placed were %v", seen, c.orders)
	}
}
