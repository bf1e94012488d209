package resolve

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"path/filepath"
	"strconv"
	"testing"
	"testing/synctest"

	"github.com/dapr/components-contrib/nameresolution"
	"github.com/dapr/components-contrib/nameresolution/sqlite"
	internals "github.com/dapr/dapr/pkg/proto/internals/v1"
	"github.com/dapr/kit/logger"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// TestTable registers two sidecars as the launcher's do, and calls them from a third. Then it drains one of them as
// dapr/launcher/drain.go does.
func TestTable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "names.db")
	log := logger.NewLogger("test")
	join := func(id, host string, port int) (*Directory, nameresolution.Resolver) {
		d := &Directory{log: log}
		r := d.NewSQLite(log)
		if err := r.Init(t.Context(), listing(file, id, host, port)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
		return d, r
	}
	s := newStack(t, "127.0.0.1", "127.0.0.2")
	port, err := strconv.Atoi(s.port)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range s.fakes {
		join("orders", f.address, port)
	}
	directory, caller := join("gateway", "127.0.0.3", port)

	named, err := caller.ResolveID(t.Context(), nameresolution.ResolveRequest{ID: "orders"})
	if err != nil || named != "replicas://sqlite/orders" {
		t.Fatalf("orders is %q, %v", named, err)
	}
	conn, err := grpc.DialContext(t.Context(), named, //nolint:staticcheck // Dapr dials in this way
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithResolvers(directory))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s.caller = internals.NewServiceInvocationClient(conn)
	s.all(t, "127.0.0.1", "127.0.0.2")

	stop := s.load(t, 4)
	change := func(statement string) {
		t.Helper()
		if _, err := directory.table.Load().db.ExecContext(t.Context(), statement, net.JoinHostPort("127.0.0.2", s.port)); err != nil {
			t.Fatal(err)
		}
	}
	change("UPDATE hosts SET app_id = 'unlisted ' || app_id WHERE address = ?")
	inARow := 0
	s.until(t, "a hundred in a row by the one that is listed", func(by string, err error) bool {
		if inARow++; by != "127.0.0.1" {
			inARow = 0
		}
		return inARow == 100
	})
	change("UPDATE hosts SET app_id = replace(app_id, 'unlisted ', '') WHERE address = ?")
	s.all(t, "127.0.0.2")
	if calls, failures := stop(); len(failures) > 0 {
		t.Errorf("%d of %d calls failed: %v", len(failures), calls, failures[0])
	}

	// A call of an app without a row fails at once.
	nobody, err := grpc.DialContext(t.Context(), scheme+"://"+inTable+"/nobody", //nolint:staticcheck // Dapr dials in this way
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithResolvers(directory))
	if err != nil {
		t.Fatal(err)
	}
	defer nobody.Close()
	s.caller = internals.NewServiceInvocationClient(nobody)
	if _, err := s.call(t.Context()); err == nil {
		t.Error("nobody answers")
	}
}

// listing is the metadata that the launcher's sidecars give to the name resolution.
func listing(file, id, host string, port int) nameresolution.Metadata {
	return nameresolution.Metadata{
		Instance: nameresolution.Instance{AppID: id, Address: host, DaprInternalPort: port},
		Configuration: map[string]any{
			"connectionString": file, "cleanupInterval": "0", "updateInterval": "60s", "timeout": "2s", "busyTimeout": "2s",
		},
	}
}

// TestALockedTable checks that a sidecar gets its row although the table is locked when it starts. Without a row it would run,
// but nobody could call it.
func TestALockedTable(t *testing.T) {
	log := logger.NewLogger("test")
	file := filepath.Join(t.TempDir(), "names.db")
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	other, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	do := func(statement string) {
		t.Helper()
		if _, err := other.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	do("BEGIN EXCLUSIVE")
	settings := listing(file, "orders", "127.0.0.1", 20001)
	settings.Configuration.(map[string]any)["busyTimeout"] = "10ms"

	directory := &Directory{log: log}
	r := directory.NewSQLite(log).(needed).Resolver.(*registered)
	attempts := 0
	r.stock = func(l logger.Logger) nameresolution.Resolver {
		if attempts++; attempts == 2 {
			do("ROLLBACK")
		}
		return sqlite.NewResolver(l)
	}
	if err := r.Init(t.Context(), settings); err != nil || attempts != 2 {
		t.Fatalf("%v after %d attempts", err, attempts)
	}
	if found, err := directory.table.Load().addresses(t.Context(), "orders"); err != nil || len(found) != 1 {
		t.Errorf("the rows are %v, %v", found, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// TestNeeded checks that a sidecar ends if its name resolution cannot start, unless it is being stopped.
func TestNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := logger.NewLogger("test")
		directory := &Directory{log: log}
		for name, r := range map[string]nameresolution.Resolver{
			"sqlite": &registered{stock: func(logger.Logger) nameresolution.Resolver { return broken{} }, directory: directory, log: log},
			"dns":    directory.NewDNS(log).(needed).Resolver, // without a template
		} {
			ended := 0
			n := needed{r, func(string, ...any) { ended++ }}
			if err := n.Init(t.Context(), nameresolution.Metadata{}); err == nil || ended != 1 {
				t.Errorf("%s: %v, ended %d times", name, err, ended)
			}
			stopped, cancel := context.WithCancel(t.Context())
			cancel()
			if err := n.Init(stopped, nameresolution.Metadata{}); err == nil || ended != 1 {
				t.Errorf("%s, stopped: %v, ended %d times", name, err, ended)
			}
		}
	})
}

// broken is a fake of the stock component that has no database.
type broken struct{ nameresolution.Resolver }

func (broken) Init(context.Context, nameresolution.Metadata) error { return errors.New("no database") }
func (broken) Close() error                                        { return nil }
