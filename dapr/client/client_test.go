package client_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"caravan/dapr/client"
	"caravan/internal/correlation"
	"caravan/internal/money"
	"caravan/internal/problem"
)

// fakeGateway gives the prepared answers, and records the calls.
type fakeGateway struct {
	mu        sync.Mutex
	calls     []*http.Request
	expiresIn int
	refresh   int // status of a refresh
	handle    http.HandlerFunc
}

func (g *fakeGateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	g.calls = append(g.calls, r)
	g.mu.Unlock()
	switch r.URL.Path {
	case "/v1/sessions":
		g.session(w, "opened", http.StatusCreated)
	case "/v1/sessions/refresh":
		g.session(w, "refreshed", g.refresh)
	default:
		g.handle(w, r)
	}
}

func (g *fakeGateway) session(w http.ResponseWriter, token string, status int) {
	if status != http.StatusCreated {
		w.WriteHeader(status)
		return
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(client.Session{AccessToken: token, RefreshToken: "r", ExpiresIn: g.expiresIn, TokenType: "Bearer"})
}

func serve(t *testing.T, g *fakeGateway) *client.Client {
	t.Helper()
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	return client.New(server.URL+"/", nil)
}

func TestProblemsAreErrors(t *testing.T) {
	shop := serve(t, &fakeGateway{handle: func(w http.ResponseWriter, r *http.Request) {
		problem.Write(w, r, problem.TooMany(7*time.Second))
	}})
	_, err := shop.GetProduct(t.Context(), "MUG")
	var p *problem.Problem
	if !errors.As(err, &p) || p.RetryAfter != 7*time.Second {
		t.Fatalf("got %v, want a problem with its Retry-After", err)
	}
	if client.Status(err) != http.StatusTooManyRequests || client.Slug(err) != p.Slug() || p.Slug() == "" {
		t.Errorf("status %d, slug %q", client.Status(err), client.Slug(err))
	}
}

func TestOtherAnswersAreErrorsToo(t *testing.T) {
	shop := serve(t, &fakeGateway{handle: func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadGateway)
		_, _ = w.Write([]byte(strings.Repeat("x", 10_000)))
	}})
	_, err := shop.GetProduct(t.Context(), "MUG")
	var unexpected *client.UnexpectedError
	if !errors.As(err, &unexpected) || client.Status(err) != http.StatusBadGateway || len(err.Error()) > 500 {
		t.Errorf("got %.600v", err)
	}
	if client.Status(errors.New("no answer")) != 0 || client.Slug(nil) != "" {
		t.Error("an error without an answer has a status")
	}
}

