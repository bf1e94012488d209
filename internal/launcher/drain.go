package launcher

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver of the name resolution's database
)

// drainTime is how long a replica goes on serving after it was taken out of the
// name resolution: calls that had found it by then are over, except those that a
// client has asked to be held back.
const drainTime = 1500 * time.Millisecond

// Roll restarts one replica of an app, program and sidecar, without a call
// failing for it as long as there is another replica: it is taken out of the
// name resolution, ends what it has begun, stops and starts again. It returns
// once the replica is ready.
//
// A stopped sidecar by itself stays in the name resolution for a while (Dapr
// 1.18 does not close the component), and calls would go to it.
func (s *Stack) Roll(ctx context.Context, replica string) error {
	sidecar := replica + "-daprd"
	if !strings.HasPrefix(replica, "gateway") { // which is called from outside only
		if err := s.unlist(ctx, sidecar); err != nil {
			return err
		}
		timer := time.NewTimer(drainTime)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return fmt.Errorf("draining %s: %w", replica, ctx.Err())
		}
	}
	// The program needs its sidecar to end what it has begun.
	for _, name := range []string{replica, sidecar} {
		if err := s.StopProcess(ctx, name); err != nil {
			return err
		}
	}
	for _, name := range []string{sidecar, replica} {
		if err := s.Raise(name); err != nil {
			return err
		}
	}
	for _, name := range []string{sidecar, replica} {
		if err := s.AwaitProcess(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// unlist takes a sidecar out of the name resolution until it starts again. Its
// entry gets another name rather than being deleted: a sidecar that finds its
// entry gone ends at once (components-contrib, nameresolution/sqlite).
func (s *Stack) unlist(ctx context.Context, sidecar string) error {
	s.mu.Lock()
	address, ok := s.internal[sidecar]
	s.mu.Unlock()
	if !ok {
		return fmt.Errorf("draining %s: its address is not known", sidecar)
	}
	path := filepath.Join(s.dir, "run", "nameresolution.db")
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)")
	if err != nil {
		return fmt.Errorf("draining %s: %w", sidecar, err)
	}
	defer db.Close()
	result, err := db.ExecContext(ctx, "UPDATE hosts SET app_id = 'draining ' || app_id WHERE address = ?", address)
	if err != nil {
		return fmt.Errorf("draining %s: %w", sidecar, err)
	}
	n, err := result.RowsAffected()
	if err == nil && n != 1 {
		err = fmt.Errorf("the name resolution has %d entries at %s", n, address)
	}
	if err != nil {
		return fmt.Errorf("draining %s: %w", sidecar, err)
	}
	return nil
}
