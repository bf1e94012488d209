package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"caravan/dapr/catalogue"
	"caravan/dapr/client"
	"caravan/internal/clock"
	"caravan/internal/document"
	"caravan/internal/document/documenttest"
	"caravan/internal/id"
	"caravan/internal/money"
	"caravan/internal/problem"
	"caravan/internal/request"
	"caravan/internal/token"
	"caravan/services/products/adapters"
	"caravan/services/products/app"
	"caravan/services/products/contract"
	users "caravan/services/users/contract"
)

// testShop serves the products service over HTTP, as the gateway does for staff.
type testShop struct {
	*http.ServeMux
	server *httptest.Server
	writes atomic.Int64
	// busy is the number of writes to answer with 503; done means that they take effect before that.
	busy atomic.Int64
	done bool
	// refuse is a SKU that is refused.
	refuse string
}

func newShop(t *testing.T, currency string) *testShop {
	store := documenttest.NewStore()
	documents := app.NewDocuments(store, document.Options{Source: contract.App, Clock: clock.System{}, IDs: id.Random{}})
	shop := app.NewShop(documents, clock.System{}, 10*time.Millisecond)
	s := &testShop{ServeMux: http.NewServeMux()}
	adapters.API{
		List: app.ListProducts{Shop: shop}, Get: app.GetProduct{Shop: shop}, Create: app.CreateProduct{Shop: shop, Currency: currency},
		Change: app.ChangeProduct{Shop: shop}, Correct: app.CorrectStock{Shop: shop}, Clock: clock.System{},
	}.Register(s)
	s.HandleFunc("POST /v1/sessions", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(client.Session{AccessToken: "t", ExpiresIn: 3600})
	})
	s.server = httptest.NewServer(s)
	t.Cleanup(s.server.Close)
	return s
}

// Public gives every caller the claims of staff.
func (s *testShop) Public(pattern string, h request.Handler) {
	path, _ := request.SplitPattern(pattern)
	s.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		var p *problem.Problem
		if r.Method != http.MethodGet {
			s.writes.Add(1)
			if s.busy.Add(-1) >= 0 {
				p = problem.Unavailable("busy", "come back", time.Millisecond)
			}
		}
		out := w
		if p != nil {
			out = httptest.NewRecorder()
		}
		if p == nil || s.done {
			r = r.WithContext(token.With(r.Context(), token.Claims{Subject: "staff", Permissions: users.PermissionsOf([]string{users.RoleStaff})}))
			if err := s.handle(h, out, r); err != nil {
				problem.Write(out, r, err)
			}
		}
		if p != nil {
			problem.Write(w, r, p)
		}
	})
}

func (s *testShop) handle(h request.Handler, w http.ResponseWriter, r *http.Request) error {
	if s.refuse != "" && r.Method == http.MethodPost && r.URL.Path == "/v1/products" {
		var body bytes.Buffer
		_, _ = body.ReadFrom(r.Body)
		if strings.Contains(body.String(), `"`+s.refuse+`"`) {
			return problem.Unprocessable("catalogue-full", "the catalogue cannot hold more products")
		}
		r.Body = http.NoBody
		r = r.Clone(r.Context())
		r.Body = readCloser{&body}
	}
	request.HTTP(h)(w, r)
	return nil
}

type readCloser struct{ *bytes.Buffer }

func (readCloser) Close() error { return nil }

// Long and Anonymous implement service.Routes; products has no such routes.
func (s *testShop) Long(pattern string, h request.Handler) { s.Public(pattern, h) }

func (s *testShop) Anonymous(pattern string, h request.Handler) { s.Public(pattern, h) }

// Internal drops the route: internal routes are not available through the gateway.
func (s *testShop) Internal(string, request.Handler) {}

// run runs "import" with a file of the content.
func (s *testShop) run(t *testing.T, content string, skipBad bool) (out, stderr string, err error) {
	t.Helper()
	t.Setenv("STAFF_PASSWORD", "p")
	path := filepath.Join(t.TempDir(), "file.csv")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	var o, e bytes.Buffer
	c := &cli{out: &o, err: &e}
	c.options.access.gateway = s.server.URL
	c.options.importing.skipBad = skipBad
	err = c.importFile(t.Context(), path)
	return o.String(), e.String(), err
}

