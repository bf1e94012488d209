package adapters

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"caravan/internal/clock"
	"caravan/internal/document"
	"caravan/internal/document/documenttest"
	"caravan/internal/feed"
	"caravan/internal/id"
	"caravan/internal/invoke"
	"caravan/internal/problem"
	"caravan/internal/service/servicetest"
	"caravan/internal/token"
	"caravan/services/products/app"
	"caravan/services/products/audit"
	"caravan/services/products/contract"
	users "caravan/services/users/contract"
)

// api is a shop behind its routes.
type api struct {
	t      *testing.T
	server *servicetest.Server
	store  *documenttest.FakeStore
}

func newAPI(t *testing.T) *api { return overStore(t, documenttest.NewStore()) }

// overStore is a program that begins with what is stored.
func overStore(t *testing.T, store *documenttest.FakeStore) *api {
	documents := app.NewDocuments(store, document.Options{Source: contract.App, Clock: clock.System{}, IDs: id.Random{}})
	shop := app.NewShop(documents, clock.System{}, time.Second)
	a := &api{t: t, server: new(servicetest.Server), store: store}
	API{
		List: app.ListProducts{Shop: shop}, Get: app.GetProduct{Shop: shop},
		Create: app.CreateProduct{Shop: shop, Currency: "EUR"}, Change: app.ChangeProduct{Shop: shop}, Correct: app.CorrectStock{Shop: shop},
		Reserve: app.ReserveStock{Shop: shop, Currency: "EUR", TTL: time.Hour},
		Commit:  app.CommitStock{Shop: shop}, Release: app.ReleaseStock{Shop: shop},
		Audit: audit.Audit{Documents: documents, Clock: clock.System{}, Trail: feed.Trail{
			Store: store, Source: contract.App, Coverage: feed.NewCoverage(feed.NewReader(store, clock.System{}, feed.DefaultTiming())),
		}},
		Clock: clock.System{}, Log: slog.New(slog.DiscardHandler),
	}.Register(a.server)
	return a
}

// call sends a request as a member of staff unless the headers Test-Subject and Test-Role name another caller.
func (a *api) call(method, path, body string, headers ...string) *httptest.ResponseRecorder {
	a.t.Helper()
	header := map[string]string{"Test-Subject": "somebody", "Test-Role": users.RoleStaff}
	for i := 0; i+1 < len(headers); i += 2 {
		header[headers[i]] = headers[i+1]
	}
	caller := token.Claims{Subject: header["Test-Subject"]}
	if role := header["Test-Role"]; role != "" {
		caller.Permissions = users.PermissionsOf([]string{role})
	}
	return a.server.Do(a.t, servicetest.Request{Method: method, Target: path, Body: body, Header: header, Caller: caller})
}

// want checks the status and reads the body.
func want[T any](t *testing.T, w *httptest.ResponseRecorder, status int) T {
	t.Helper()
	var body T
	if w.Code != status {
		t.Fatalf("status %d: %s; want %d", w.Code, w.Body, status)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatalf("%s: %v", w.Body, err)
	}
	return body
}

const cup = `{"sku":"CUP-1","name":"Cup","description":"For tea.","category":"kitchen","price":{"amount":1999,"currency":"EUR"},"stock":7,
	"tiers":[{"minQuantity":10,"unitPrice":{"amount":1500,"currency":"EUR"}}],
	"schedule":[{"effectiveFrom":"2999-01-01T00:00:00Z","price":{"amount":2999,"currency":"EUR"}}]}`

