package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"caravan/internal/event"
	"caravan/internal/id"
)

// TestOthersThingsDoNotExist shows that things of another user are answered as not existing.
func TestOthersThingsDoNotExist(t *testing.T) {
	sh := open(t, shared(t))
	p := sh.product(100, 5)
	owner, other := sh.customer(1000), sh.customer(500)
	o := owner.buys(p, 2)
	o.expect(t, "confirmed", "")
	notified(t, owner, o)
	var inbox listBody[noticeBody]
	owner.get("/v1/notifications", &inbox)

	missing := id.Random{}.New()
	for _, pair := range []struct{ method, theirs, nobodys string }{
		{http.MethodGet, "/v1/orders/" + o.ID, "/v1/orders/" + missing},
		{http.MethodPost, "/v1/orders/" + o.ID + "/cancel", "/v1/orders/" + missing + "/cancel"},
		{http.MethodPost, "/v1/notifications/" + inbox.Items[0].ID + "/read", "/v1/notifications/" + missing + "/read"},
		{http.MethodDelete, "/v1/notifications/" + inbox.Items[0].ID, "/v1/notifications/" + missing},
	} {
		theirs := other.must(http.StatusNotFound, pair.method, pair.theirs, nil, nil).problem(t)
		nobodys := other.must(http.StatusNotFound, pair.method, pair.nobodys, nil, nil).problem(t)
		if theirs.Type != nobodys.Type || theirs.Detail != nobodys.Detail {
			t.Errorf("%s tells that it exists: %+v; of what does not: %+v", pair.theirs, theirs, nobodys)
		}
	}
	if w := other.wallet(); w.Balance != euros(500) {
		t.Errorf("the wallet of another is %+v", w)
	}
	for path, items := range map[string]int{"/v1/orders": len(all[orderBody](other.client, "/v1/orders")), "/v1/notifications": countOf(other, o.ID)} {
		if items != 0 {
			t.Errorf("%s shows %d things of another", path, items)
		}
	}
	var seen orderBody
	sh.admin.get("/v1/orders/"+o.ID, &seen)
	if seen.ID != o.ID {
		t.Errorf("staff sees %+v", seen)
	}
}

func countOf(c *customer, subject string) int {
	notices := all[noticeBody](c.client, "/v1/notifications")
	return len(slices.DeleteFunc(notices, func(n noticeBody) bool { return n.Subject != subject }))
}

// TestPermissions shows that nobody can do what their role does not allow.
func TestPermissions(t *testing.T) {
	sh := open(t, shared(t))
	c, visitor := sh.customer(0), newClient(t, sh.stack, sh.trail)
	forged := newClient(t, sh.stack, sh.trail)
	forged.email, forged.session.AccessToken, forged.expires = "x", "eyJhbGciOiJub25lIn0.e30.", time.Now().Add(time.Hour)
	for _, call := range []struct {
		method, path string
		body         any
	}{
		{http.MethodPost, "/v1/products", map[string]any{"sku": "E2E-NOT-MINE", "name": "x", "category": "x", "price": euros(1)}},
		{http.MethodPatch, "/v1/products/E2E-NOT-MINE", map[string]any{"name": "x"}},
		{http.MethodPost, "/v1/products/E2E-NOT-MINE/stock", map[string]any{"change": 1, "reason": "x"}},
		{http.MethodPost, "/v1/orders/" + id.Random{}.New() + "/refund", map[string]any{"reason": "x"}},
		{http.MethodGet, "/v1/users", nil},
		{http.MethodPut, "/v1/users/" + c.id + "/roles", map[string]any{"roles": []string{"admin"}}},
		{http.MethodGet, "/v1/ops/orders", nil},
		{http.MethodGet, "/v1/ops/audit", nil},
		{http.MethodGet, "/v1/ops/breakers", nil},
		{http.MethodGet, "/v1/ops/services", nil},
		{http.MethodGet, "/v1/ops/dead-letters", nil},
		{http.MethodGet, "/v1/ops/notifications", nil},
		{http.MethodPost, "/v1/ops/notifications/" + id.Random{}.New() + ".0/resend", nil},
	} {
		c.must(http.StatusForbidden, call.method, call.path, call.body, nil)
		visitor.must(http.StatusUnauthorized, call.method, call.path, call.body, nil)
		forged.must(http.StatusUnauthorized, call.method, call.path, call.body, nil)
	}
	for _, path := range []string{"/internal/audit", "/internal/reserve", "/events/orders", "/dapr/config", "/v1.0/state/store/x", "/metrics", "/v1/nothing"} {
		visitor.must(http.StatusNotFound, http.MethodPost, path, map[string]any{}, nil)
		sh.admin.must(http.StatusNotFound, http.MethodPost, path, map[string]any{}, nil)
	}
}

