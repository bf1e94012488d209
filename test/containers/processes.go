package containers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"caravan/dapr/launcher/compose"
	"caravan/dapr/launcher/process"
	"caravan/internal/clock"
	"caravan/test/reach"
)

// Processes are the project's containers, each with the URL at which this machine reaches its HTTP API.
func (p *Project) Processes(ctx context.Context) ([]process.Status, error) {
	all, err := p.Containers(ctx)
	if err != nil {
		return nil, err
	}
	var statuses []process.Status
	for _, k := range all {
		status := k.Status()
		status.URL = address(k)
		statuses = append(statuses, status)
	}
	return statuses, nil
}

// Process is one of them.
func (p *Project) Process(ctx context.Context, name string) (process.Status, error) {
	all, err := p.Processes(ctx)
	if err != nil {
		return process.Status{}, err
	}
	for _, status := range all {
		if status.Name == name {
			return status, nil
		}
	}
	return process.Status{}, fmt.Errorf("project %s has no container %s", p.Name, name)
}

// address is the URL of a program or sidecar; broker and store have none.
func address(k compose.Container) string {
	port := cmp.Or(k.Getenv("APP_PORT"), k.Flag("--dapr-http-port"))
	host := k.Address(port)
	if port == "" || host == "" {
		return ""
	}
	return "http://" + host
}

// Serves asks a process whether it is ready, without waiting for Docker to ask: its health check comes every 10 s.
func (p *Project) Serves(ctx context.Context, name string) error {
	status, err := p.Process(ctx, name)
	if err != nil {
		return err
	}
	return reach.Serves(ctx, status)
}

// Start starts a process that is down, and waits until it serves.
func (p *Project) Start(ctx context.Context, name string) error {
	if err := p.Launch(ctx, name); err != nil {
		return err
	}
	return p.WaitServing(ctx, name)
}

// WaitServing waits until processes serve, or all of them.
func (p *Project) WaitServing(ctx context.Context, names ...string) error {
	if len(names) == 0 {
		all, err := p.Processes(ctx)
		if err != nil {
			return err
		}
		for _, status := range all {
			names = append(names, status.Name)
		}
	}
	for _, name := range names {
		for {
			err := p.Serves(ctx, name)
			if err == nil {
				break
			}
			if ended := (clock.System{}).Sleep(ctx, 100*time.Millisecond); ended != nil {
				return errors.Join(ended, err)
			}
		}
	}
	return nil
}
