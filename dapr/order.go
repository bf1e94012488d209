package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"sync"
	"time"

	"caravan/dapr/client"
	"caravan/internal/clock"
)

func orderCommand() command {
	return command{
		name: "order", summary: "place an order as the printed customer and follow it to its end",
		details: "While the order waits, the command shows what it waits for. Ctrl-C stops watching; the order continues." + loginHelp,
		flags:   (*cli).loginFlags,
		run: func(ctx context.Context, c *cli, _ *flag.FlagSet) error {
			customer, err := c.signedIn(ctx, "customer")
			if err != nil {
				return err
			}
			return c.adviseStock(c.firstOrder(ctx, customer))
		},
	}
}

// adviseStock adds to an error about empty stock where stock comes from.
func (c *cli) adviseStock(err error) error {
	switch a := c.options.access; {
	case !errors.Is(err, errNothingInStock):
		return err
	case a.target == targetCompose:
		return fmt.Errorf("%w: %s", err, stillFilling)
	case a.gateway != "":
		return fmt.Errorf("%w; fill the shop with: go run ./dapr seed --gateway %s", err, a.gateway)
	}
	return fmt.Errorf("%w; fill the shop with: %s", err, c.run("seed"))
}

// followOrder waits for the end of an order and reports what the order waits for.
func (c *cli) followOrder(ctx context.Context, customer *client.Client, id string) (client.Order, error) {
	said := ""
	for {
		order, err := customer.WaitForOrder(ctx, id, time.Second)
		if err != nil || order.Status.Ended() {
			return order, err
		}
		if w := order.Waiting; w != nil && said != w.Step+w.Reason {
			said = w.Step + w.Reason
			fmt.Fprintf(c.out, "Order %s is %s and waits at %q: %s. It goes on by itself.\n", id, order.Status, w.Step, w.Reason)
		}
		if err := ctx.Err(); err != nil {
			return order, err
		}
	}
}

func auditCommand() command {
	return command{
		name: "audit", summary: "check that stock, money, orders and notices agree",
		details: "Exits with 1 when an invariant is violated." + loginHelp,
		flags: func(c *cli, flags *flag.FlagSet) {
			c.loginFlags(flags)
			flags.BoolVar(&c.options.audit.verbose, "verbose", false, "also name the checks that found nothing to check")
		},
		run: func(ctx context.Context, c *cli, _ *flag.FlagSet) error {
			staff, err := c.signedIn(ctx, "staff")
			if err != nil {
				return err
			}
			quiet := c.sayAfter(quietLimit, "Still auditing: right after a start it takes some ten seconds …")
			report, err := runAudit(ctx, staff)
			quiet()
			if err != nil {
				return err
			}
			return c.showAudit(report)
		},
	}
}

// quietLimit is how long a command may work without output.
const quietLimit = 2 * time.Second

// sayAfter prints a text to a person who waits longer than wait, unless quiet is called before.
func (c *cli) sayAfter(wait time.Duration, text string) (quiet func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var waiting sync.WaitGroup
	waiting.Go(func() {
		if (clock.System{}).Sleep(ctx, wait) == nil {
			fmt.Fprintln(c.err, text)
		}
	})
	return func() {
		cancel()
		waiting.Wait()
	}
}

// runAudit runs the audit of the stack to its end.
func runAudit(ctx context.Context, staff *client.Client) (client.Audit, error) {
	for {
		report, err := staff.OpsAudit(ctx)
		if err != nil {
			return report, fmt.Errorf("auditing: %w", err)
		}
		if report.Complete {
			return report, nil
		}
	}
}

func (c *cli) showAudit(report client.Audit) error {
	orders := int64(0)
	for _, end := range []string{"confirmed", "rejected", "cancelled", "refunded"} {
		orders += report.Counts["orders."+end]
	}
	fmt.Fprintf(c.out, "%s ended, %d under way; %s with %s on hand; %s; ledger sums to %d; %s\n",
		counted(orders, "order"), report.Counts["orders.inFlight"], counted(report.Counts["products.products"], "product"),
		counted(report.Counts["products.onHand"], "unit"), counted(report.Counts["payments.accounts"], "wallet"),
		report.Counts["payments.ledgerSum"], counted(report.Counts["notifications.deliveries"], "notice"))
	checks, unchecked := int64(0), []string(nil)
	for _, i := range report.Invariants {
		if checks += i.Checked; i.Checked == 0 {
			unchecked = append(unchecked, i.Invariant+" ("+i.Service+")")
		}
	}
	fmt.Fprintf(c.out, "%s open; %s checked %s\n", counted(report.Counts["notifications.letters.open"], "dead letter"),
		counted(len(report.Invariants)-len(unchecked), "invariant"), counted(checks, "time"))
	switch {
	case len(unchecked) == 0:
	case c.options.audit.verbose:
		fmt.Fprintln(c.out, "Nothing there to check: "+strings.Join(unchecked, ", "))
	default:
		fmt.Fprintf(c.out, "%s found nothing there to check; --verbose names them.\n", counted(len(unchecked), "more invariant"))
	}
	if len(report.Findings) == 0 {
		fmt.Fprintln(c.out, "Every invariant holds.")
		return nil
	}
	for _, f := range report.Findings {
		fmt.Fprintf(c.out, "VIOLATED in %s: %s (%s): %s\n", f.Service, f.Invariant, f.Key, f.Detail)
	}
	return errFailed
}