// TestBadInput sends invalid requests. Each answer must name the field, and no request may have an effect.
func TestBadInput(t *testing.T) {
	sh := open(t, shared(t))
	p := sh.product(100, 5)
	c := sh.customer(1000)
	line := func(sku, quantity any) map[string]any {
		return map[string]any{"items": []map[string]any{{"sku": sku, "quantity": quantity}}}
	}
	deposit := func(amount, currency, source any) map[string]any {
		return map[string]any{"amount": amount, "currency": currency, "source": source}
	}
	register := func(email, password, name any) map[string]any {
		return map[string]any{"email": email, "password": password, "name": name}
	}
	creation := func(changed string, to any) map[string]any {
		body := map[string]any{"sku": "E2E-BAD-INPUT", "name": "x", "category": "tests", "price": euros(1), "stock": 1}
		body[changed] = to
		return body
	}
	good := "an excellent long password"
	for _, bad := range []struct {
		name   string
		as     *client
		method string
		path   string
		body   any
		field  string // the start of the field's path
	}{
		{"no items", c.client, http.MethodPost, "/v1/orders", map[string]any{"items": []any{}}, "items"},
		{"items missing", c.client, http.MethodPost, "/v1/orders", map[string]any{}, "items"},
		{"quantity of nothing", c.client, http.MethodPost, "/v1/orders", line(p.SKU, 0), "items[0].quantity"},
		{"negative quantity", c.client, http.MethodPost, "/v1/orders", line(p.SKU, -1), "items[0].quantity"},
		{"a fraction of a thing", c.client, http.MethodPost, "/v1/orders", line(p.SKU, 1.5), "items[0].quantity"},
		{"quantity as text", c.client, http.MethodPost, "/v1/orders", line(p.SKU, "1"), "items[0].quantity"},
		{"no SKU", c.client, http.MethodPost, "/v1/orders", line("", 1), "items[0].sku"},
		{"a SKU of two keys", c.client, http.MethodPost, "/v1/orders", line("a||b", 1), "items[0].sku"},
		{"a SKU with a NUL", c.client, http.MethodPost, "/v1/orders", line("TEA\x00", 1), "items[0].sku"},
		{"one SKU twice", c.client, http.MethodPost, "/v1/orders", map[string]any{"items": []map[string]any{{"sku": p.SKU, "quantity": 1}, {"sku": p.SKU, "quantity": 1}}}, "items[1].sku"},
		{"unknown member", c.client, http.MethodPost, "/v1/orders", `{"items":[{"sku":"` + p.SKU + `","quantity":1,"price":1}]}`, "items[0].price"},
		{"member in other case", c.client, http.MethodPost, "/v1/orders", `{"Items":[{"sku":"` + p.SKU + `","quantity":1}]}`, "Items"},
		{"total in no currency", c.client, http.MethodPost, "/v1/orders", `{"items":[{"sku":"` + p.SKU + `","quantity":1}],"expectedTotal":{"amount":100,"currency":"euro"}}`, "expectedTotal"},
		{"a deposit of nothing", c.client, http.MethodPost, "/v1/wallet/deposits", deposit(0, currency, "tok_ok"), "amount"},
		{"a negative deposit", c.client, http.MethodPost, "/v1/wallet/deposits", deposit(-5, currency, "tok_ok"), "amount"},
		{"no currency", c.client, http.MethodPost, "/v1/wallet/deposits", deposit(5, "", "tok_ok"), "currency"},
		{"no source", c.client, http.MethodPost, "/v1/wallet/deposits", deposit(5, currency, ""), "source"},
		{"no address", c.client, http.MethodPost, "/v1/users", register("not an address", good, "x"), "email"},
		{"short password", c.client, http.MethodPost, "/v1/users", register("x@shop.example", "short", "x"), "password"},
		{"no name", c.client, http.MethodPost, "/v1/users", register("x@shop.example", good, ""), "name"},
		{"an invisible name", c.client, http.MethodPost, "/v1/users", register("x@shop.example", good, "\u200b"), "name"},
		{"an invisible address", c.client, http.MethodPost, "/v1/users", register("a\ufe0f@shop.example", good, "x"), "email"},
		{"a source with a line break", c.client, http.MethodPost, "/v1/wallet/deposits", deposit(5, currency, "tok_ok\n"), "source"},
		{"a refund for a control character", sh.admin, http.MethodPost, "/v1/orders/" + id.Random{}.New() + "/refund", map[string]any{"reason": "a\x1bb"}, "reason"},
		{"a name that turns around", sh.admin, http.MethodPost, "/v1/products", creation("name", "a\u202eb"), "name"},
		{"a correction for nothing visible", sh.admin, http.MethodPost, "/v1/products/" + p.SKU + "/stock", map[string]any{"change": 1, "reason": "\u2800"}, "reason"},
		{"a search that turns around", c.client, http.MethodGet, "/v1/products?q=a%E2%80%AEb", nil, "q"},
		{"a role of one's own", c.client, http.MethodPost, "/v1/users", `{"email":"x@shop.example","password":"` + good + `","name":"x","roles":["admin"]}`, "roles"},
		{"a SKU with a slash", sh.admin, http.MethodPost, "/v1/products", creation("sku", "A/B"), "sku"},
		{"a negative price", sh.admin, http.MethodPost, "/v1/products", creation("price", euros(-1)), "price"},
		{"negative stock", sh.admin, http.MethodPost, "/v1/products", creation("stock", -1), "stock"},
		{"a change of nothing", sh.admin, http.MethodPost, "/v1/products/" + p.SKU + "/stock", map[string]any{"change": 0, "reason": "x"}, "change"},
		{"no reason", sh.admin, http.MethodPost, "/v1/products/" + p.SKU + "/stock", map[string]any{"change": 1, "reason": ""}, "reason"},
		{"an unknown role", sh.admin, http.MethodPut, "/v1/users/" + c.id + "/roles", map[string]any{"roles": []string{"emperor"}}, "roles"},
		{"a limit of none", c.client, http.MethodGet, "/v1/orders?limit=0", nil, "limit"},
		{"a limit of all", c.client, http.MethodGet, "/v1/orders?limit=1000", nil, "limit"},
		{"a parameter that nobody knows", c.client, http.MethodGet, "/v1/orders?status=rejected", nil, "status"},
		{"a parameter twice", sh.admin, http.MethodGet, "/v1/ops/orders?status=rejected&status=placed", nil, "status"},
		{"an empty filter", sh.admin, http.MethodGet, "/v1/ops/orders?status=", nil, "status"},
		{"a filter that the gateway's own list has not", sh.admin, http.MethodGet, "/v1/ops/services?name=orders", nil, "name"},
		{"null for an amount", sh.admin, http.MethodPost, "/v1/orders/" + id.Random{}.New() + "/refund", `{"amount":null,"reason":"x"}`, "amount"},
		{"a time beyond the year 9999", sh.admin, http.MethodGet, "/v1/ops/dead-letters?since=9999-12-31T23:59:59-14:00", nil, "since"},
		{"a cursor of one's own", c.client, http.MethodGet, "/v1/orders?cursor=abc", nil, "cursor"},
		{"a cursor of one's own in the catalogue", c.client, http.MethodGet, "/v1/products?cursor=abc", nil, "cursor"},
		{"a cursor of one's own in the inbox", c.client, http.MethodGet, "/v1/notifications?cursor=abc", nil, "cursor"},
	} {
		t.Run(bad.name, func(t *testing.T) {
			got, err := bad.as.call(bad.method, bad.path, bad.body, idempotent(id.Random{}.New()))
			if err != nil {
				t.Fatal(err)
			}
			if got.status != http.StatusBadRequest {
				t.Fatalf("%s; want 400", got)
			}
			for _, e := range got.problem(t).Errors {
				if strings.HasPrefix(e.Field, bad.field) && e.Code != "" {
					return
				}
			}
			t.Errorf("%s does not name %s", got, bad.field)
		})
	}
	t.Run("a semicolon in a query", func(t *testing.T) {
		got, err := sh.admin.call(http.MethodGet, "/v1/ops/orders?status=rejected;x", nil)
		if err != nil || got.status != http.StatusBadRequest || !strings.Contains(string(got.body), "semicolon") {
			t.Errorf("%s, %v", got, err)
		}
	})
	t.Run("no key", func(t *testing.T) {
		got, err := c.call(http.MethodPost, "/v1/orders", items(p, 1))
		if err != nil || got.status != http.StatusBadRequest || !strings.Contains(string(got.body), "Idempotency-Key") {
			t.Errorf("%s, %v", got, err)
		}
	})
	t.Run("another media type", func(t *testing.T) {
		got, err := c.call(http.MethodPost, "/v1/orders", items(p, 1), idempotent(id.Random{}.New()), header{"Content-Type", "text/plain"})
		if err != nil || got.status != http.StatusUnsupportedMediaType {
			t.Errorf("%s, %v", got, err)
		}
	})
	t.Run("too much", func(t *testing.T) {
		got, err := c.call(http.MethodPost, "/v1/orders", `{"items":"`+strings.Repeat("x", 1<<20)+`"}`, idempotent(id.Random{}.New()))
		if err != nil || got.status != http.StatusRequestEntityTooLarge {
			t.Errorf("%s, %v", got, err)
		}
	})
	t.Run("half a body", func(t *testing.T) {
		for _, body := range []string{`{"items":`, `{} {}`, `[]`, `null`, "\xff\xfe", `{"items":[],"items":[]}`} {
			got, err := c.call(http.MethodPost, "/v1/orders", body, idempotent(id.Random{}.New()))
			if err != nil || got.status != http.StatusBadRequest {
				t.Errorf("%q: %s, %v", body, got, err)
			}
		}
	})
	// The books show that nothing changed: no order, no money, no stock.
	if len(c.orders) != 0 {
		t.Errorf("orders came of it: %v", c.orders)
	}
}

