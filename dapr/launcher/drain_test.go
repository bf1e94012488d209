package launcher

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestUnlistedReplicasAreNotFound: a drained replica is not found by its app's name, even if its sidecar registers
// again. It is found again when it is put back. The other replica is always found.
func TestUnlistedReplicasAreNotFound(t *testing.T) {
	s := &Stack{dir: t.TempDir(), internal: map[string]string{"orders-2-daprd": "127.0.0.1:2"}}
	if err := os.Mkdir(filepath.Join(s.dir, "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.dir, "run", "nameresolution.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	execute := func(statement string) {
		t.Helper()
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	// components-contrib makes and writes the table in this way.
	execute("CREATE TABLE hosts (registration_id TEXT NOT NULL PRIMARY KEY, address TEXT NOT NULL, app_id TEXT NOT NULL, namespace TEXT NOT NULL, last_update INTEGER NOT NULL)")
	execute("CREATE UNIQUE INDEX hosts_address_idx ON hosts (address)")
	execute("REPLACE INTO hosts VALUES ('a', '127.0.0.1:1', 'orders', '', 1)")
	execute("REPLACE INTO hosts VALUES ('b', '127.0.0.1:2', 'orders', '', 1)")
	found := func(want int) {
		t.Helper()
		var n, first int
		if err := db.QueryRow("SELECT count(*), sum(address = '127.0.0.1:1') FROM hosts WHERE app_id = 'orders'").Scan(&n, &first); err != nil {
			t.Fatal(err)
		}
		if n != want || first != 1 {
			t.Errorf("%d replicas are found, want %d", n, want)
		}
	}
	found(2)
	list, err := s.unlist(t.Context(), "orders-2-daprd")
	if err != nil {
		t.Fatal(err)
	}
	found(1)
	// Sidecars on a slow disk keep the file locked for as long as this.
	lock, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(7*time.Second, func() { _, _ = lock.ExecContext(context.Background(), "ROLLBACK"); _ = lock.Close() })
	if err := list(t.Context()); err != nil {
		t.Fatal(err)
	}
	found(2)
	if list, err = s.unlist(t.Context(), "orders-2-daprd"); err != nil {
		t.Fatal(err)
	}
	execute("REPLACE INTO hosts VALUES ('c', '127.0.0.1:2', 'orders', '', 2)")
	found(1)
	execute("REPLACE INTO hosts VALUES ('a', '127.0.0.1:1', 'orders', '', 2)")
	if err := list(t.Context()); err != nil {
		t.Fatal(err)
	}
	found(2)
	if _, err := s.unlist(t.Context(), "users-daprd"); err == nil {
		t.Error("a sidecar that does not exist is drained")
	}
}