func TestOrderCarriesKeyCorrelationAndToken(t *testing.T) {
	g := &fakeGateway{expiresIn: 300, handle: func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "/v1/orders/1")
		w.Header().Set(correlation.Header, "cause")
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write([]byte(`{"id":"1","status":"placed"}`))
	}}
	user, err := serve(t, g).Login(t.Context(), "a@b.example", "secret")
	if err != nil {
		t.Fatal(err)
	}
	var header http.Header
	ctx := client.WithHeader(correlation.With(t.Context(), "mine"), &header)
	accepted, err := user.PlaceOrder(ctx, "key-1", client.PlaceOrderParams{}, client.NewOrder{
		Items: []client.NewOrderItem{{SKU: "MUG", Quantity: 1}}, ExpectedTotal: money.New(100, "EUR"),
	})
	if err != nil || accepted.ID != "1" || header.Get("Location") != "/v1/orders/1" || header.Get(correlation.Header) != "cause" {
		t.Errorf("got %+v, %v, %v", accepted, header, err)
	}
	sent := g.calls[len(g.calls)-1].Header
	for name, want := range map[string]string{
		"Idempotency-Key": `"key-1"`, "Authorization": "Bearer opened", correlation.Header: "mine", "Content-Type": "application/json",
	} {
		if got := sent.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

// One call places an order and returns its end; without the end it returns what the acceptance says.
func TestAnOrderIsPlacedAndAwaited(t *testing.T) {
	ended := true
	g := &fakeGateway{expiresIn: 300, handle: func(w http.ResponseWriter, _ *http.Request) {
		if !ended {
			w.WriteHeader(http.StatusAccepted)
			_, _ = w.Write([]byte(`{"id":"1","status":"placed"}`))
			return
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte(`{"id":"1","status":"rejected","reason":"out_of_stock","lines":[{"sku":"MUG","quantity":1}],"timeline":[{"type":"placed","sequence":1}]}`))
	}}
	user, err := serve(t, g).Login(t.Context(), "a@b.example", "secret")
	if err != nil {
		t.Fatal(err)
	}
	place := func() client.Order {
		t.Helper()
		order, err := user.PlaceOrder(t.Context(), "key-1", client.PlaceOrderParams{Wait: "5s"}, client.NewOrder{Items: []client.NewOrderItem{{SKU: "MUG", Quantity: 1}}})
		if sent := g.calls[len(g.calls)-1].URL.RawQuery; err != nil || sent != "wait=5s" {
			t.Errorf("the query is %q, the error %v", sent, err)
		}
		return order
	}
	if order := place(); !order.Status.Ended() || order.Reason != "out_of_stock" || len(order.Timeline) != 1 {
		t.Errorf("got %+v", order)
	}
	ended = false
	if order := place(); order.Status != client.OrderStatusPlaced || order.ID != "1" || order.Timeline != nil {
		t.Errorf("got %+v", order)
	}
}

func TestSessionsAreRenewed(t *testing.T) {
	for name, test := range map[string]struct {
		expiresIn int
		refresh   int
		want      string
	}{
		"still good":        {300, http.StatusCreated, "Bearer opened"},
		"about to expire":   {0, http.StatusCreated, "Bearer refreshed"},
		"session has ended": {0, http.StatusUnauthorized, "Bearer opened"},
	} {
		t.Run(name, func(t *testing.T) {
			g := &fakeGateway{expiresIn: test.expiresIn, refresh: test.refresh, handle: func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte(`{"id":"1"}`))
			}}
			user, err := serve(t, g).Login(t.Context(), "a@b.example", "secret")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := user.GetOwnUser(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := g.calls[len(g.calls)-1].Header.Get("Authorization"); got != test.want {
				t.Errorf("sent %q, want %q", got, test.want)
			}
		})
	}
}

func TestAwaitOrderAsksUntilItsEnd(t *testing.T) {
	answers := []string{"placed", "reserved", "confirmed"}
	g := &fakeGateway{}
	g.handle = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("wait") == "" {
			t.Error("asked without waiting")
		}
		status := answers[0]
		answers = answers[1:]
		_ = json.NewEncoder(w).Encode(client.Order{ID: "1", Status: client.OrderStatus(status)})
	}
	order, err := serve(t, g).AwaitOrder(t.Context(), "1")
	if err != nil || order.Status != "confirmed" || len(g.calls) != 3 {
		t.Errorf("got %+v, %v after %d calls", order, err, len(g.calls))
	}
}

func TestAllProductsFollowsTheCursor(t *testing.T) {
	shop := serve(t, &fakeGateway{handle: func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Cache-Control") != "no-cache" {
			t.Error("a cache may answer")
		}
		list := client.ProductList{Items: []client.Product{{SKU: "A"}}, Next: "second", Currency: "EUR"}
		if r.URL.Query().Get("cursor") == "second" {
			list.Items, list.Next = []client.Product{{SKU: "B"}}, ""
		}
		_ = json.NewEncoder(w).Encode(list)
	}})
	products, err := shop.AllProducts(t.Context())
	if err != nil || len(products.Items) != 2 || products.Items[1].SKU != "B" || products.Currency != "EUR" {
		t.Errorf("got %+v, %v", products, err)
	}
}

// TestResumedSessionEnds: without a password nothing can open another session.
func TestResumedSessionEnds(t *testing.T) {
	g := &fakeGateway{expiresIn: 300, refresh: http.StatusUnauthorized, handle: func(http.ResponseWriter, *http.Request) {}}
	user := serve(t, g).Resume(client.Session{AccessToken: "a", RefreshToken: "r", ExpiresIn: 0})
	if _, err := user.GetWallet(t.Context()); client.Status(err) != http.StatusUnauthorized {
		t.Errorf("a call says %v, want 401", err)
	}
	for _, call := range g.calls {
		if call.URL.Path == "/v1/sessions" {
			t.Error("it tried to sign in")
		}
	}
}