func TestTheCatalogueOverHTTP(t *testing.T) {
	a := newAPI(t)
	w := a.call("POST", "/v1/products", cup)
	created := want[map[string]any](t, w, 201)
	if w.Header().Get("Location") != "/v1/products/CUP-1" || created["available"] != 7.0 || created["version"] != 1.0 {
		t.Errorf("created %v at %q", created, w.Header().Get("Location"))
	}
	if w := a.call("POST", "/v1/products", cup); w.Code != 409 || !strings.Contains(w.Body.String(), "product-exists") {
		t.Errorf("creating twice: %d %s", w.Code, w.Body)
	}

	public := a.call("GET", "/v1/products/CUP-1", "", "Test-Subject", "")
	got := want[map[string]any](t, public, 200)
	if got["sku"] != "CUP-1" || got["available"] != 7.0 || got["schedule"] != nil || got["onHand"] != nil {
		t.Errorf("everybody sees %v", got)
	}
	if c := public.Header().Get("Cache-Control"); c != catalogueCache {
		t.Errorf("Cache-Control is %q", c)
	}
	staff := a.call("GET", "/v1/products/CUP-1", "")
	if got := want[map[string]any](t, staff, 200); len(got["schedule"].([]any)) != 1 || got["onHand"] != 7.0 {
		t.Errorf("staff see %v", got)
	}
	if c := staff.Header().Get("Cache-Control"); c != "private, no-store" {
		t.Errorf("Cache-Control is %q", c)
	}

	changed := want[map[string]any](t, a.call("PATCH", "/v1/products/CUP-1", `{"name":"Mug","price":{"amount":1899,"currency":"EUR"}}`), 200)
	if changed["name"] != "Mug" || changed["version"] != 2.0 {
		t.Errorf("changed %v", changed)
	}
	for range 2 {
		level := want[stockView](t, a.call("POST", "/v1/products/CUP-1/stock", `{"change":5,"reason":"delivery"}`, "Idempotency-Key", `"d-1"`), 200)
		if level != (stockView{OnHand: 12, Available: 12}) {
			t.Errorf("corrected to %+v", level)
		}
	}
	if w := a.call("POST", "/v1/products/CUP-1/stock", `{"change":6,"reason":"delivery"}`, "Idempotency-Key", "d-1"); w.Code != 422 {
		t.Errorf("the key for another correction: %d %s", w.Code, w.Body)
	}
	other := a.call("POST", "/v1/products/CUP-1/stock", `{"change":1,"reason":"delivery"}`, "Idempotency-Key", "d-1", "Test-Subject", "another")
	if level := want[stockView](t, other, 200); level.OnHand != 13 {
		t.Errorf("another person's key gives %+v", level)
	}
	shortage := want[map[string]any](t, a.call("POST", "/v1/products/CUP-1/stock", `{"change":-14,"reason":"broken"}`), 409)
	if shortage["available"] != 13.0 || shortage["type"] != "urn:caravan:problem:stock-shortage" {
		t.Errorf("the shortage is %v", shortage)
	}

	list := want[struct {
		Items []productView
		Next  string
	}](t, a.call("GET", "/v1/products?category=kitchen&q=mu&limit=1", "", "Test-Subject", ""), 200)
	if len(list.Items) != 1 || list.Items[0].Name != "Mug" || list.Items[0].Available != 13 || list.Next != "" {
		t.Errorf("the list is %+v", list)
	}
	if w := a.call("GET", "/v1/products?category=toys", ""); strings.TrimSpace(w.Body.String()) != `{"items":[],"currency":"EUR"}` {
		t.Errorf("an empty list is %s", w.Body)
	}
}

// Names and descriptions are cleaned by the rules of all text, and what was stored before these is shown as it is.
func TestTextOfTheCatalogue(t *testing.T) {
	a := newAPI(t)
	body := strings.Replace(cup, `"name":"Cup","description":"For tea."`, `"name":" \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 Cafe\u0301 ","description":"One\r\ntwo\n"`, 1)
	created := want[map[string]any](t, a.call("POST", "/v1/products", body), 201)
	if created["name"] != "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 Caf\u00e9" || created["description"] != "One\ntwo" {
		t.Errorf("created %+q", created)
	}
	for _, change := range []string{`{"name":"a\u202eb"}`, `{"name":"a\u200cb"}`, `{"name":" "}`, `{"name":"a\nb"}`, `{"description":"a\u0000b"}`} {
		w := a.call("PATCH", "/v1/products/CUP-1", change)
		if w.Code != 400 || !strings.Contains(w.Body.String(), `"code":"text"`) {
			t.Errorf("%s: %d %s", change, w.Code, w.Body)
		}
	}
	records, err := a.store.Get(t.Context(), "product/CUP-1")
	if err != nil {
		t.Fatal(err)
	}
	a.store.Overwrite("product/CUP-1", bytes.Replace(records["product/CUP-1"].Value, []byte(`One\ntwo`), []byte(`One\u0000\u202e`), 1))
	shown := overStore(t, a.store).call("GET", "/v1/products/CUP-1", "")
	if got := want[map[string]any](t, shown, 200); got["description"] != "One\x00\u202e" {
		t.Errorf("what was stored before is shown as %+q", got["description"])
	}
}

