package console

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"caravan/dapr/client"
	"caravan/dapr/launcher"
	"caravan/dapr/launcher/infra"
	"caravan/dapr/records"
	"caravan/dapr/records/store"
	"caravan/internal/money"
	"caravan/test/stacktest"
)

// settings are the settings of the run in the environment.
var settings = struct{ daprd, screenshots string }{stacktest.Take("CARAVAN_DAPRD"), stacktest.Take("CARAVAN_SCREENSHOTS")}

// programs are those that handle an order.
var programs = []string{"users", "products", "orders", "payments", "notifications", "gateway"}

// hostile is text that would be an element if a page did not escape it.
const hostile = `</td><img src=x onerror="window.pwned=1"><script>window.pwned=1</script>`

// person is an account for the tests.
type person struct{ email, password string }

var (
	staff    = person{"staff@console.example", "console staff password"}
	customer = person{"customer@console.example", "console customer password"}
)

// stack is a stack with its console.
type stack struct {
	*launcher.Stack
	t     *testing.T
	admin *client.Client
}

func start(t *testing.T) *stack {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes")
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute) // the first time, sidecar and store are built
	defer cancel()
	running, err := launcher.Start(ctx, launcher.Options{
		Root: filepath.Join(here, "..", ".."), Dir: t.TempDir(), Daprd: settings.daprd, FreePorts: true, Broker: "rabbitmq", Store: "sqlite",
		Env: stacktest.Environment(programs), Observe: launcher.ObserveLogs, Console: true,
		Proxies: true, ProgramProxies: true,
	})
	if errors.Is(err, infra.ErrNotInstalled) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	serving, down := context.WithCancel(context.WithoutCancel(t.Context()))
	served := make(chan error, 1)
	go func() { served <- running.ServeControl(serving, down) }()
	t.Cleanup(func() {
		down()
		if err := <-served; err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 45*time.Second)
		defer cancel()
		running.Stop(ctx)
	})
	s := &stack{Stack: running, t: t}
	if err := s.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	s.fill(ctx)
	return s
}

// fill adds a product, a member of staff and a customer.
func (s *stack) fill(ctx context.Context) {
	s.t.Helper()
	admin := s.Admin()
	gateway := client.New(s.GatewayURL(), nil)
	var err error
	if s.admin, err = gateway.Login(ctx, admin.Email, admin.Password); err != nil {
		s.t.Fatal(err)
	}
	product := client.NewProduct{SKU: "CONSOLE-1", Name: "Green tea", Category: "tea", Price: money.New(100, "EUR"), Stock: 100_000}
	if _, err := s.admin.CreateProduct(ctx, product); err != nil {
		s.t.Fatal(err)
	}
	for _, p := range []person{staff, customer} {
		user, err := gateway.RegisterUser(ctx, client.Registration{Email: p.email, Password: p.password, Name: "A person"})
		if err != nil {
			s.t.Fatal(err)
		}
		if p == staff {
			_, err = s.admin.SetUserRoles(ctx, user.ID, client.RoleChange{Roles: client.Roles{client.Customer, client.Staff}})
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
}

// rename gives the product a hostile name.
func (s *stack) rename() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), bound)
	defer cancel()
	name := "Tea " + hostile
	if _, err := s.admin.UpdateProduct(ctx, "CONSOLE-1", client.ProductChange{Name: &name}); err != nil {
		s.t.Fatal(err)
	}
}

// address is the URL of a process.
func (s *stack) address(name string) string {
	s.t.Helper()
	status, err := s.Process(name)
	if err != nil {
		s.t.Fatal(err)
	}
	return status.URL
}

// publish publishes a text that no consumer can handle.
func (s *stack) publish(text string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.address("users-daprd")+"/v1.0/publish/pubsub/users", strings.NewReader(text))
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "text/plain")
	request.Header.Set("Dapr-Api-Token", s.APIToken())
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	if answer, _ := io.ReadAll(response.Body); response.StatusCode/100 != 2 {
		s.t.Fatalf("publishing answers %s: %s", response.Status, answer)
	}
}

// record stores a hostile log line and a span with a hostile name and attribute about an order.
func (s *stack) record(order string) {
	s.t.Helper()
	trace, now := strings.Repeat("ab", 16), time.Now()
	ids := records.IDs{Aggregate: order, Trace: trace, Correlation: "hostile-" + rand.Text()}
	line := records.Row{Kind: records.Log, Time: now, Instance: "orders", App: "orders", Level: records.Warn, Message: "line " + hostile, IDs: ids, File: "f", Offset: 1}
	line.Line = fmt.Sprintf(`{"msg":"line","key":%q}`, hostile)
	span := records.Row{
		Kind: records.Span, Time: now, Instance: "orders", App: "orders", Message: "span " + hostile, IDs: ids, SpanID: strings.Repeat("cd", 8),
		Duration: time.Millisecond, Attributes: fmt.Sprintf(`{"http.route":%q}`, hostile),
	}
	var rows bytes.Buffer
	for _, row := range []records.Row{line, span} {
		rows.Write(records.AppendRow(nil, &row))
	}
	logs := store.New(s.LogsURL())
	defer logs.Close()
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	if _, err := logs.Insert(ctx, rows.Bytes()); err != nil {
		s.t.Fatal(err)
	}
}
