package resolve

import (
	"net"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/dapr/components-contrib/nameresolution"
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
		err := r.Init(t.Context(), nameresolution.Metadata{
			Instance: nameresolution.Instance{AppID: id, Address: host, DaprInternalPort: port},
			Configuration: map[string]any{
				"connectionString": file, "cleanupInterval": "0", "updateInterval": "60s", "timeout": "2s", "busyTimeout": "2s",
			},
		})
		if err != nil {
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
