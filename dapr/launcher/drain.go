package launcher

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"caravan/dapr/launcher/infra"
	"caravan/internal/clock"

	_ "modernc.org/sqlite" // the driver of the name resolution's database
)

// drainTime is how long a replica continues to serve after it was removed from the name resolution. Other sidecars look
// twice a second who is in it (dapr/daprd/resolve). So they have stopped calling the replica by then, and the calls that
// they had begun are over, except long polls.
const drainTime = 1500 * time.Millisecond

// forgetTime is how long a replica that serves again is not called. Our sidecars forget an address with its entry. A stock
// daprd remembers for about a second that an address accepted no connection, and fails calls to it without trying (gRPC's
// first connection back-off).
const forgetTime = 2 * time.Second

// Roll restarts one replica of an app, program and sidecar. No call fails because of that if there is another replica.
// Roll removes the replica from the name resolution, lets it finish its calls, stops it, starts it again and puts it
// back. It returns when the replica serves.
//
// A sidecar alone does not do that: other sidecars find it as soon as it starts, before its program serves, and for
// seconds after its end (Dapr 1.18 does not close the component).
func (s *Stack) Roll(ctx context.Context, replica string) (err error) {
	sidecar := replica + "-daprd"
	if !strings.HasPrefix(replica, "gateway") { // the gateway is only called from outside
		list, draining := s.unlist(ctx, sidecar)
		if draining != nil {
			return draining
		}
		defer func() { err = errors.Join(err, list(context.WithoutCancel(ctx))) }()
		if err := (clock.System{}).Sleep(ctx, drainTime); err != nil {
			return fmt.Errorf("draining %s: %w", replica, err)
		}
	}
	// The program stops first, because it needs its sidecar to finish its calls.
	for _, name := range []string{replica, sidecar} {
		if err := s.StopProcess(ctx, name); err != nil {
			return err
		}
	}
	if err := s.raiseInOrder(ctx, sidecar, replica); err != nil {
		return err
	}
	if err := (clock.System{}).Sleep(ctx, forgetTime); err != nil {
		return fmt.Errorf("listing %s again: %w", replica, err)
	}
	return nil
}

// raiseInOrder starts a sidecar, and its program when the sidecar accepts calls. So the sidecar can deliver the
// program's calls from the first one on.
func (s *Stack) raiseInOrder(ctx context.Context, sidecar, program string) error {
	if err := s.Raise(sidecar); err != nil {
		return err
	}
	status, err := s.Process(sidecar)
	if err != nil {
		return err
	}
	outbound := probe(status.URL+"/v1.0/healthz/outbound", http.StatusNoContent)
	for outbound(ctx) != nil {
		if err := (clock.System{}).Sleep(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("waiting for %s: %w", sidecar, err)
		}
	}
	if err := s.Raise(program); err != nil {
		return err
	}
	for _, name := range []string{sidecar, program} {
		if err := s.AwaitProcess(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// unlist removes a sidecar from the name resolution until list puts it back. A restart of the sidecar changes nothing.
// Its entry gets another name and is not deleted, because a sidecar whose entry is missing ends at once
// (components-contrib, nameresolution/sqlite).
func (s *Stack) unlist(ctx context.Context, sidecar string) (list func(context.Context) error, err error) {
	s.mu.Lock()
	address, ok := s.internal[sidecar]
	s.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("draining %s: its address is not known", sidecar)
	}
	// The address, host and port, comes from the launcher itself: a trigger takes no parameters.
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("draining %s: %w", sidecar, err)
	}
	name := "unlisted_" + port
	trigger := fmt.Sprintf("CREATE TRIGGER %s AFTER INSERT ON hosts WHEN NEW.address = '%s' "+
		"BEGIN UPDATE hosts SET app_id = '%s' || app_id WHERE address = NEW.address; END", name, address, unlisted)
	if err := s.changeHosts(ctx, "DROP TRIGGER IF EXISTS "+name, trigger,
		fmt.Sprintf("UPDATE hosts SET app_id = '%s' || app_id WHERE address = '%s'", unlisted, address)); err != nil {
		return nil, fmt.Errorf("draining %s: %w", sidecar, err)
	}
	return func(ctx context.Context) error {
		if err := s.changeHosts(ctx, "DROP TRIGGER "+name,
			fmt.Sprintf("UPDATE hosts SET app_id = replace(app_id, '%s', '') WHERE address = '%s'", unlisted, address)); err != nil {
			return fmt.Errorf("listing %s again: %w", sidecar, err)
		}
		return nil
	}, nil
}

// unlisted is the prefix of the name of an app that must not be found.
const unlisted = "unlisted "

// hostsTime is how long a change of the name resolution may wait for the sidecars, which write their entries into the same file. On a
// slow disk they can keep it locked for many seconds.
const hostsTime = time.Minute

// changeHosts changes the name resolution's database in one transaction.
func (s *Stack) changeHosts(ctx context.Context, statements ...string) error {
	ctx, cancel := context.WithTimeout(ctx, hostsTime)
	defer cancel()
	settings := fmt.Sprintf("?_pragma=busy_timeout(%d)&_txlock=immediate", hostsTime.Milliseconds())
	db, err := sql.Open("sqlite", infra.SQLiteURI(s.nameResolutionFile())+settings)
	if err != nil {
		return fmt.Errorf("opening the name resolution: %w", err)
	}
	defer db.Close()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("changing the name resolution: %w", err)
	}
	for _, statement := range statements {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return errors.Join(fmt.Errorf("changing the name resolution: %w", err), tx.Rollback())
		}
	}
	return tx.Commit()
}
