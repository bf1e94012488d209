package e2e

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"caravan/internal/event"
	"caravan/internal/id"
	users "caravan/services/users/contract"
	"caravan/test/apicheck"
)

// refusals are the statuses for refused requests that a client has to expect.
var refusals = []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity}

// elsewhere are documented refusals that no stack of a test can give, with the reason and where they are tested.
var elsewhere = map[string]string{
	"POST /v1/products 422":            "the catalogue is full only with very many products; see services/products",
	"PUT /v1/products/{sku}/watch 422": "a user has to watch a hundred products; see services/products",
}

// TestEveryPromisedRefusalIsGiven causes each refusal that the document promises for each operation, and prints the
// table of what it saw. A promise without an answer has to leave the document. An answer that the document does not
// promise fails the test that got it.
func TestEveryPromisedRefusalIsGiven(t *testing.T) {
	s := *shared(t)
	raw, err := fetch(t.Context(), s.GatewayURL()+"/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if s.document, err = apicheck.Parse(t.Context(), raw); err != nil { // its own document, because answers to other tests do not count
		t.Fatal(err)
	}
	r := &refused{shop: open(t, &s)}
	r.customer, r.visitor = r.shop.customer(1000), newClient(t, &s, r.shop.trail)
	operations, err := s.document.Operations()
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range operations {
		r.common(t, o)
	}
	r.accounts()
	r.catalogue()
	r.orders(t)
	r.letters(t)
	for _, o := range operations {
		if o.Method == http.MethodGet && strings.HasSuffix(o.Path, "/dead-letters") && o.Path != letters {
			r.lettersOf(t, o.Path)
		}
	}
	r.batches(t)
	r.mails(t)
	r.verification(t)
	table := s.document.Statuses(refusals...)
	t.Logf("what was seen of the promised refusals:\n%s", table)
	for name := range elsewhere {
		if !slices.Contains(table.Missing(), name) {
			t.Errorf("%s is seen, or not promised any more: take it out of elsewhere", name)
		}
	}
	for _, missing := range table.Missing() {
		if elsewhere[missing] == "" {
			t.Errorf("%s is promised in gateway/openapi.yaml, and no test gets it: extend this one, or remove the status", missing)
		}
	}
}

// refused has the requests that cause refusals.
type refused struct {
	shop     *shop
	customer *customer
	visitor  *client
}

// common causes the refusals that operations have in common: an unknown parameter, an invalid token, a missing
// permission, a thing that does not exist.
func (r *refused) common(t *testing.T, o apicheck.Operation) {
	permissions := users.PermissionsOf([]string{users.RoleCustomer}) // everybody has these
	path := strings.NewReplacer("{id}", id.Random{}.New(), "{sku}", "NO-SUCH-PRODUCT").Replace(o.Path)
	var body any
	if o.Example != nil {
		body = string(o.Example)
	}
	ask := func(c *client, path string, headers ...header) {
		if o.Key != "" {
			headers = append(headers, idempotent(id.Random{}.New()))
		}
		if got, err := c.call(o.Method, path, body, headers...); err != nil || got.status < http.StatusBadRequest {
			t.Errorf("%s, %v; want a refusal. If the request is right, change this test; if the service has to refuse it, change the service", got, err)
		}
	}
	if slices.Contains([]string{"live", "ready", "health", "describe"}, o.ID) { // they ignore the query
		r.half(t, o.Method, path)
		return
	}
	ask(r.shop.admin, path+"?unexpected=1")
	if o.SignedIn {
		ask(r.visitor, path, header{"Authorization", "Bearer forged"})
	}
	if slices.ContainsFunc(o.Permissions, func(p string) bool { return !slices.Contains(permissions, p) }) {
		ask(r.customer.client, path)
	}
	if strings.Contains(o.Path, "{") {
		ask(r.shop.admin, path)
	}
}