// TestSessions tests the life of a session.
func TestSessions(t *testing.T) {
	sh := open(t, shared(t))
	c := sh.customer(0)
	c.must(http.StatusConflict, http.MethodPost, "/v1/users", map[string]string{"email": strings.ToUpper(c.email), "password": c.password, "name": "again"}, nil)
	anybody := newClient(t, sh.stack, sh.trail)
	wrong := anybody.must(http.StatusUnauthorized, http.MethodPost, "/v1/sessions", map[string]string{"email": c.email, "password": "wrong wrong wrong"}, nil)
	unknown := anybody.must(http.StatusUnauthorized, http.MethodPost, "/v1/sessions", map[string]string{"email": "no" + c.email, "password": c.password}, nil)
	if wrong.problem(t).Detail != unknown.problem(t).Detail || wrong.problem(t).Type != unknown.problem(t).Type {
		t.Errorf("a wrong password answers %s, an unknown address %s", wrong, unknown)
	}

	var first, second sessionBody
	anybody.must(http.StatusCreated, http.MethodPost, "/v1/sessions", map[string]string{"email": c.email, "password": c.password}, &first)
	anybody.must(http.StatusCreated, http.MethodPost, "/v1/sessions/refresh", map[string]string{"refreshToken": first.RefreshToken}, &second)
	if second.RefreshToken == first.RefreshToken || second.AccessToken == first.AccessToken {
		t.Error("a refresh gives the old tokens")
	}
	bearer := func(s sessionBody) header { return header{"Authorization", "Bearer " + s.AccessToken} }
	anybody.must(http.StatusOK, http.MethodGet, "/v1/users/me", nil, nil, bearer(second))
	anybody.must(http.StatusNoContent, http.MethodDelete, "/v1/sessions/current", nil, nil, bearer(second))
	anybody.must(http.StatusUnauthorized, http.MethodPost, "/v1/sessions/refresh", map[string]string{"refreshToken": second.RefreshToken}, nil)

	c.must(http.StatusOK, http.MethodPatch, "/v1/users/me", map[string]string{"name": "Zoë the Second"}, nil)
	fresh := "another excellent password " + id.Random{}.New()
	c.must(http.StatusNoContent, http.MethodPut, "/v1/users/me/password", map[string]string{"currentPassword": c.password, "newPassword": fresh}, nil)
	anybody.must(http.StatusUnauthorized, http.MethodPost, "/v1/sessions", map[string]string{"email": c.email, "password": c.password}, nil)
	c.password = fresh
	c.fact("users.password_changed.v1")
	anybody.must(http.StatusCreated, http.MethodPost, "/v1/sessions", map[string]string{"email": c.email, "password": fresh}, nil)
}

