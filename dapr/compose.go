package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"syscall"

	"caravan/dapr/launcher"
	"caravan/dapr/launcher/compose"
)

// processes are those of a stack of the launcher or of docker compose, as commands see and change them.
type processes interface {
	Report(ctx context.Context) (launcher.Report, error)
	Restart(ctx context.Context, name string) error
	Start(ctx context.Context, name string) error
	Stop(ctx context.Context, name string) error
	Kill(ctx context.Context, name string, signal syscall.Signal) error
}

// processes returns the processes of the stack that --target names.
func (c *cli) processes(ctx context.Context) (processes, error) {
	if c.options.access.target == targetCompose {
		return c.composeProject()
	}
	return c.connect(ctx)
}

// composeProject returns the stack that docker compose runs.
func (c *cli) composeProject() (*compose.Project, error) {
	setting, err := c.composeSettings()
	if err != nil {
		return nil, err
	}
	return &compose.Project{
		Name: cmp.Or(setting("COMPOSE_PROJECT_NAME"), "caravan"), Gateway: "http://127.0.0.1:" + cmp.Or(setting("CARAVAN_PORT"), "8080"),
		Mail: "http://127.0.0.1:" + cmp.Or(setting("CARAVAN_MAIL_PORT"), "8025"),
	}, nil
}

// composeGateway returns the address of the gateway of docker compose, with the port that the running project
// publishes: another program may use the port of compose/.env, and must not get a password. If no Docker engine answers,
// the port of compose/.env has to be used.
func (c *cli) composeGateway(ctx context.Context) (string, error) {
	project, err := c.composeProject()
	if err != nil {
		return "", err
	}
	address, err := project.GatewayURL(ctx)
	switch {
	case err == nil:
		return address, nil
	case errors.Is(err, compose.ErrNotUp):
		return "", err
	}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	fmt.Fprintf(c.err, "The gateway is taken to be at %s, by its settings: %v\n", project.Gateway, err)
	return project.Gateway, nil
}

// explained turns the error for an unknown process name into the usual answer of the command line.
func explained(err error) error {
	var unknown *launcher.UnknownProcessError
	if errors.As(err, &unknown) {
		return unknownProcess(unknown.Name, unknown.Known)
	}
	return err
}
