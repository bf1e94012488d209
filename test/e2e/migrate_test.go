package e2e

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"testing"
	"time"

	"caravan/dapr/launcher"
	"caravan/dapr/migrate"
)

// TestMigration moves a shop with orders, one of them under way, to every store and back to the first. It continues in
// each without any loss.
func TestMigration(t *testing.T) {
	skipShort(t)
	options := launcher.Options{Broker: settings.broker, Store: "sqlite"}
	current, err := start(options)
	usable(t, err)
	t.Cleanup(func() { current.stop() }) // after the shop's books are checked
	m := &migrations{t: t, dir: current.dir, options: options}
	gateway, err := url.Parse(current.GatewayURL())
	if err != nil {
		t.Fatal(err)
	}
	// Customers find the shop at the same address.
	if m.options.Port, err = strconv.Atoi(gateway.Port()); err != nil {
		t.Fatal(err)
	}

	sh := open(t, current)
	p, c := sh.product(100, 50), sh.customer(5000)
	orders := []orderBody{c.buys(p, 1), c.buys(p, 2)}
	for _, replica := range current.replicas(t, "payments") {
		if err := current.Crash(t.Context(), replica); err != nil { // for the next life of the stack to start
			t.Fatal(err)
		}
	}
	waiting, _ := c.place(items(p, 3))
	c.waits(waiting.ID, "authorize")
	if _, err := m.try(context.Background(), "postgres", false, nil); !errors.Is(err, launcher.ErrRunning) {
		t.Fatalf("the documents of a running stack are copied: %v", err)
	}

	current.halt()
	m.interrupted("postgres")
	current = m.moved(sh, "postgres")
	c.await(waiting.ID).expect(t, "confirmed", "")
	orders = m.goOn(sh, c, p, append(orders, c.await(waiting.ID)))

	current.halt()
	if again, err := m.from("sqlite").try(context.Background(), "postgres", false, nil); err != nil || !again.Already {
		t.Fatalf("what was migrated and is used is %+v, %v; want it left alone", again, err)
	}
	m.options.Store = "postgres"
	m.must("redis")
	current = m.moved(sh, "redis")
	orders = m.goOn(sh, c, p, orders)

	current.halt()
	var occupied *migrate.OccupiedError
	if _, err := m.try(context.Background(), "sqlite", false, nil); !errors.As(err, &occupied) || occupied.Different == 0 {
		t.Fatalf("the first store's old documents are overwritten: %v", err)
	}
	if _, err := m.try(context.Background(), "sqlite", true, nil); err != nil {
		t.Fatal(err)
	}
	current = m.moved(sh, "sqlite")
	m.goOn(sh, c, p, orders)
}

// migrations moves the documents of one stack between stores.
type migrations struct {
	t       *testing.T
	dir     string
	options launcher.Options // of the present stack
}

// from makes the next migration begin at another store than the stack's own.
func (m *migrations) from(store string) *migrations {
	other := *m
	other.options.Store = store
	return &other
}

func (m *migrations) try(ctx context.Context, to string, replace bool, progress func(migrate.Progress)) (migrate.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute) // the first time, the copying program is built
	defer cancel()
	return migrate.Run(ctx, migrate.Options{
		Root: "../..", Dir: m.dir, From: m.options.Store, To: to, Replace: replace, Progress: progress,
	})
}

// must migrates, and checks that every document was copied.
func (m *migrations) must(to string) {
	m.t.Helper()
	done, err := m.try(context.Background(), to, false, nil)
	usable(m.t, err)
	for _, app := range done.Apps {
		if app.Documents == 0 || app.Copied != app.Documents || app.Digest == "" {
			m.t.Errorf("of %s: %+v", app.App, app)
		}
	}
	if len(done.Apps) != 5 {
		m.t.Errorf("%d apps were migrated: %+v", len(done.Apps), done.Apps)
	}
}

// interrupted migrates in two runs, of which the first is stopped in the middle, and runs a third one, which has
// nothing to do.
func (m *migrations) interrupted(to string) {
	m.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	_, err := m.try(ctx, to, false, func(at migrate.Progress) {
		if at.Phase == "copy" && at.App == "orders" {
			cancel()
		}
	})
	usable(m.t, ifMissing(err))
	if !errors.Is(err, context.Canceled) {
		m.t.Fatalf("interrupted, it ended with %v", err)
	}
	documents, copied := 0, 0
	done, err := m.try(context.Background(), to, false, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, app := range done.Apps {
		documents += app.Documents
		copied += app.Copied
	}
	if copied == 0 || copied >= documents {
		m.t.Errorf("the second run copied %d of %d documents; want the rest", copied, documents)
	}
	done, err = m.try(context.Background(), to, false, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, app := range done.Apps {
		if app.Copied != 0 {
			m.t.Errorf("the third run copied %d documents of %s", app.Copied, app.App)
		}
	}
}

// ifMissing returns the error of a server that is not installed, or nil.
func ifMissing(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// moved starts the stack on another store, with the same shop.
func (m *migrations) moved(sh *shop, store string) *stack {
	m.t.Helper()
	m.options.Store = store
	s, err := startIn(m.dir, m.options)
	if err != nil {
		m.t.Fatal(err)
	}
	sh.stack = s
	return s
}

// goOn checks that every earlier order is unchanged and that the audit has no findings, and places one more order.
func (m *migrations) goOn(sh *shop, c *customer, p *product, before []orderBody) []orderBody {
	m.t.Helper()
	for _, was := range before {
		var is orderBody
		c.get("/v1/orders/"+was.ID, &is)
		if is.Status != was.Status || is.Total != was.Total || len(is.Timeline) != len(was.Timeline) {
			m.t.Errorf("order %s was %+v and is %+v", was.ID, was, is)
		}
	}
	sh.audit()
	o := c.buys(p, 1)
	o.expect(m.t, "confirmed", "")
	return append(before, o)
}

// halt stops every process and keeps the folder.
func (s *stack) halt() {
	s.Remove()
	s.sink.Close()
}
