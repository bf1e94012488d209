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

// BrokerFault is a fault that a broker's own tools can cause.
type BrokerFault string

// The faults of a broker.
const (
	// MemoryAlarm: the broker acts as if its memory were used up and accepts nothing from publishers.
	MemoryAlarm BrokerFault = "memory alarm"
	// DiskAlarm: the same for the disk.
	DiskAlarm BrokerFault = "disk alarm"
	// AppStopped: the broker's process runs, but does not serve.
	AppStopped BrokerFault = "application stopped"
	// Disconnected: the broker closes every client's connection.
	Disconnected BrokerFault = "connections closed"
)

// brokerCommands start and end a fault.
type brokerCommands struct{ begin, heal []string }

// rabbitCommands are commands of rabbitmqctl(8). The end of a fault restores what the launcher configures (infra).
var rabbitCommands = map[BrokerFault]brokerCommands{
	MemoryAlarm:  {[]string{"set_vm_memory_high_watermark", "absolute", "1MB"}, []string{"set_vm_memory_high_watermark", "absolute", "384MB"}},
	DiskAlarm:    {[]string{"set_disk_free_limit", "100000GB"}, []string{"set_disk_free_limit", "50MB"}},
	AppStopped:   {[]string{"stop_app"}, []string{"start_app"}},
	Disconnected: {[]string{"close_all_connections", "a fault on purpose"}, nil},
}

// BreakBroker causes a fault and returns a function that ends it. ErrNoFault says that this stack's broker does not
// have such a fault: it is of another kind, or it does not belong to the stack.
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

// CanBreakBroker says why BreakBroker cannot work in this stack; nil means that it can.
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
		// The command runs in the node's environment, which has the names of the node and its port mapper.
		command.Env, command.Dir = spec.Env, spec.Dir
		if output, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("rabbitmqctl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(output)))
		}
		return nil
	}, nil
}
