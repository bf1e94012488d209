package main

import (
	"context"
	"errors"
	"flag"
	"fmt"

	"caravan/dapr/scaffold"
)

// newOptions are the flags of new service and new consumer.
type newOptions struct {
	dryRun  bool
	useCase string
}

const committedFirst = `
It is refused while git knows of changes that are not committed, so that one commit holds all that is added. Either all files are
written or none.`

func dryRun(c *cli, flags *flag.FlagSet) {
	flags.BoolVar(&c.options.adding.dryRun, "dry-run", false, "list the files that would be written and changed, and write nothing")
}

func newServiceCommand() command {
	return command{
		name: "new service", args: "NAME", min: 1, max: 1,
		summary: "add a service to the project, with its folder and every file that lists the services",
		details: `
NAME is the app id of the service and the name of its folder: 2 to 20 lower case letters and digits, as "reviews". Writes
services/NAME with one document, one event, one consumer of the topic of users, two routes, an audit and tests, and adds the
service to dapr.yaml, subscriptions, resiliency, component scopes, compose, k8s, OpenAPI, permissions and the audit. Then it
generates the routes of the gateway and the client of the API.
` + committedFirst + ` docs/extending.md says what to do next.`,
		flags: dryRun,
		run: func(ctx context.Context, c *cli, flags *flag.FlagSet) error {
			name := flags.Arg(0)
			return c.add(ctx, func() ([]scaffold.Change, error) { return scaffold.Service(c.root, name) },
				fmt.Sprintf("go test ./services/%s/... ./gateway/... && go run ./dapr up\nThen make it yours: docs/extending.md", name),
				"./gateway/...", "./dapr/client")
		},
	}
}

func newConsumerCommand() command {
	return command{
		name: "new consumer", args: "SERVICE EVENT_TYPE", min: 2, max: 2,
		summary: "add a consumer of an event to a service",
		details: `
EVENT_TYPE is the type of an event in the contract of another service, as "orders.confirmed.v1". Writes a use case with a test to
services/SERVICE/app, which reads the payload of the event, and adds it to the handlers of the service. For the first event of a
producer it also adds the producer, a subscription of its topic, and the service as a caller of the producer in k8s. What remains is
the effect of the event, in the new file; until then each such event becomes a dead letter.

The service has to choose its handlers by event.ByType, as one that was made by "new service" does.
` + committedFirst,
		flags: func(c *cli, flags *flag.FlagSet) {
			dryRun(c, flags)
			flags.StringVar(&c.options.adding.useCase, "name", "", "`name` of the use case, as ThankCustomer (default: made of the event's type)")
		},
		run: func(ctx context.Context, c *cli, flags *flag.FlagSet) error {
			asked := scaffold.Asked{Service: flags.Arg(0), Type: flags.Arg(1), UseCase: c.options.adding.useCase}
			return c.add(ctx, func() ([]scaffold.Change, error) { return scaffold.Consumer(c.root, asked) },
				fmt.Sprintf("write the effect into the new file of services/%s/app: docs/extending.md", asked.Service))
		},
	}
}

// add writes what plan returns, runs the generators of packages, and says what is next.
func (c *cli) add(ctx context.Context, plan func() ([]scaffold.Change, error), next string, generate ...string) error {
	dry := c.options.adding.dryRun
	if !dry {
		if err := scaffold.Clean(ctx, c.root); err != nil {
			return err
		}
	}
	changes, err := plan()
	var refused *scaffold.RefusedError
	if errors.As(err, &refused) {
		return &usageError{refused.Error()}
	}
	if err != nil {
		return err
	}
	if !dry {
		if err := scaffold.Apply(c.root, changes); err != nil {
			return err
		}
		if len(generate) > 0 {
			if err := c.tool(ctx, "go", append([]string{"generate"}, generate...)...); err != nil {
				return fmt.Errorf("all files were written, but a generator failed: %w", err)
			}
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
	for _, packages := range generate {
		fmt.Fprintf(c.out, "go generate %s\n", packages)
	}
	if dry {
		fmt.Fprintf(c.out, "Nothing was written. There would be %s and %s.\n", counted(made, "new file"), counted(len(changes)-made, "changed file"))
		return nil
	}
	fmt.Fprintf(c.out, "Wrote %s and changed %d.\nNext: %s\n", counted(made, "new file"), len(changes)-made, next)
	return nil
}