// TestStaff tests what staff do besides selling.
func TestStaff(t *testing.T) {
	sh := open(t, shared(t))
	p := sh.product(100, 5)
	colleague := sh.customer(0)
	sh.admin.must(http.StatusOK, http.MethodPut, "/v1/users/"+colleague.id+"/roles", map[string]any{"roles": []string{"customer", "staff"}}, nil)
	colleague.expires = colleague.expires.AddDate(-1, 0, 0) // a new role is effective from the next token on
	receipt := map[string]any{"change": 7, "reason": "received"}
	key := idempotent(id.Random{}.New())
	for range 2 {
		colleague.must(http.StatusOK, http.MethodPost, "/v1/products/"+p.SKU+"/stock", receipt, nil, key)
	}
	p.stock += 7
	colleague.must(http.StatusConflict, http.MethodPost, "/v1/products/"+p.SKU+"/stock", map[string]any{"change": -100, "reason": "too many"}, nil)

	found := false
	for _, u := range all[userBody](sh.admin, "/v1/users") {
		found = found || u.ID == colleague.id && slices.Contains(u.Roles, "staff")
	}
	if !found {
		t.Error("the list of users does not show the colleague")
	}
	for _, path := range []string{"/v1/ops/services", "/v1/ops/breakers", "/v1/ops/dead-letters", "/v1/ops/orders?status=confirmed", "/livez", "/.well-known/jwks.json", "/openapi.json"} {
		colleague.get(path, nil)
	}
	for _, path := range []string{"/readyz", "/healthz"} { // a service that is slow for a second makes them 503
		eventually(t, path+" to say that all is well", func() error {
			got, err := colleague.call(http.MethodGet, path, nil)
			if err == nil && got.status != http.StatusOK {
				err = errorf("%s", got)
			}
			return err
		})
	}
}

