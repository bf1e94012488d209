package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestGoldenJourney is the main use of the system: register, log in, browse, deposit, order, get the confirmation and
// the notice.
func TestGoldenJourney(t *testing.T) { journey(t, shared(t)) }

// TestGoldenJourneyOnOtherBrokersAndStores does the same on every other component set: only component files differ.
func TestGoldenJourneyOnOtherBrokersAndStores(t *testing.T) {
	for _, other := range others() {
		t.Run(other.Broker+" and "+other.Store, func(t *testing.T) {
			s := own(t, other)
			t.Run("journey", func(t *testing.T) { journey(t, s) })
			t.Run("killed in the middle", func(t *testing.T) { killUnderLoad(t, s, "orders") })
		})
	}
}

// journey does all steps of TestGoldenJourney on a stack.
func journey(t *testing.T, s *stack) {
	sh := open(t, s)
	p := sh.product(1999, 10)

	c := sh.customer(0)
	var me userBody
	c.get("/v1/users/me", &me)
	if me.ID != c.id || !slices.Equal(me.Roles, []string{"customer"}) {
		t.Fatalf("logged in as %+v", me)
	}

	visitor := newClient(t, s, sh.trail)
	eventually(t, "the catalogue to show the new product", func() error {
		found := all[productBody](visitor, "/v1/products")
		if slices.ContainsFunc(found, func(x productBody) bool { return x.SKU == p.SKU && x.Available == 10 && x.Price == p.Price }) {
			return nil
		}
		return errorf("%d products, and not this one", len(found))
	})

	c.deposit(5000)
	if w := c.wallet(); w.Balance != euros(5000) || w.Available != euros(5000) || w.Held != euros(0) {
		t.Fatalf("after the deposit the wallet is %+v", w)
	}

	o := c.buys(p, 2)
	o.expect(t, "confirmed", "")
	if o.Total != euros(3998) || len(o.Lines) != 1 || o.Lines[0].UnitPrice != euros(1999) || o.Lines[0].LineTotal != euros(3998) {
		t.Fatalf("the order is %+v", o)
	}
	want := []string{"placed", "reserved", "authorized", "capturing", "confirmed"}
	if got := o.steps(); !slices.Equal(got, want) {
		t.Errorf("the timeline is %v, want %v", got, want)
	}
	if w := c.wallet(); w.Balance != euros(1002) || w.Held != euros(0) {
		t.Errorf("after the order the wallet is %+v", w)
	}
	notified(t, c, o)
}

// notified waits for the notice of a confirmed order, and reads it.
func notified(t *testing.T, c *customer, o orderBody) {
	t.Helper()
	var notice noticeBody
	eventually(t, "the notice", func() error {
		var inbox listBody[noticeBody]
		c.get("/v1/notifications", &inbox)
		i := slices.IndexFunc(inbox.Items, func(n noticeBody) bool { return n.Type == "orders.confirmed.v1" && n.Subject == o.ID })
		if i < 0 {
			return errorf("%d notices, and not this one", len(inbox.Items))
		}
		notice = inbox.Items[i]
		return nil
	})
	if strings.TrimSpace(notice.Title) == "" || notice.ReadAt != "" {
		t.Errorf("the notice is %+v", notice)
	}
	c.must(http.StatusNoContent, http.MethodPost, "/v1/notifications/"+notice.ID+"/read", nil, nil)
	var inbox listBody[noticeBody]
	c.get("/v1/notifications", &inbox)
	if i := slices.IndexFunc(inbox.Items, func(n noticeBody) bool { return n.ID == notice.ID }); i < 0 || inbox.Items[i].ReadAt == "" {
		t.Errorf("the notice that was read is not marked: %+v", inbox.Items)
	}
}