// products returns the staff views of the shop's products by SKU.
func (s *testShop) products(t *testing.T) map[string]client.StaffProduct {
	t.Helper()
	shop := client.New(s.server.URL, nil)
	list, err := shop.AllProducts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	products := map[string]client.StaffProduct{}
	for _, product := range list.Items {
		if products[product.SKU], err = shop.GetProduct(t.Context(), product.SKU); err != nil {
			t.Fatal(err)
		}
	}
	return products
}

const csvHeader = "sku,name,description,category,price,currency,stock\n"

// mugs returns rows of valid products, from line 2 on.
func mugs(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "MUG-%d,Mug %d,,kitchen,1.00,EUR,5\n", i+2, i+2)
	}
	return b.String()
}

func TestImportBringsTheShopToTheFile(t *testing.T) {
	shop := newShop(t, "EUR")
	before := csvHeader + "OLD,Old name,,test,1.00,EUR,10\nSAME,Same,,test,1,EUR,3\nKEPT,Not in the file,,test,1,EUR,3\n"
	if out, stderr, err := shop.run(t, before, false); err != nil || !strings.Contains(out, "3 products created, 0 changed, 0 already") {
		t.Fatal(out, stderr, err)
	}
	// The second name is e and an accent, which the service stores as one character.
	file := csvHeader + "NEW,Cafe\u0301,\"One\r\ntwo.\",test,5.00,EUR,7\nOLD,New name,,test,2.00,EUR,4\nSAME,Same,,test,1.00,EUR,3\n"
	if out, stderr, err := shop.run(t, file, false); err != nil || !strings.Contains(out, "1 product created, 1 changed, 1 already") {
		t.Fatal(out, stderr, err)
	}
	products := shop.products(t)
	if old := products["OLD"]; old.Name != "New name" || old.Price.Amount != 200 || old.OnHand != 4 {
		t.Errorf("OLD is %+v", old)
	}
	if len(products) != 4 || products["NEW"].OnHand != 7 || products["NEW"].Name != "Caf\u00e9" || products["NEW"].Description != "One\ntwo." {
		t.Errorf("the shop holds %+v", products)
	}
	writes := shop.writes.Load()
	if out, _, err := shop.run(t, file, false); err != nil || !strings.Contains(out, "0 products created, 0 changed, 3 already") || shop.writes.Load() != writes {
		t.Errorf("a second import made %d writes: %s, %v", shop.writes.Load()-writes, out, err)
	}
}

func TestImportIsAllOrNothing(t *testing.T) {
	const good = 39
	for name, c := range map[string]struct{ bad, field string }{
		"other currency":    {"BAD,Bad,,kitchen,1.00,USD,5", "currency: \"USD\" must be EUR"},
		"great price":       {"BAD,Bad,,kitchen,10000000.01,EUR,5", `price: "10000000.01" must be from 0.01 EUR to 10000000.00 EUR`},
		"soft hyphen":       {"BAD,Ba\u00add,,kitchen,1.00,EUR,5", `name: "Ba\u00add"`},
		"zero-width space":  {"BAD,Ba\u200bd,,kitchen,1.00,EUR,5", `name: "Ba\u200bd"`},
		"bidi override":     {"BAD,Bad,\u202efine,kitchen,1.00,EUR,5", `description: "\u202efine"`},
		"name of two lines": {"BAD,\"Bad\none\",,kitchen,1.00,EUR,5", `lines 41 to 42, name: "Bad\none"`},
		"long description":  {"BAD,Bad," + strings.Repeat("x", 4001) + ",kitchen,1.00,EUR,5", "description: "},
		"great stock":       {"BAD,Bad,,kitchen,1.00,EUR,1000000001", "stock: "},
		"SKU twice":         {"MUG-2,Bad,,kitchen,1.00,EUR,5", "is on line 2 already"},
		"stray quote":       {`BAD,"Bad,,kitchen,1.00,EUR,5`, "line 41: opens a quote that is not closed"},
	} {
		t.Run(name, func(t *testing.T) {
			shop := newShop(t, "EUR")
			content := csvHeader + mugs(good) + c.bad
			_, stderr, err := shop.run(t, content, false)
			if err == nil || !strings.Contains(err.Error(), "Nothing was imported") || shop.writes.Load() != 0 {
				t.Errorf("%d writes, %v", shop.writes.Load(), err)
			}
			if !strings.Contains(stderr, "41") || !strings.Contains(stderr, c.field) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("%q does not say %q", stderr, c.field)
			}
			out, _, err := shop.run(t, content, true)
			if err != nil || !strings.Contains(out, "39 products created") || len(shop.products(t)) != good {
				t.Errorf("skipping the bad line: %v, %s", err, out)
			}
		})
	}
}