func TestWhoMayChangeTheCatalogue(t *testing.T) {
	a := newAPI(t)
	want[any](t, a.call("POST", "/v1/products", cup), 201)
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/v1/products", cup},
		{"PATCH", "/v1/products/CUP-1", `{"name":"x"}`},
		{"POST", "/v1/products/CUP-1/stock", `{"change":1,"reason":"x"}`},
	} {
		if w := a.call(c.method, c.path, c.body, "Test-Subject", ""); w.Code != 401 {
			t.Errorf("%s %s by nobody: %d", c.method, c.path, w.Code)
		}
		for _, role := range []string{"", users.RoleCustomer} {
			if w := a.call(c.method, c.path, c.body, "Test-Role", role); w.Code != 403 {
				t.Errorf("%s %s by a %q: %d", c.method, c.path, role, w.Code)
			}
		}
	}
}

// Every wrong request is a problem that names what is wrong, and changes nothing.
func TestBadInputNamesTheField(t *testing.T) {
	a := newAPI(t)
	want[any](t, a.call("POST", "/v1/products", cup), 201)
	before := a.snapshot()
	products, one, stock := "/v1/products", "/v1/products/CUP-1", "/v1/products/CUP-1/stock"
	draft := func(member, value string) string {
		all := map[string]json.RawMessage{}
		if err := json.Unmarshal([]byte(strings.Replace(cup, "CUP-1", "NEW-1", 1)), &all); err != nil {
			t.Fatal(err)
		}
		all[member] = json.RawMessage(value)
		b, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, c := range []struct {
		method, path, body string
		status             int
		field              string
	}{
		{"POST", products, ``, 400, ""},
		{"POST", products, `{`, 400, ""},
		{"POST", products, `{"sku":"X1"} trailing`, 400, ""},
		{"POST", products, `[]`, 400, ""},
		{"POST", products, `{"sku":"X1","sku":"X2"}`, 400, "sku"},
		{"POST", products, `{"SKU":"X1"}`, 400, "SKU"},
		{"POST", products, `{"id":"X1"}`, 400, "id"},
		{"POST", products, `{}`, 400, "price"},
		{"POST", products, `{"price":{"amount":0,"currency":"EUR"}}`, 400, "sku"},
		{"POST", products, draft("sku", `"lower"`), 400, "sku"},
		{"POST", products, draft("sku", `7`), 400, "sku"},
		{"POST", products, draft("name", `null`), 400, "name"},
		{"POST", products, draft("name", `"a\u0000b"`), 400, "name"},
		{"POST", products, draft("price", `{"amount":19.99,"currency":"EUR"}`), 400, "price.amount"},
		{"POST", products, draft("price", `{"amount":1e400,"currency":"EUR"}`), 400, "price.amount"},
		{"POST", products, draft("price", `{"amount":"1999","currency":"EUR"}`), 400, "price.amount"},
		{"POST", products, draft("price", `{"amount":-1,"currency":"EUR"}`), 400, "price.amount"},
		{"POST", products, draft("price", `{"amount":9223372036854775807,"currency":"EUR"}`), 400, "price.amount"},
		{"POST", products, draft("price", `{"amount":1999,"currency":"USD"}`), 400, "price.currency"},
		{"POST", products, draft("price", `{"amount":1999,"currency":"XXX"}`), 400, "price.currency"},
		{"POST", products, draft("stock", `-1`), 400, "stock"},
		{"POST", products, draft("stock", `1.5`), 400, "stock"},
		{"POST", products, draft("tiers", `[{"minQuantity":1,"unitPrice":{"amount":1,"currency":"EUR"}}]`), 400, "tiers[0].minQuantity"},
		{"POST", products, draft("tiers", `{}`), 400, "tiers"},
		{"POST", products, draft("schedule", `[{"effectiveFrom":"yesterday","price":{"amount":1,"currency":"EUR"}}]`), 400, "schedule[0].effectiveFrom"},
		{"POST", products, draft("schedule", `[{"effectiveFrom":"2001-01-01T00:00:00Z","price":{"amount":1,"currency":"EUR"}}]`), 400, "schedule[0].effectiveFrom"},
		{"POST", products, draft("description", `"`+strings.Repeat("x", 70_000)+`"`), 413, ""},
		{"PATCH", one, `{"status":"gone"}`, 400, "status"},
		{"PATCH", one, `{}`, 400, ""},
		{"PATCH", one, `{"price":null}`, 400, "price"},
		{"PATCH", one, `{"tiers":[null]}`, 400, "tiers[0]"},
		{"PATCH", one, `{"price":{"currency":"EUR"}}`, 400, "price.amount"},
		{"PATCH", one, `{"schedule":[{"effectiveFrom":"9999-12-31T23:59:59-14:00","price":{"amount":1,"currency":"EUR"}}]}`, 400, "schedule[0].effectiveFrom"},
		{"PATCH", one, `{"sku":"OTHER"}`, 400, "sku"},
		{"PATCH", one, `{"version":9}`, 400, "version"},
		{"PATCH", one, `{"price":{"amount":1,"currency":"USD"}}`, 400, "price.currency"},
		{"PATCH", one, `{"tiers":[{"minQuantity":10,"unitPrice":{"amount":1999,"currency":"EUR"}}]}`, 400, "tiers[0].unitPrice.amount"},
		{"PATCH", "/v1/products/NONE", `{"name":"x"}`, 404, ""},
		{"PATCH", "/v1/products/a%2F..%2Fb", `{"name":"x"}`, 404, ""},
		{"POST", stock, `{}`, 400, "change"},
		{"POST", stock, `{"change":0,"reason":"x"}`, 400, "change"},
		{"POST", stock, `{"change":1}`, 400, "reason"},
		{"POST", stock, `{"change":1,"reason":"` + strings.Repeat("x", 201) + `"}`, 400, "reason"},
		{"POST", stock, `{"change":1000000000,"reason":"x"}`, 400, "change"},
		{"POST", "/v1/products/NONE/stock", `{"change":1,"reason":"x"}`, 404, ""},
		{"GET", "/v1/products/none", ``, 404, ""},
		{"GET", "/v1/products/NONE", ``, 404, ""},
		{"GET", products + "?limit=0", ``, 400, "limit"},
		{"GET", products + "?limit=101", ``, 400, "limit"},
		{"GET", products + "?limit=-1", ``, 400, "limit"},
		{"GET", products + "?limit=ten", ``, 400, "limit"},
		{"GET", products + "?cursor=nonsense", ``, 400, "cursor"},
		{"GET", products + "?cursor=" + strings.Repeat("A", 600), ``, 400, "cursor"},
		{"GET", products + "?category=No+Such", ``, 400, "category"},
		{"GET", products + "?q=" + strings.Repeat("a", 101), ``, 400, "q"},
		{"GET", products + "?q=%ff", ``, 400, "q"},
		{"GET", products + "?q=a%00b", ``, 400, "q"},
		{"GET", products + "?q=" + strings.Repeat("a+", 17), ``, 400, "q"},
	} {
		w := a.call(c.method, c.path, c.body)
		p := want[problem.Problem](t, w, c.status)
		if w.Header().Get("Content-Type") != problem.ContentType || !strings.HasPrefix(p.Type, "urn:caravan:problem:") {
			t.Errorf("%s %s %.60s: %s", c.method, c.path, c.body, w.Body)
		}
		if c.field != "" && !slices.ContainsFunc(p.Errors, func(e problem.FieldError) bool { return e.Field == c.field && e.Message != "" }) {
			t.Errorf("%s %s %.60s: %s; want %s to be named", c.method, c.path, c.body, w.Body, c.field)
		}
	}
	if w := a.call("POST", stock, `{"change":1,"reason":"x"}`, "Idempotency-Key", `"open`); w.Code != 400 || !strings.Contains(w.Body.String(), "Idempotency-Key") {
		t.Errorf("a malformed key: %d %s", w.Code, w.Body)
	}
	if after := a.snapshot(); after != before {
		t.Error("a refused request has changed something")
	}
}

// All that is wrong with a body is named at once, whatever kind of rule it breaks.
func TestAllFaultsOfABodyAreNamed(t *testing.T) {
	a := newAPI(t)
	want[any](t, a.call("POST", "/v1/products", cup), 201)
	for _, c := range []struct{ path, body, fields string }{
		{"/v1/products", `{"sku":"lower","name":"a\u0000b","category":"No","price":{"amount":0,"currency":"USD"},"stock":-1,"tiers":[{"minQuantity":1,"unitPrice":{"amount":1,"currency":"EUR"}}]}`,
			"sku name category price.currency price.amount tiers[0].minQuantity tiers[0].unitPrice.amount stock"},
		{"/v1/products/CUP-1/stock", `{"change":0,"reason":"a\u0000b"}`, "reason change"},
	} {
		var fields []string
		for _, e := range want[problem.Problem](t, a.call("POST", c.path, c.body), 400).Errors {
			fields = append(fields, e.Field)
		}
		if got := strings.Join(fields, " "); got != c.fields {
			t.Errorf("%s is refused for %s; want %s", c.body, got, c.fields)
		}
	}
}

// snapshot is everything that is stored.
func (a *api) snapshot() string {
	a.t.Helper()
	keys := a.store.Keys()
	slices.Sort(keys)
	records, err := a.store.Get(context.Background(), keys...)
	if err != nil {
		a.t.Fatal(err)
	}
	var b strings.Builder
	for _, k := range keys {
		b.WriteString(k + string(records[k].Value))
	}
	return b.String()
}

// muxInvoker calls the routes directly, as the sidecars would.
type muxInvoker struct{ *api }

func (m muxInvoker) Invoke(_ context.Context, app, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	w := m.call("POST", path, string(body))
	if w.Code != 200 {
		return &invoke.Error{App: app, Path: path, Status: w.Code}
	}
	return json.Unmarshal(w.Body.Bytes(), out)
}

func TestTheCommandsOverTheWire(t *testing.T) {
	ctx, a := context.Background(), newAPI(t)
	want[any](t, a.call("POST", "/v1/products", cup), 201)
	client := contract.NewClient(muxInvoker{a})
	placed := time.Now()
	reserve := contract.Reserve{OrderID: "order-1", Lines: []contract.Line{{SKU: "CUP-1", Quantity: 3}}, PlacedAt: placed}
	reserved, err := client.Reserve(ctx, reserve)
	if err != nil || reserved.Outcome != contract.OutcomeReserved || reserved.Total.Amount != 3*1999 || reserved.Lines[0].Name != "Cup" {
		t.Fatalf("%+v, %v", reserved, err)
	}
	if got := want[productView](t, a.call("GET", "/v1/products/CUP-1", ""), 200); got.Available != 4 {
		t.Errorf("available %d; want 4 at once", got.Available)
	}
	short := reserve
	short.OrderID, short.Lines = "order-2", []contract.Line{{SKU: "CUP-1", Quantity: 5}}
	if got, err := client.Reserve(ctx, short); err != nil || got.Outcome != contract.OutcomeOutOfStock || got.SKU != "CUP-1" {
		t.Errorf("%+v, %v", got, err)
	}
	other := reserve
	other.Lines = []contract.Line{{SKU: "CUP-1", Quantity: 4}}
	var refused *invoke.Error
	if _, err := client.Reserve(ctx, other); !errors.As(err, &refused) || refused.Status != 422 || errors.Is(err, invoke.ErrUnavailable) {
		t.Errorf("another quantity: %v", err)
	}
	if got, err := client.Commit(ctx, contract.Commit{OrderID: "order-1", SKUs: []string{"CUP-1"}, PlacedAt: placed}); err != nil || got.Outcome != contract.OutcomeCommitted {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := client.Release(ctx, contract.Release{OrderID: "order-3", SKUs: []string{"CUP-1"}, PlacedAt: placed}); err != nil || got.Outcome != contract.OutcomeReleased {
		t.Errorf("%+v, %v", got, err)
	}
	audit := want[contract.AuditPage](t, a.call("POST", contract.PathAudit, `{}`), 200)
	if len(audit.Findings) != 0 || len(audit.Holds) != 3 || audit.Counts["committed"] != 3 {
		t.Errorf("the audit is %+v", audit)
	}
	a.store.BeforeGet(func([]string) error { return errors.New("the store is away") })
	a.store.BeforePut(func(string, []byte) error { return errors.New("the store is away") })
	ended, cancel := context.WithCancel(ctx)
	cancel()
	r := httptest.NewRequestWithContext(ended, "POST", contract.PathReserve, strings.NewReader(`{"commands":[{"command":{"orderId":"o","lines":[{"sku":"CUP-1","quantity":1}],"placedAt":"2030-01-01T00:00:00Z"}}]}`))
	w := httptest.NewRecorder()
	a.server.ServeHTTP(w, r)
	if w.Code != 503 {
		t.Errorf("without a store: %d %s", w.Code, w.Body)
	}
}

// Orders should never send such commands. All that is wrong with one is named at once.
func TestInvalidCommands(t *testing.T) {
	a := newAPI(t)
	many := strings.Repeat(`{"sku":"A","quantity":1},`, contract.MaxLines)
	reserve := func(orderID, placedAt, lines string) string {
		return `{"orderId":"` + orderID + `","placedAt":"` + placedAt + `","lines":[` + lines + `]}`
	}
	const day, line = "2030-01-01T00:00:00Z", `{"sku":"A-1","quantity":1}`
	for _, c := range []struct{ path, command, detail string }{
		{contract.PathReserve, reserve("", day, line), "orderId"},
		{contract.PathReserve, reserve("a|b c", day, line), "orderId"},
		{contract.PathReserve, reserve(strings.Repeat("x", 65), day, line), "orderId"},
		{contract.PathReserve, reserve("o", "0001-01-01T00:00:00Z", line), "placedAt"},
		{contract.PathReserve, reserve("o", day, ""), "lines"},
		{contract.PathReserve, reserve("o", day, many+line), "lines"},
		{contract.PathReserve, reserve("o", day, line+`,{"sku":"A-1","quantity":2}`), "lines"},
		{contract.PathReserve, reserve("o", day, `{"sku":"A-1","quantity":0}`), "lines[0].quantity"},
		{contract.PathReserve, reserve("o", day, `{"sku":"A-1","quantity":-1}`), "lines[0].quantity"},
		{contract.PathReserve, reserve("o", day, `{"sku":"A-1","quantity":1000001}`), "lines[0].quantity"},
		{contract.PathReserve, reserve("", day, `{"sku":"A-1","quantity":0}`), "orderId lines[0].quantity"},
		{contract.PathCommit, `{}`, "orderId skus placedAt"},
		{contract.PathCommit, `{"orderId":"o","placedAt":"` + day + `"}`, "skus"},
		{contract.PathRelease, `{"orderId":"o","placedAt":"` + day + `","skus":["A","A"]}`, "skus"},
	} {
		got := a.refusal(c.path, c.command)
		var fields []string
		for _, e := range got.Errors {
			fields = append(fields, e.Field)
		}
		if got.Status != 400 || strings.Join(fields, " ") != c.detail {
			t.Errorf("%s is refused for %v with %d; want %s", c.command, fields, got.Status, c.detail)
		}
	}
}

// refusal runs a command as invoke.Serve does and returns the problem that it ends with.
func (a *api) refusal(path, body string) *problem.Problem {
	a.t.Helper()
	var err error
	switch path {
	case contract.PathReserve:
		err = run(a.t, body, command(func(context.Context, contract.Reserve) (contract.Reserved, error) { return contract.Reserved{}, nil }))
	default:
		err = run(a.t, body, command(func(context.Context, contract.Commit) (contract.Committed, error) { return contract.Committed{}, nil }))
	}
	return problem.From(err)
}

func run[C, R any](t *testing.T, body string, do func(context.Context, C) (R, error)) error {
	t.Helper()
	var c C
	if err := json.Unmarshal([]byte(body), &c); err != nil {
		t.Fatal(err)
	}
	_, err := do(t.Context(), c)
	return err
}

// TestAuditTakesTheLargestQuestion: orders of many lines make a question that
// does not fit into a public body.
func TestAuditTakesTheLargestQuestion(t *testing.T) {
	a := newAPI(t)
	question := contract.HoldsRequest{Orders: make([]contract.OrderLines, contract.MaxHoldsOrders)}
	for i := range question.Orders {
		question.Orders[i] = contract.OrderLines{OrderID: id.Random{}.New(), PlacedAt: time.Unix(1_800_000_000, 0).UTC()}
		for range contract.MaxLines {
			question.Orders[i].SKUs = append(question.Orders[i].SKUs, strings.ToUpper(id.Random{}.New()[:32]))
		}
	}
	body, err := json.Marshal(question)
	if err != nil {
		t.Fatal(err)
	}
	if answer := want[contract.Holds](t, a.call("POST", contract.PathHolds, string(body)), 200); len(answer.Holds) != 0 {
		t.Errorf("%d bytes about unknown orders are answered with %+v", len(body), answer)
	}
}