// TestDeadLetters sends notifications an event that it cannot handle. The event is stored where staff see it, can be
// replayed and discarded, and blocks no other events.
func TestDeadLetters(t *testing.T) {
	s := shared(t)
	sh := open(t, s)
	poison := event.Event{
		ID: "orders/" + id.Random{}.New() + "/1", Type: "orders.confirmed.v1", Source: "orders", Subject: "poison",
		Sequence: 1, Time: time.Now().UTC(), Data: []byte(`{"userId":7}`),
	}
	s.publish(t, "orders", "orders", poison)
	letter := sh.letter(poison.ID, "open")
	if letter.Reason == "" || !strings.Contains(letter.Payload, poison.ID) {
		t.Fatalf("the letter is %+v", letter)
	}
	path := "/v1/ops/dead-letters/" + letter.ID
	sh.admin.must(http.StatusUnprocessableEntity, http.MethodPost, path+"/replay", nil, nil)
	sh.admin.must(http.StatusOK, http.MethodPost, path+"/discard", map[string]any{"reason": "made up by a test"}, nil)
	sh.letter(poison.ID, "discarded")

	// An event that only came late is handled, and leads to one notice however often it is delivered.
	c := sh.customer(100)
	late := event.Event{
		ID: "users/" + c.id + "/1", Type: "users.registered.v1", Source: "users", Subject: c.id,
		Sequence: 1, Time: time.Now().UTC(), Data: []byte(`{"userId":"` + c.id + `","roles":["customer"]}`),
	}
	s.publish(t, "notifications", "notifications.dead", late)
	letter = sh.letter(late.ID, "replayed")
	sh.admin.must(http.StatusOK, http.MethodPost, "/v1/ops/dead-letters/"+letter.ID+"/replay", nil, nil)

	// Later events are delivered.
	c.buys(sh.product(100, 1), 1).expect(t, "confirmed", "")
}

type letterBody struct{ ID, EventID, Reason, Status, Payload string }

// letter waits until the dead letter of an event has a status.
func (sh *shop) letter(of, status string) letterBody {
	sh.t.Helper()
	var letter letterBody
	eventually(sh.t, "the dead letter to be "+status, func() error {
		letters := all[letterBody](sh.admin, "/v1/ops/dead-letters")
		i := slices.IndexFunc(letters, func(l letterBody) bool { return l.EventID == of })
		if i < 0 {
			return errorf("%d letters, and not this one", len(letters))
		}
		if letter = letters[i]; letter.Status != status {
			return errorf("it is %s: %s", letter.Status, letter.Reason)
		}
		return nil
	})
	return letter
}
