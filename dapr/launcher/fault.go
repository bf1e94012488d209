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

// FaultLog is the name of the log that has the faults of a stack.
const FaultLog = "faults"

// ErrNoFault says that a fault is not possible in this stack. It is wrapped with the reason.
var ErrNoFault = errors.New("this fault is not possible here")

// Crash kills a process without a warning, and keeps it down until Raise. A process that is down already stays down.
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

// Raise starts a process that is down and returns at once. There is no pause first, as there is for a process that
// ended by itself.
func (s *Stack) Raise(name string) error {
	p, err := s.process(name)
	if err != nil {
		return err
	}
	p.Start()
	return nil
}

// AwaitProcess waits until a process is ready, however often it restarts meanwhile.
func (s *Stack) AwaitProcess(ctx context.Context, name string) error {
	const anyNumber = 1 << 30
	p, err := s.process(name)
	if err != nil {
		return err
	}
	return p.WaitReady(ctx, anyNumber)
}

// Remark writes a line into the stack's logs, with the process name FaultLog, and shows it like the launcher's own
// remarks. Attributes are those of log/slog.
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

// AppPort is an app of a run file and its ports. Their order is the same for all apps.
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

// BrokerAtHand returns the kind of broker that a choice of Options.Broker means on this machine. For example, "auto"
// means one that is installed.
func BrokerAtHand(choice string) (string, error) {
	nowhere := infra.Place{
		Dir: os.DevNull, Getenv: os.Getenv, Port: func() (int, error) { return 0, nil },
		Program: func(name string) string { return name },
	}
	server, err := infra.Broker(choice, nowhere)
	return server.Kind, err
}

// CanProxy reports whether a proxy can be put between sidecars and a broker or store of a kind. It cannot with files,
// nor with a broker that sends its address to its clients. A mail server has none: the private one has faults of its own.
func CanProxy(kind string) bool {
	return kind != "sqlite" && kind != "kafka" && !infra.IsMail(kind)
}

// HasBrokerFaults reports whether BreakBroker supports a kind of broker.
func HasBrokerFaults(kind string) bool { return kind == "rabbitmq" && os.Getenv("RABBITMQ_URL") == "" }

// HasServer reports whether a kind of store is a server process. Otherwise it is files.
func HasServer(kind string) bool { return kind != "sqlite" }