func TestImportKnowsTheCurrencyOfAnEmptyShop(t *testing.T) {
	shop := newShop(t, "JPY")
	if _, stderr, err := shop.run(t, csvHeader+mugs(1), false); err == nil || !strings.Contains(stderr, `currency: "EUR" must be JPY`) {
		t.Error(stderr, err)
	}
	if out, stderr, err := shop.run(t, csvHeader+"TEA,Tea,,tea,500,JPY,5", false); err != nil || len(shop.products(t)) != 1 {
		t.Error(out, stderr, err)
	}
}

func TestImportCountsTheLinesOfProducts(t *testing.T) {
	shop := newShop(t, "EUR")
	file := csvHeader + "MUG,Mug,,kitchen,one,USD,5\n\nTEA,\"Tea\",,tea,5.00,EUR,5\n"
	_, stderr, err := shop.run(t, file, false)
	if err == nil || !strings.HasPrefix(err.Error(), "Bad lines: 1 of 2. Good products: 1. Nothing was imported") {
		t.Error(err)
	}
	// The currency is refused, so the example must not name it.
	if !strings.Contains(stderr, `price: "one" must be a number such as 19.99`) || !strings.Contains(stderr, `currency: "USD" must be EUR`) {
		t.Errorf("it said %q", stderr)
	}
}

func TestImportKeepsWhatIsReserved(t *testing.T) {
	reserved := client.StaffProduct{SKU: "MUG", Price: money.New(100, "EUR"), OnHand: 9, Reserved: 6}
	row := catalogue.Row{Lines: catalogue.Lines{First: 2, Last: 2}, SKU: "MUG", Price: money.New(100, "EUR"), Stock: 5}
	if m, found := (&step{row: row, existing: &reserved}).mistake(); !found || m.String() != `line 2, stock: "5" must be at least 6, which are reserved for orders` {
		t.Error(m)
	}
	row.Stock = 6
	if m, found := (&step{row: row, existing: &reserved}).mistake(); found {
		t.Error(m)
	}
}

func TestImportWaitsOutABusyShop(t *testing.T) {
	for _, done := range []bool{false, true} {
		shop := newShop(t, "EUR")
		shop.busy.Store(3)
		shop.done = done
		if out, stderr, err := shop.run(t, csvHeader+mugs(20), false); err != nil || !strings.Contains(out, "20 products created") || len(shop.products(t)) != 20 {
			t.Errorf("done %v: %s%s%v", done, out, stderr, err)
		}
		shop.busy.Store(3)
		out, stderr, err := shop.run(t, csvHeader+strings.ReplaceAll(mugs(20), "EUR,5", "EUR,8"), false)
		if err != nil || !strings.Contains(out, "20 changed") {
			t.Errorf("done %v: %s%s%v", done, out, stderr, err)
		}
		for sku, product := range shop.products(t) {
			if product.OnHand != 8 {
				t.Errorf("done %v: %s has %d on hand", done, sku, product.OnHand)
			}
		}
	}
}

func TestImportReportsWhatWasImportedWhenALineIsRefusedMidway(t *testing.T) {
	shop := newShop(t, "EUR")
	shop.refuse = "MUG-20"
	content := csvHeader + mugs(40)
	out, stderr, err := shop.run(t, content, false)
	if err == nil || !strings.Contains(stderr, "line 20, MUG-20: POST /v1/products: 422 catalogue-full") || !strings.Contains(stderr, "lines 20\n") {
		t.Fatal(out, stderr, err)
	}
	here := shop.products(t)
	if len(here) == 0 || len(here) == 40 || !strings.Contains(out, fmt.Sprintf("%d products created", len(here))) {
		t.Errorf("%d products; %s", len(here), out)
	}
	var created []catalogue.Row
	for n := 2; n <= 41; n++ {
		if _, exists := here[fmt.Sprintf("MUG-%d", n)]; exists {
			created = append(created, catalogue.Row{Lines: catalogue.Lines{First: n, Last: n}})
		}
	}
	if want := "lines " + lineList(created) + "\n"; !strings.Contains(stderr, want) {
		t.Errorf("%q does not say that it created %s", stderr, want)
	}
	if out, stderr, err := shop.run(t, content, true); err != nil || len(shop.products(t)) != 39 || !strings.Contains(stderr, "MUG-20") {
		t.Errorf("skipping: %s%s%v", out, stderr, err)
	}
	shop.refuse = ""
	if out, _, err := shop.run(t, content, false); err != nil || !strings.Contains(out, "1 product created, 0 changed, 39 already") {
		t.Errorf("again: %s%v", out, err)
	}
}

