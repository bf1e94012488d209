package metrics

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"caravan/dapr/client"
	"caravan/dapr/launcher"
	"caravan/dapr/launcher/infra"
	"caravan/internal/money"
	"caravan/test/stacktest"
)

// settings are the settings of the run in the environment.
var settings = struct{ daprd string }{stacktest.Take("CARAVAN_DAPRD")}

// bound is the longest wait for something to be seen in the store. On an idle machine it takes ten seconds.
const bound = 2 * time.Minute

// stack is a stack with a store for metrics.
type stack struct {
	*launcher.Stack
	t       *testing.T
	product string
}

func start(t *testing.T) *stack {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute) // the first time, sidecar and stores are built
	defer cancel()
	running, err := launcher.Start(ctx, launcher.Options{
		Root: filepath.Join("..", ".."), Dir: t.TempDir(), Daprd: settings.daprd, FreePorts: true, Broker: "rabbitmq", Store: "sqlite",
		Env:     stacktest.Environment([]string{"users", "products", "orders", "payments", "notifications", "gateway"}),
		Observe: launcher.ObserveFull,
	})
	if errors.Is(err, infra.ErrNotInstalled) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 45*time.Second)
		defer cancel()
		running.Stop(ctx)
	})
	s := &stack{Stack: running, t: t, product: "METRIC-1"}
	if err := s.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	admin, err := client.New(s.GatewayURL(), nil).Login(ctx, s.Admin().Email, s.Admin().Password)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admin.CreateProduct(ctx, client.NewProduct{SKU: s.product, Name: "Metric", Category: "tea", Price: money.New(100, "EUR"), Stock: 1000}); err != nil {
		t.Fatal(err)
	}
	return s
}

// customer registers a user with a full wallet.
func (s *stack) customer(ctx context.Context, email string) *client.Client {
	s.t.Helper()
	gateway := client.New(s.GatewayURL(), nil)
	if _, err := gateway.RegisterUser(ctx, client.Registration{Email: email, Password: "correct horse 1", Name: "Lotte"}); err != nil {
		s.t.Fatal(err)
	}
	user, err := gateway.Login(ctx, email, "correct horse 1")
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := user.TopUp(ctx, rand.Text(), money.New(1_000_000, "EUR")); err != nil {
		s.t.Fatal(err)
	}
	return user
}

// place places an order and returns its id.
func (s *stack) place(ctx context.Context, user *client.Client) string {
	s.t.Helper()
	accepted, err := user.PlaceOrder(ctx, rand.Text(), client.PlaceOrderParams{}, client.NewOrder{Items: []client.NewOrderItem{{SKU: s.product, Quantity: 1}}})
	if err != nil {
		s.t.Fatal(err)
	}
	return accepted.ID
}

// get sends a request to the gateway and does not care about the answer.
func (s *stack) get(ctx context.Context, path string) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.GatewayURL()+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if response, err := http.DefaultClient.Do(request); err == nil {
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
	}
}

// poison publishes an event that no version of the consumer can handle.
func (s *stack) poison(ctx context.Context) {
	s.t.Helper()
	sidecar, err := s.Process("orders-daprd")
	if err != nil {
		s.t.Fatal(err)
	}
	const event = `{"specversion":"1.0","id":"orders/x/1","type":"orders.confirmed.v99","source":"orders","data":{}}`
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, sidecar.URL+"/v1.0/publish/pubsub/orders", strings.NewReader(event))
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("dapr-api-token", s.APIToken())
	request.Header.Set("Content-Type", "application/cloudevents+json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusNoContent {
		s.t.Fatalf("publishing answers %s", response.Status)
	}
}

// ask sends a query to the store and decodes the member "data" of its answer.
func (s *stack) ask(path string, query url.Values, into any) error {
	ctx, cancel := context.WithTimeout(s.t.Context(), 15*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.MetricsURL()+path+"?"+query.Encode(), nil)
	if err != nil {
		return fmt.Errorf("asking for metrics: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("asking for metrics: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(response.Body)
		return fmt.Errorf("asking for metrics: %s: %s", response.Status, text)
	}
	if err := json.NewDecoder(response.Body).Decode(&struct{ Data any }{into}); err != nil {
		return fmt.Errorf("asking for metrics: %w", err)
	}
	return nil
}

// series are all series that a selector finds, as their labels.
func (s *stack) series(selector string) (all []map[string]string, err error) {
	query := url.Values{"match[]": {selector}, "start": {"-1h"}, "limit": {"50000"}}
	return all, s.ask("/api/v1/series", query, &all)
}

// value is the value of a query with one result, or an error if it has none.
func (s *stack) value(query string) (string, error) {
	var answer struct {
		Result []struct{ Value [2]any }
	}
	if err := s.ask("/api/v1/query", url.Values{"query": {query}}, &answer); err != nil {
		return "", err
	}
	if len(answer.Result) != 1 {
		return "", fmt.Errorf("%s has %d results", query, len(answer.Result))
	}
	return fmt.Sprint(answer.Result[0].Value[1]), nil
}

// await waits until a check has nothing to complain about. do, which may be nil, happens before each check.
func (s *stack) await(what string, do func(), check func() error) {
	s.t.Helper()
	for deadline := time.Now().Add(bound); ; time.Sleep(500 * time.Millisecond) {
		if do != nil {
			do()
		}
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("waited %s for %s: %v", bound, what, err)
		}
	}
}
