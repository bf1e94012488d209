package launcher

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"caravan/dapr/launcher/process"
)

// BrokerFault is a fault that a broker is told to have by its own tools.
type BrokerFault string

// The faults of a broker.
const (
	// MemoryAlarm: the broker believes that its memory is used up and takes
	// nothing from publishers.
	MemoryAlarm BrokerFault = "memory alarm"
	// DiskAlarm: the same for its disk.
	DiskAlarm BrokerFault = "disk alarm"
	// AppStopped: the broker's process runs, and serves nobody.
	AppStopped BrokerFault = "application stopped"
	// Disconnected: the broker closes every client's connection.
	Disconnected BrokerFault = "connections closed"
)

// brokerCommands bring a fault about and heal it again.
type brokerCommands struct{ begin, heal []string }

// rabbitCommands are those of rabbitmqctl(8). Healing restores what the
// launcher configures (infra).
var rabbitCommands = map[BrokerFault]brokerCommands{
	MemoryAlarm:  {[]string{"set_vm_memory_high_watermark", "absolute", "1MB"}, []string{"set_vm_memory_high_watermark", "absolute", "384MB"}},
	DiskAlarm:    {[]string{"set_disk_free_limit", "100000GB"}, []string{"set_disk_free_limit", "50MB"}},
	AppStopped:   {[]string{"stop_app"}, []string{"start_app"}},
	Disconnected: {[]string{"close_all_connections", "a fault on purpose"}, nil},
}

// BreakBroker brings a fault about, and returns what heals it. ErrNoFault says
// that this stack's broker has no such fault: it is of another kind, or it is
// not the stack's own.
func (s *Stack) BreakBroker(ctx context.Context, fault BrokerFault) (heal func(context.Context) error, err error) {
	tool, err := s.brokerTool()
	if err != nil {
		return nil, err
	}
	commands, ok := rabbitCommands[fault]
	if !ok {
		return nil, fmt.Errorf("%w: no broker fault is called %q", ErrNoFault, fault)
	}
	heal = func(ctx context.Context) error {
		if len(commands.heal) == 0 {
			return nil
		}
		return tool(ctx, commands.heal)
	}
	return heal, tool(ctx, commands.begin)
}

// CanBreakBroker says why BreakBroker cannot work in this stack; nil: it can.
func (s *Stack) CanBreakBroker() error {
	_, err := s.brokerTool()
	return err
}

// brokerTool returns the function that runs a command of the broker's tool.
func (s *Stack) brokerTool() (func(ctx context.Context, args []string) error, error) {
	at := slices.IndexFunc(s.broker.Processes, func(spec process.Spec) bool { return spec.Name == "broker" })
	if s.broker.Kind != "rabbitmq" || at < 0 {
		return nil, fmt.Errorf("%w: it needs a RabbitMQ of the stack's own, and the broker is %s", ErrNoFault, s.broker.Kind)
	}
	spec := s.broker.Processes[at]
	program := filepath.Join(filepath.Dir(spec.Path), "rabbitmqctl")
	return func(ctx context.Context, args []string) error {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		command := exec.CommandContext(ctx, program, args...)
		// The node's own environment: it names the node, and its port mapper.
		command.Env, command.Dir = spec.Env, spec.Dir
		if output, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("rabbitmqctl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(output)))
		}
		return nil
	}, nil
}
