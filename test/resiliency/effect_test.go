package resiliency

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"caravan/dapr/client"
	"caravan/internal/id"
	"caravan/internal/money"
)

// TestARepeatedStepHasOneEffect executes every step of the saga and loses its answer the first time that a command
// comes. The orders service repeats it, and in the end each unit is sold and each cent taken once.
func TestARepeatedStepHasOneEffect(t *testing.T) {
	s := shared(t)
	ctx := t.Context()
	admin, err := client.New(s.GatewayURL(), nil).Login(ctx, s.Admin().Email, s.Admin().Password)
	if err != nil {
		t.Fatal(err)
	}
	const stock, price, number = 50, 250, 12
	product, err := admin.CreateProduct(ctx, client.NewProduct{
		SKU: "LOST-" + strings.ToUpper(id.Random{}.New()[24:]), Name: "Lamp", Description: "A lamp.", Category: "lamps",
		Price: money.Money{Amount: price, Currency: "EUR"}, Stock: stock,
	})
	if err != nil {
		t.Fatal(err)
	}
	email, password := id.Random{}.New()+"@shop.example", "correct horse battery staple"
	if _, err := client.New(s.GatewayURL(), nil).RegisterUser(ctx, client.Registration{Email: email, Password: password, Name: "Ann"}); err != nil {
		t.Fatal(err)
	}
	customer, err := client.New(s.GatewayURL(), nil).Login(ctx, email, password)
	if err != nil {
		t.Fatal(err)
	}
	for key, status := (id.Random{}.New()), client.Pending; status != client.Succeeded; { // pending while the bank is slow
		deposit, err := customer.TopUp(ctx, key, money.Money{Amount: number * price * 2, Currency: "EUR"})
		if err != nil {
			t.Fatal(err)
		}
		status = deposit.Status
	}

	lost := make(map[string]*losing)
	for path, app := range map[string]string{
		"/internal/reserve": "products", "/internal/commit": "products", "/internal/authorize": "payments", "/internal/capture": "payments",
	} {
		lost[path] = &losing{program: s.apps[app].program}
		s.apps[app].answers(t, path, lost[path].answer)
	}
	for range number { // one after another, because a batch would be a different command
		placed, err := customer.PlaceOrder(ctx, id.Random{}.New(), client.PlaceOrderParams{}, client.NewOrder{Items: []client.NewOrderItem{{SKU: product.SKU, Quantity: 1}}})
		if err != nil {
			t.Fatal(err)
		}
		order, err := customer.AwaitOrder(ctx, placed.ID)
		if err != nil || order.Status != "confirmed" {
			t.Fatalf("order %s is %q, %v", placed.ID, order.Status, err)
		}
	}
	for path, l := range lost {
		if carried, dropped := l.counts(); dropped < number || carried < 2*number {
			t.Errorf("%s was carried out %d times and its answer lost %d times: the test did not do what it says", path, carried, dropped)
		} else {
			t.Logf("%s: carried out %d times, answer lost %d times, for %d orders", path, carried, dropped, number)
		}
	}
	wallet, err := customer.GetWallet(ctx)
	if err != nil || wallet.Balance.Amount != number*price || wallet.Held.Amount != 0 {
		t.Errorf("the wallet holds %+v, %v; want %d and nothing on hold", wallet, err, number*price)
	}
	after, err := admin.GetProduct(ctx, product.SKU)
	if err != nil || after.Available != stock-number {
		t.Errorf("%d units are left, %v; want %d", after.Available, err, stock-number)
	}
}

// losing executes a command and closes the connection instead of answering, once for each body.
type losing struct {
	program http.Handler

	mu               sync.Mutex
	known            map[string]bool
	carried, dropped int
}

func (l *losing) answer(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		vanishing(w, r)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	answer := httptest.NewRecorder()
	l.program.ServeHTTP(answer, r)
	if l.first(commandOf(body)) {
		vanishing(w, r)
	}
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

// commandOf returns the command in a body, without the caller's trace.
func commandOf(body []byte) string {
	var request struct {
		Commands []struct {
			Command json.RawMessage `json:"command"`
		} `json:"commands"`
	}
	if json.Unmarshal(body, &request) != nil {
		return string(body)
	}
	var all strings.Builder
	for _, c := range request.Commands {
		all.Write(c.Command)
	}
	return all.String()
}

func (l *losing) first(command string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.carried++
	if l.known[command] {
		return false
	}
	if l.known == nil {
		l.known = make(map[string]bool)
	}
	l.known[command] = true
	l.dropped++
	return true
}

func (l *losing) counts() (carried, dropped int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.carried, l.dropped
}
