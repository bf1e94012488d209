package e2e

import (
	"net/http"
	"testing"

	"caravan/internal/money"
)

// watchBody is a product that a customer watches.
type watchBody struct {
	SKU          string
	Price, Known money.Money
}

// dropBody is a notification about a product.
type dropBody struct {
	Type, Subject, Title string
	Data                 struct {
		SKU         string
		Available   int64
		Was, Amount money.Money
	}
}

// about waits until the inbox has so many notifications of a type about a product, and returns them, newest first.
func (c *client) about(typ, sku string, want int) (found []dropBody) {
	c.t.Helper()
	eventually(c.t, typ+" of "+sku, func() error {
		found = nil
		inbox, err := tryAll[dropBody](c, "/v1/notifications")
		if err != nil {
			return err
		}
		for _, n := range inbox {
			if n.Type == typ && n.Data.SKU == sku {
				found = append(found, n)
			}
		}
		if len(found) != want {
			return errorf("there are %d; want %d", len(found), want)
		}
		return nil
	})
	return found
}

// cheaper waits until a customer heard so many times that a product got cheaper.
func (c *customer) cheaper(p *product, want int) []dropBody {
	c.t.Helper()
	found := c.about("products.price_dropped.v1", p.SKU, want)
	for _, n := range found {
		if c.told == nil {
			c.told = make(map[string]int)
		}
		c.told[n.Type+" "+n.Subject] = want
	}
	return found
}

// TestWatchersHearOfALowerPrice has two customers who watch a product, and one of them no longer.
func TestWatchersHearOfALowerPrice(t *testing.T) {
	s := shared(t)
	sh := open(t, s)
	p := sh.product(2000, 10)
	ada, bob := sh.customer(0), sh.customer(0)
	path := "/v1/products/" + p.SKU
	price := func(cents int64) {
		sh.admin.must(http.StatusOK, http.MethodPatch, path, map[string]any{"price": euros(cents)}, nil)
	}
	for _, c := range []*customer{ada, bob, bob} {
		var watch watchBody
		c.must(http.StatusOK, http.MethodPut, path+"/watch", nil, &watch)
		if watch.SKU != p.SKU || watch.Price != euros(2000) || watch.Known != euros(2000) {
			t.Errorf("the watch is %+v", watch)
		}
	}
	price(2500) // of no interest
	price(1700)
	price(1500) // the same drop for watchers
	for _, c := range []*customer{ada, bob} {
		n := c.cheaper(p, 1)[0]
		if n.Data.Was != euros(2500) || n.Data.Amount != euros(1500) || n.Title == "" {
			t.Errorf("the notification is %+v", n)
		}
	}
	if _, ok := s.target.(*launched); ok {
		ada.mailed(t, "15.00 EUR", 1)
	}
	ada.must(http.StatusNoContent, http.MethodDelete, path+"/watch", nil, nil)
	ada.must(http.StatusNoContent, http.MethodDelete, path+"/watch", nil, nil)
	if left := all[watchBody](ada.client, "/v1/watches"); len(left) != 0 {
		t.Errorf("after the end of the watch there are %+v", left)
	}
	price(1000)
	bob.cheaper(p, 2)
	ada.cheaper(p, 1)
	if watches := all[watchBody](bob.client, "/v1/watches"); len(watches) != 1 || watches[0].Known != euros(1000) || watches[0].Price != euros(1000) {
		t.Errorf("the watches are %+v", watches)
	}
}

// TestStaffHearOfLowStock buys until few units are left. Further orders are no news.
func TestStaffHearOfLowStock(t *testing.T) {
	sh := open(t, shared(t))
	p := sh.product(100, 7)
	c := sh.customer(1000)
	c.buys(p, 2)
	c.buys(p, 1)
	c.buys(p, 1)
	if n := sh.admin.about("products.stock_low.v1", p.SKU, 1)[0]; n.Data.Available != 4 || n.Title == "" {
		t.Errorf("the notification is %+v", n)
	}
	sh.admin.must(http.StatusOK, http.MethodPost, "/v1/products/"+p.SKU+"/stock", map[string]any{"change": 3, "reason": "A delivery arrived."}, nil)
	p.stock += 3
	c.buys(p, 2)
	sh.admin.about("products.stock_low.v1", p.SKU, 2)
}
