package records

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"caravan/dapr/client"
	"caravan/dapr/launcher"
	"caravan/dapr/launcher/infra"
	"caravan/dapr/records"
	"caravan/dapr/records/store"
	"caravan/internal/correlation"
	"caravan/internal/money"
	"caravan/test/stacktest"
)

// settings are the settings of the run in the environment.
var settings = struct{ daprd string }{stacktest.Take("CARAVAN_DAPRD")}

// programs are those that handle an order.
var programs = []string{"users", "products", "orders", "payments", "notifications", "gateway"}

// bound is the longest wait for the store to have what the files have. On an idle machine it is two seconds, or ten after a kill.
const bound = 60 * time.Second

// stack is a stack that is observed.
type stack struct {
	*launcher.Stack
	t     *testing.T
	store *store.Client
	admin *client.Client
	sku   string
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
	env := stacktest.Environment(programs)
	env["orders"]["CARAVAN_SAGA_FIRST_BACKOFF"] = "500ms"
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute) // the first time, sidecar and store are built
	defer cancel()
	running, err := launcher.Start(ctx, launcher.Options{
		Root: filepath.Join(here, "..", ".."), Dir: t.TempDir(), Daprd: settings.daprd, FreePorts: true, Broker: "rabbitmq", Store: "sqlite",
		Env: env, Observe: launcher.ObserveLogs,
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
	s := &stack{Stack: running, t: t, store: store.New(running.LogsURL())}
	t.Cleanup(s.store.Close)
	if err := s.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	s.fill(ctx)
	return s
}

// fill adds a product.
func (s *stack) fill(ctx context.Context) {
	s.t.Helper()
	admin := s.Admin()
	var err error
	if s.admin, err = client.New(s.GatewayURL(), nil).Login(ctx, admin.Email, admin.Password); err != nil {
		s.t.Fatal(err)
	}
	s.sku = "RECORD-1"
	if _, err := s.admin.CreateProduct(ctx, client.NewProduct{SKU: s.sku, Name: "Record", Category: "tea", Price: money.New(100, "EUR"), Stock: 100_000}); err != nil {
		s.t.Fatal(err)
	}
}

// customer registers a user with a full wallet.
func (s *stack) customer(ctx context.Context, name, email, password string) *client.Client {
	s.t.Helper()
	gateway := client.New(s.GatewayURL(), nil)
	if _, err := gateway.RegisterUser(ctx, client.Registration{Email: email, Password: password, Name: name}); err != nil {
		s.t.Fatal(err)
	}
	user, err := gateway.Login(ctx, email, password)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := user.TopUp(ctx, rand.Text(), money.New(1_000_000, "EUR")); err != nil {
		s.t.Fatal(err)
	}
	return user
}

// place places an order and returns its id, and the ids of its request and trace.
func (s *stack) place(ctx context.Context, user *client.Client) (order, cause, trace string, err error) {
	var header http.Header
	accepted, err := user.PlaceOrder(client.WithHeader(ctx, &header), rand.Text(), client.PlaceOrderParams{}, client.NewOrder{Items: []client.NewOrderItem{{SKU: s.sku, Quantity: 1}}})
	if err != nil {
		return "", "", "", err
	}
	parts := strings.Split(header.Get("Traceparent"), "-")
	if len(parts) != 4 {
		return "", "", "", fmt.Errorf("the answer has the traceparent %q", header.Get("Traceparent"))
	}
	return accepted.ID, header.Get(correlation.Header), parts[1], nil
}

// line is a line of a process.
type line struct{ instance, text string }

// written are the lines of all log files, as the store should have them, and how often each was written.
func (s *stack) written() map[line]int {
	s.t.Helper()
	all := map[line]int{}
	files, err := os.ReadDir(filepath.Join(s.Dir(), "logs"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(filepath.Join(s.Dir(), "logs", file.Name()))
		if err != nil {
			s.t.Fatal(err)
		}
		instance, _, _ := strings.Cut(file.Name(), ".log")
		for text := range strings.Lines(string(raw)) {
			if text = strings.TrimRight(text, "\r\n"); text != "" {
				all[line{instance, records.Mask(text)}]++
			}
		}
	}
	return all
}

// rows are all rows of the store that a query finds, also those that it has twice.
func (s *stack) rows(query string) []records.Row {
	s.t.Helper()
	var rows []records.Row
	if err := s.store.Query(s.t.Context(), query, time.Time{}, func(raw []byte) error {
		row, err := records.DecodeRow(raw)
		rows = append(rows, row)
		return err
	}); err != nil {
		s.t.Fatal(err)
	}
	return rows
}

// compare returns what the store lacks of lines, and what it has more often than it was written. Processes write on meanwhile.
func (s *stack) compare(lines map[line]int) (differences []string) {
	s.t.Helper()
	have := map[line]int{}
	for _, row := range s.rows((&records.Query{}).LogsQL()) {
		have[line{row.Instance, row.Text()}]++
	}
	for of, n := range lines {
		if have[of] < n {
			differences = append(differences, fmt.Sprintf("%s lacks %d: %.200s", of.instance, n-have[of], of.text))
		}
	}
	now := s.written()
	for of, n := range have {
		if n > now[of] {
			differences = append(differences, fmt.Sprintf("%s has %d too many: %.200s", of.instance, n-now[of], of.text))
		}
	}
	slices.Sort(differences)
	return differences
}

// awaitSame waits until the store has each line once that was written so far, and returns how many that are.
func (s *stack) awaitSame() (count int) {
	s.t.Helper()
	lines := s.written()
	var differences []string
	s.await("the store to have each line once", func() bool {
		differences = s.compare(lines)
		return len(differences) == 0
	}, func() string { return strings.Join(differences[:min(20, len(differences))], "\n") })
	for _, n := range lines {
		count += n
	}
	return count
}

func (s *stack) await(what string, holds func() bool, why func() string) {
	s.t.Helper()
	deadline := time.Now().Add(bound)
	for !holds() {
		if time.Now().After(deadline) {
			s.t.Fatalf("waited %s for %s:\n%s", bound, what, why())
		}
		time.Sleep(300 * time.Millisecond)
	}
}

// connected returns how many spans a trace has, and those whose parent is missing.
func connected(spans []records.Row) (count int, roots, orphans []records.Row) {
	known := map[string]bool{}
	for _, span := range spans {
		known[span.SpanID] = true
	}
	for _, span := range spans {
		switch {
		case span.ParentID == "":
			roots = append(roots, span)
		case !known[span.ParentID]:
			orphans = append(orphans, span)
		}
	}
	return len(spans), roots, orphans
}
