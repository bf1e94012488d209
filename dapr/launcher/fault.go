package launcher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"caravan/dapr/launcher/infra"
	"caravan/dapr/launcher/process"
)

// FaultLog is the name under which the faults of a stack stand among its logs.
const FaultLog = "faults"

// ErrNoFault says that a fault cannot be brought about in this stack; what it
// wraps says why.
var ErrNoFault = errors.New("this fault is not possible here")

// Crash kills a process as a crash would, without a warning, and keeps it down
// until Raise. One that is down already stays down.
func (s *Stack) Crash(ctx context.Context, name string) error {
	p, err := s.process(name)
	if err != nil {
		return err
	}
	if err := p.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, process.ErrNotRunning) {
		return err
	}
	p.Stop(ctx)
	return nil
}

// Raise starts a process that is down and returns at once; unlike a process
// that ended by itself it is not made to pause first.
func (s *Stack) Raise(name string) error {
	p, err := s.process(name)
	if err != nil {
		return err
	}
	p.Start()
	return nil
}

// AwaitProcess waits until a process is ready, however often it restarts
// meanwhile.
func (s *Stack) AwaitProcess(ctx context.Context, name string) error {
	const anyNumber = 1 << 30
	p, err := s.process(name)
	if err != nil {
		return err
	}
	return p.WaitReady(ctx, anyNumber)
}

// Remark writes a line into the stack's logs, as the process FaultLog, and shows
// it like the launcher's own remarks. Attributes are those of log/slog.
func (s *Stack) Remark(message string, attributes ...any) error {
	file, err := os.OpenFile(filepath.Join(s.dir, "logs", FaultLog+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("writing a remark into the logs: %w", err)
	}
	defer file.Close()
	return remark(file, message, attributes)
}

func remark(w io.Writer, message string, attributes []any) error {
	record := slog.NewRecord(time.Now(), slog.LevelWarn, message, 0)
	record.Add(attributes...)
	if err := slog.NewJSONHandler(w, nil).Handle(context.Background(), record); err != nil {
		return fmt.Errorf("writing a remark into the logs: %w", err)
	}
	return nil
}

// Apps are the programs that the run file of a repository lists, in its order.
func Apps(root string) ([]string, error) {
	plan, err := readPlan(filepath.Join(root, "dapr", "dapr.yaml"))
	if err != nil {
		return nil, err
	}
	return plan.ids(), nil
}

// AppPort is an app of a run file with its ports, in an order that is the same for all apps.
type AppPort struct {
	ID    string
	Ports []int
}

// AppPorts are the programs that the run file of a repository lists, with their ports.
func AppPorts(root string) ([]AppPort, error) {
	plan, err := readPlan(filepath.Join(root, "dapr", "dapr.yaml"))
	if err != nil {
		return nil, err
	}
	var all []AppPort
	for _, a := range plan.Apps {
		one := AppPort{ID: a.ID}
		for _, port := range a.ports() {
			one.Ports = append(one.Ports, *port)
		}
		all = append(all, one)
	}
	return all, nil
}

// BrokerAtHand is the kind of broker that a choice of Options.Broker leads to on
// this machine, as "auto" leads to one that is installed.
func BrokerAtHand(choice string) (string, error) {
	nowhere := infra.Place{
		Dir: os.DevNull, Getenv: os.Getenv, Port: func() (int, error) { return 0, nil },
		Program: func(name string) string { return name },
	}
	server, err := infra.Broker(choice, nowhere)
	return server.Kind, err
}

// CanProxy reports whether a proxy can stand between sidecars and a broker or
// store of a kind: not before files, nor before a broker that tells its clients
// where to find it.
func CanProxy(kind string) bool {
	return kind != "sqlite" && kind != "kafka"
}

// HasBrokerFaults reports whether BreakBroker knows a kind of broker.
func HasBrokerFaults(kind string) bool { return kind == "rabbitmq" && os.Getenv("RABBITMQ_URL") == "" }

// HasServer reports whether a kind of store is a process, rather than files.
func HasServer(kind string) bool { return kind != "sqlite" }