// half sends a request whose body ends too early.
func (r *refused) half(t *testing.T, method, path string) {
	t.Helper()
	address, err := url.Parse(r.shop.stack.GatewayURL())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(address.Hostname(), cmp.Or(address.Port(), "80")))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = connection.SetDeadline(deadline)
	}
	fmt.Fprintf(connection, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 9\r\n\r\n{", method, path, address.Host)
	if err := connection.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(ctx, method, address.JoinPath(path).String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(connection), request)
	if err != nil {
		t.Fatalf("%s %s with half a body: %v", method, path, err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err == nil {
		err = r.shop.stack.document.Check(ctx, request, nil, response, raw)
	}
	if err != nil {
		t.Errorf("%s %s with half a body: %d %s: %v", method, path, response.StatusCode, raw, err)
	}
}

func (r *refused) accounts() {
	c, admin := r.customer, r.shop.admin
	r.visitor.must(http.StatusConflict, http.MethodPost, "/v1/users", map[string]string{"email": c.email, "password": c.password, "name": "again"}, nil)
	r.visitor.must(http.StatusUnauthorized, http.MethodPost, "/v1/sessions", map[string]string{"email": c.email, "password": "wrong wrong wrong"}, nil)
	r.visitor.must(http.StatusUnauthorized, http.MethodPost, "/v1/sessions/refresh", map[string]string{"refreshToken": "forged"}, nil)
	var me userBody
	admin.get("/v1/users/me", &me)
	admin.must(http.StatusConflict, http.MethodPut, "/v1/users/"+me.ID+"/roles", map[string]any{"roles": []string{"staff"}}, nil)
}

func (r *refused) catalogue() {
	p, admin := r.shop.product(100, 5), r.shop.admin
	admin.must(http.StatusConflict, http.MethodPost, "/v1/products", map[string]any{"sku": p.SKU, "name": "x", "category": "tests", "price": euros(1)}, nil)
	path, key := "/v1/products/"+p.SKU+"/stock", idempotent(id.Random{}.New())
	admin.must(http.StatusConflict, http.MethodPost, path, map[string]any{"change": -6, "reason": "x"}, nil)
	admin.must(http.StatusOK, http.MethodPost, path, map[string]any{"change": 1, "reason": "x"}, nil, key)
	admin.must(http.StatusUnprocessableEntity, http.MethodPost, path, map[string]any{"change": 2, "reason": "x"}, nil, key)
	p.stock++
}

func (r *refused) orders(t *testing.T) {
	c, admin, p := r.customer, r.shop.admin, r.shop.product(100, 5)
	key := idempotent(id.Random{}.New())
	var placed acceptedBody
	c.must(http.StatusAccepted, http.MethodPost, "/v1/orders", items(p, 1), &placed, key)
	c.must(http.StatusUnprocessableEntity, http.MethodPost, "/v1/orders", items(p, 2), nil, key)
	c.remember(placed.ID)
	c.await(placed.ID).expect(t, "confirmed", "")
	path := "/v1/orders/" + placed.ID
	c.must(http.StatusConflict, http.MethodPost, path+"/cancel", nil, nil)
	admin.must(http.StatusConflict, http.MethodPost, "/v1/ops"+strings.TrimPrefix(path, "/v1")+"/cancel", map[string]any{"reason": "x"}, nil)
	admin.must(http.StatusConflict, http.MethodPost, "/v1/ops"+strings.TrimPrefix(path, "/v1")+"/retry", nil, nil)
	admin.must(http.StatusUnprocessableEntity, http.MethodPost, path+"/refund", map[string]any{"amount": euros(101), "reason": "x"}, nil)

	poor := r.shop.customer(0)
	rejected := poor.buys(p, 1)
	rejected.expect(t, "rejected", "insufficient_funds")
	admin.must(http.StatusConflict, http.MethodPost, "/v1/orders/"+rejected.ID+"/refund", map[string]any{"reason": "x"}, nil)
	c.must(http.StatusUnprocessableEntity, http.MethodPost, "/v1/wallet/deposits",
		map[string]any{"amount": 5, "currency": currency, "source": "tok_declined"}, nil, idempotent(id.Random{}.New()))
}

// letters replays one dead letter and discards another, and then causes the refusals for each.
func (r *refused) letters(t *testing.T) {
	admin, reason := r.shop.admin, func(text string) map[string]any { return map[string]any{"reason": text} }
	told := r.shop.customer(0)
	repair := told.unreadable()
	told.deposit(100)
	path, key := letters+"/"+told.lost(1)[0].ID, idempotent(id.Random{}.New())
	repair()
	admin.must(http.StatusOK, http.MethodPost, path+"/replay", reason("repaired"), nil, key)
	admin.must(http.StatusUnprocessableEntity, http.MethodPost, path+"/replay", reason("another"), nil, key)
	admin.must(http.StatusConflict, http.MethodPost, path+"/discard", reason("too late"), nil)

	path, key = letters+"/"+r.poison(t).ID, idempotent(id.Random{}.New())
	admin.must(http.StatusOK, http.MethodPost, path+"/discard", reason("made up by a test"), nil, key)
	admin.must(http.StatusUnprocessableEntity, http.MethodPost, path+"/discard", reason("another"), nil, key)
	admin.must(http.StatusConflict, http.MethodPost, path+"/replay", nil, nil)
}

// poison publishes an event that cannot be handled, and waits for its dead letter.
func (r *refused) poison(t *testing.T) (letter deadLetterBody) {
	t.Helper()
	subject := id.Random{}.New()
	r.shop.stack.publish(t, "orders", "orders", event.Event{
		ID: event.ID("orders", subject, 1), Type: "orders.confirmed.v1", Source: "orders", Subject: subject, Sequence: 1, Time: time.Now().UTC(), Data: []byte(`{"userId":7}`),
	})
	eventually(t, "the dead letter", func() error {
		for _, l := range search[deadLetterBody](r.shop.admin, letters, url.Values{"status": {"open"}, "type": {"orders.confirmed.v1"}}) {
			if l.Subject == subject {
				letter = l
				return nil
			}
		}
		return errorf("it is not there")
	})
	return letter
}

// batches causes the refusals for batches of either kind: a used key, too many batches, cancelling an ended one.
func (r *refused) batches(t *testing.T) {
	admin := r.shop.admin
	told := r.shop.customer(0)
	repair := told.unreadable()
	const events = 6 // at one event a second, these keep a batch running long enough
	for range events {
		told.deposit(100)
	}
	told.lost(events)
	r.batchesOf(t, letters, map[string]any{"reason": "inbox/" + told.id})
	repair()
	for _, letter := range told.lost(events) {
		admin.must(http.StatusOK, http.MethodPost, letters+"/"+letter.ID+"/replay", nil, nil)
	}
}

// batchesOf causes the refusals for batches of the dead letters whose list is at the path. The filter is that of some which
// cannot be handled.
func (r *refused) batchesOf(t *testing.T, list string, filter map[string]any) {
	admin := r.shop.admin
	slowly := map[string]any{"filter": filter, "perSecond": 1, "reason": "made up by a test"}
	nothing := map[string]any{"filter": map[string]any{"consumer": "nobody"}, "reason": "made up by a test"}
	paths := make(map[string]string)
	for _, action := range []string{"/replay", "/discard"} {
		key := idempotent(id.Random{}.New())
		paths[action] = admin.must(http.StatusAccepted, http.MethodPost, list+action, nothing, nil, key).header.Get("Location")
		admin.must(http.StatusUnprocessableEntity, http.MethodPost, list+action, slowly, nil, key)
	}
	for action, path := range paths {
		eventually(t, "the batch to finish", func() error {
			var batch batchBody
			if err := admin.try(path, &batch); err != nil || batch.Status != "finished" {
				return errorf("%s is %q, %v", action, batch.Status, err)
			}
			return nil
		})
		admin.must(http.StatusConflict, http.MethodPost, path+"/cancel", nil, nil)
	}
	var running []string
	eventually(t, "too many batches", func() error {
		got, err := admin.call(http.MethodPost, list+"/replay", slowly, idempotent(id.Random{}.New()))
		if err != nil {
			return err
		}
		if got.status == http.StatusConflict {
			got, err = admin.call(http.MethodPost, list+"/discard", nothing, idempotent(id.Random{}.New()))
			if err == nil && got.status == http.StatusConflict {
				return nil
			}
		}
		if location := got.header.Get("Location"); location != "" {
			running = append(running, location)
		}
		return errorf("%s, %v", got, err)
	})
	for _, path := range running {
		if got, err := admin.call(http.MethodPost, path+"/cancel", nil); err != nil || got.status != http.StatusOK && got.status != http.StatusConflict {
			t.Errorf("%s, %v", got, err)
		}
	}
}