// TestTheImporterAcceptsWhatTheServiceAccepts gives both the same products.
func TestTheImporterAcceptsWhatTheServiceAccepts(t *testing.T) {
	shop := newShop(t, "EUR")
	staff := client.New(shop.server.URL, nil)
	text := func(samples ...string) *rapid.Generator[string] {
		letter := rapid.OneOf(rapid.SampledFrom([]rune("ab \t\n\u00ad\u200b\u200c\u200d\u202e\u0301\u00a0\x00,;\"e語ب")), rapid.Rune())
		return rapid.OneOf(rapid.SampledFrom(samples), rapid.Map(rapid.SliceOfN(letter, 0, 6), func(r []rune) string { return string(r) }))
	}
	seen := 0
	rapid.Check(t, func(t *rapid.T) {
		seen++
		sku := rapid.OneOf(rapid.Just(fmt.Sprintf("P-%d", seen)), text("mug", "A", "-A", strings.Repeat("A", 33))).Draw(t, "sku")
		row := []string{
			sku, text("Mug", "", strings.Repeat("ü", 121)).Draw(t, "name"), text("", strings.Repeat("ü", 4001)).Draw(t, "description"),
			text("kitchen", "a--b", strings.Repeat("a", 41)).Draw(t, "category"), "", rapid.SampledFrom([]string{"EUR", "EUR", "EUR", "USD", "eur"}).Draw(t, "currency"), "",
		}
		amount := rapid.OneOf(rapid.Int64Range(-1, 2), rapid.Int64Range(999_999_999, 1_000_000_001)).Draw(t, "amount")
		stock := rapid.OneOf(rapid.Int64Range(-1, 2), rapid.Int64Range(999_999_999, 1_000_000_001)).Draw(t, "stock")
		row[4], _, _ = strings.Cut(money.New(amount, "EUR").String(), " ")
		row[6] = fmt.Sprint(stock)
		for i, field := range row {
			row[i] = `"` + strings.ReplaceAll(field, `"`, `""`) + `"`
		}
		file, err := readCatalogue(strings.NewReader(csvHeader+strings.Join(row, ",")), "EUR")
		if err != nil {
			t.Fatal(err)
		}
		if len(file.Rows) == 1 {
			if _, err := staff.CreateProduct(context.Background(), draftOf(file.Rows[0])); err != nil && client.Status(err) != http.StatusConflict {
				t.Fatalf("the importer accepts %q; the service: %v", row, err)
			}
			return
		}
		unquote := func(i int) string {
			return strings.TrimSpace(strings.ReplaceAll(row[i][1:len(row[i])-1], `""`, `"`))
		}
		draft := client.NewProduct{
			SKU: unquote(0), Name: unquote(1), Description: unquote(2), Category: unquote(3), Price: money.New(amount, unquote(5)), Stock: stock,
		}
		if _, err := staff.CreateProduct(context.Background(), draft); err == nil {
			t.Fatalf("the service accepts %q; the importer: %v", row, file.Mistakes)
		}
	})
}

func TestTheShopsOwnCatalogue(t *testing.T) {
	raw, err := os.ReadFile("../services/products/catalogue.csv")
	if err != nil {
		t.Fatal(err)
	}
	file, err := readCatalogue(bytes.NewReader(raw), "EUR")
	if err != nil || len(file.Mistakes) != 0 || len(file.Rows) < 60 {
		t.Errorf("%+v, %v", file, err)
	}
}

func TestLineList(t *testing.T) {
	var rows []catalogue.Row
	for _, l := range []catalogue.Lines{{First: 9, Last: 9}, {First: 2, Last: 2}, {First: 3, Last: 5}, {First: 12, Last: 13}} {
		rows = append(rows, catalogue.Row{Lines: l})
	}
	if got := lineList(rows); got != "2 to 5, 9, 12 to 13" {
		t.Error(got)
	}
}
