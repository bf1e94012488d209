package e2e

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"os"
	"strconv"
	"syscall"
	"time"

	"caravan/dapr/launcher"
	"caravan/dapr/launcher/process"
)

// launched is a stack of the launcher, on free ports and in a separate folder.
type launched struct {
	*launcher.Stack
	options launcher.Options
}

func launchHere(ctx context.Context, s *stack, options launcher.Options) (_ target, err error) {
	options.Dir, options.Daprd, options.FreePorts = s.dir, settings.daprd, true
	env := environment()
	for app, more := range options.Env {
		if env[app] == nil {
			env[app] = make(map[string]string)
		}
		maps.Copy(env[app], more)
	}
	options.OTLPEndpoint, options.Env = s.sink.URL(), env
	if options.Replicas, err = replicas(); err != nil {
		return nil, err
	}
	if options.Root, err = os.Getwd(); err != nil {
		return nil, fmt.Errorf("finding the repository: %w", err)
	}
	options.Root += "/../.."
	l := &launched{options: options}
	if l.Stack, err = launcher.Start(ctx, options); err != nil {
		return nil, err
	}
	if l.BrokerKind() != options.Broker || l.StoreKind() != options.Store {
		return l, fmt.Errorf("the stack runs on %s and %s; want %s and %s", l.BrokerKind(), l.StoreKind(), options.Broker, options.Store)
	}
	return l, l.WaitReady(ctx)
}

func (l *launched) Processes(context.Context) ([]process.Status, error) {
	return l.Stack.Processes(), nil
}

func (l *launched) Serves(_ context.Context, name string) error {
	status, err := l.Process(name)
	if err == nil && status.State != process.Ready {
		err = fmt.Errorf("%s is %s", name, status.State)
	}
	return err
}

func (l *launched) Kill(_ context.Context, name string) error {
	return l.Stack.Kill(name, syscall.SIGKILL)
}

func (l *launched) Start(ctx context.Context, name string) error { return l.StartProcess(ctx, name) }

func (l *launched) Restart(ctx context.Context) error {
	gateway, err := url.Parse(l.GatewayURL())
	if err != nil {
		return err
	}
	if l.options.Port, err = strconv.Atoi(gateway.Port()); err != nil {
		return err
	}
	l.Stop(ctx)
	again, err := launcher.Start(ctx, l.options)
	if err != nil {
		return err
	}
	l.Stack = again
	return l.WaitReady(ctx)
}

func (l *launched) APIToken(string) string { return l.Stack.APIToken() }

func (l *launched) Secrets() map[string]string {
	return map[string]string{
		"the sidecars' token": l.Stack.APIToken(), "the programs' token": l.AppToken(), "the admin's password": l.Admin().Password,
	}
}

func (l *launched) LogLines(_ context.Context, accept func(launcher.LogLine) bool) ([]launcher.LogLine, error) {
	return l.Stack.LogLines(accept)
}

// Remove does nothing: the stack removes its folder.
func (l *launched) Remove() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	l.Stop(ctx)
}
