package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"caravan/internal/catalogue"
	"caravan/internal/money"
	"caravan/internal/problem"
	"caravan/internal/shopclient"
)

// fakeShop is a catalogue behind HTTP, as the gateway shows it to staff.
type fakeShop struct {
	mu       sync.Mutex
	products map[string]shopclient.Product
	writes   int
	busy     int // how many writes to turn away first
}

func (s *fakeShop) serve(t *testing.T) *shopclient.Client {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/products", s.list)
	mux.HandleFunc("GET /v1/products/{sku}", s.get)
	mux.HandleFunc("POST /v1/products", s.create)
	mux.HandleFunc("PATCH /v1/products/{sku}", s.patch)
	mux.HandleFunc("POST /v1/products/{sku}/stock", s.stock)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return shopclient.New(server.URL, nil)
}

func (s *fakeShop) answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func (s *fakeShop) turnedAway(w http.ResponseWriter, r *http.Request) bool {
	s.writes++
	if s.busy == 0 {
		return false
	}
	s.busy--
	problem.Write(w, r, problem.Unavailable("busy", "come back", 1))
	return true
}

func (s *fakeShop) list(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list shopclient.List[shopclient.Product]
	for _, product := range s.products {
		product.OnHand = 0 // as to the public
		list.Items = append(list.Items, product)
	}
	s.answer(w, http.StatusOK, list)
}

func (s *fakeShop) get(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer(w, http.StatusOK, s.products[r.PathValue("sku")])
}

func (s *fakeShop) create(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.turnedAway(w, r) {
		return
	}
	var draft shopclient.Draft
	_ = json.NewDecoder(r.Body).Decode(&draft)
	product := shopclient.Product{
		SKU: draft.SKU, Name: draft.Name, Description: draft.Description, Category: draft.Category, Price: draft.Price, OnHand: draft.Stock,
	}
	s.products[draft.SKU] = product
	s.answer(w, http.StatusCreated, product)
}

func (s *fakeShop) patch(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.turnedAway(w, r) {
		return
	}
	product := s.products[r.PathValue("sku")]
	_ = json.NewDecoder(r.Body).Decode(&product)
	s.products[product.SKU] = product
	s.answer(w, http.StatusOK, product)
}

func (s *fakeShop) stock(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.turnedAway(w, r) {
		return
	}
	var body struct{ Change int64 }
	_ = json.NewDecoder(r.Body).Decode(&body)
	product := s.products[r.PathValue("sku")]
	product.OnHand += body.Change
	s.products[product.SKU] = product
	s.answer(w, http.StatusOK, shopclient.Stock{OnHand: product.OnHand})
}

func TestImportBringsTheShopToTheFile(t *testing.T) {
	shop := &fakeShop{products: map[string]shopclient.Product{
		"OLD":  {SKU: "OLD", Name: "Old name", Category: "test", Price: money.New(100, "EUR"), OnHand: 10},
		"SAME": {SKU: "SAME", Name: "Same", Category: "test", Price: money.New(100, "EUR"), OnHand: 3},
		"KEPT": {SKU: "KEPT", Name: "Not in the file", Category: "test", Price: money.New(100, "EUR"), OnHand: 3},
	}}
	staff := shop.serve(t)
	rows := []catalogue.Row{
		{Line: 2, SKU: "NEW", Name: "New", Category: "test", Price: money.New(500, "EUR"), Stock: 7},
		{Line: 3, SKU: "OLD", Name: "New name", Category: "test", Price: money.New(200, "EUR"), Stock: 4},
		{Line: 4, SKU: "SAME", Name: "Same", Category: "test", Price: money.New(100, "EUR"), Stock: 3},
	}
	run := func() *importer {
		existing, err := staff.AllProducts(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		i := &importer{staff: staff, known: map[string]shopclient.Product{}}
		for _, product := range existing {
			i.known[product.SKU] = product
		}
		if err := i.all(t.Context(), rows); err != nil {
			t.Fatal(err)
		}
		return i
	}
	if i := run(); i.created.Load() != 1 || i.changed.Load() != 1 || i.same.Load() != 1 {
		t.Errorf("created %d, changed %d, same %d; want 1 of each", i.created.Load(), i.changed.Load(), i.same.Load())
	}
	if old := shop.products["OLD"]; old.Name != "New name" || old.Price.Amount != 200 || old.OnHand != 4 {
		t.Errorf("OLD is %+v", old)
	}
	if len(shop.products) != 4 || shop.products["NEW"].OnHand != 7 {
		t.Errorf("the shop holds %+v", shop.products)
	}
	before := shop.writes
	if i := run(); i.same.Load() != 3 || shop.writes != before {
		t.Errorf("a second import made %d writes", shop.writes-before)
	}
}

func TestImportWaitsOutABusyShop(t *testing.T) {
	shop := &fakeShop{products: map[string]shopclient.Product{}, busy: 1}
	i := &importer{staff: shop.serve(t)}
	if err := i.all(t.Context(), []catalogue.Row{{Line: 2, SKU: "NEW", Name: "New", Price: money.New(1, "EUR")}}); err != nil || i.created.Load() != 1 {
		t.Errorf("created %d, %v", i.created.Load(), err)
	}
}

func TestBadFileIsNotImported(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bad.csv")
	content := "sku,name,description,category,price,currency,stock\nOK-1,Fine,,test,1.00,EUR,5\nbad,,,Test,x,EUR,-1\n"
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	c := &cli{out: &stderr, err: &stderr}
	rows, err := c.readCatalogue(path)
	if err == nil || rows != nil {
		t.Errorf("got %d rows and %v, want none", len(rows), err)
	}
	for _, field := range []string{"sku", "name", "category", "price", "stock"} {
		if !strings.Contains(stderr.String(), fmt.Sprintf("line 3, %s:", field)) {
			t.Errorf("%q does not name %s", stderr.String(), field)
		}
	}
	c.options.importing.skipBad = true
	if rows, err := c.readCatalogue(path); err != nil || len(rows) != 1 {
		t.Errorf("skipping bad lines: %d rows, %v", len(rows), err)
	}
}
