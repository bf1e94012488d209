package main

import (
	"context"
	"errors"
	"flag"
	"fmt"

	"caravan/dapr/newservice"
)

// newOptions are the flags of new service.
type newOptions struct{ dryRun bool }

func newServiceCommand() command {
	return command{
		name: "new service", args: "NAME", min: 1, max: 1,
		summary: "add a service to the project, with its folder and every file that lists the services",
		details: `
NAME is the app id of the service and the name of its folder: 2 to 20 lower case letters and digits, as "reviews". Writes
services/NAME with one document, one event, one consumer of the topic of users, two routes, an audit and tests, and adds the
service to dapr.yaml, subscriptions, resiliency, component scopes, compose, k8s, routes, OpenAPI, permissions and the audit.
Then it generates the client of the API (dapr/client).

It is refused while git knows of changes that are not committed, so that one commit holds all of the new service. Either all
files are written or none. docs/extending.md says what to do next.`,
		flags: func(c *cli, flags *flag.FlagSet) {
			flags.BoolVar(&c.options.newService.dryRun, "dry-run", false, "list the files that would be written and changed, and write nothing")
		},
		run: func(ctx context.Context, c *cli, flags *flag.FlagSet) error { return c.newService(ctx, flags.Arg(0)) },
	}
}

func (c *cli) newService(ctx context.Context, name string) error {
	if !c.options.newService.dryRun {
		if err := newservice.Clean(ctx, c.root); err != nil {
			return err
		}
	}
	changes, err := newservice.Plan(c.root, name)
	var refused *newservice.NameError
	if errors.As(err, &refused) {
		return &usageError{refused.Error()}
	}
	if err != nil {
		return err
	}
	if !c.options.newService.dryRun {
		if err := newservice.Apply(c.root, changes); err != nil {
			return err
		}
		if err := c.tool(ctx, "go", "generate", "./dapr/client"); err != nil {
			return fmt.Errorf("the service was added, and the client was not generated: %w", err)
		}
	}
	made := 0
	for _, change := range changes {
		what := "change"
		if change.New {
			what = "write "
			made++
		}
		fmt.Fprintf(c.out, "%s  %s\n", what, change.Path)
	}
	if c.options.newService.dryRun {
		fmt.Fprintf(c.out, "Nothing was written. There would be %s and %s.\n", counted(made, "new file"), counted(len(changes)-made, "changed file"))
		return nil
	}
	fmt.Fprintf(c.out, "Wrote %s and changed %d.\nNext: go test ./services/%s/... ./gateway/... && go run ./dapr up\nThen make it yours: docs/extending.md\n",
		counted(made, "new file"), len(changes)-made, name)
	return nil
}
