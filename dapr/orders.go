package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"strings"
	"time"

	"caravan/dapr/client"
	"caravan/internal/id"
)

// waitingOptions are the flags of orders.
type waitingOptions struct {
	longer       time.Duration
	step, status string
	limit        int
	json         bool
	reason       string
}

func ordersCommand() command {
	return command{
		name: "orders", args: "waiting | retry ID | cancel ID",
		summary: "show waiting orders, retry one at once, or cancel it",
		details: `
waiting    list orders that have waited longer than --longer: step, reason, since when, number of attempts
           and time of the next one
retry      try a waiting order again now, without waiting for its next attempt
cancel     cancel an order that is not paid yet and release its stock and money; --reason says why. An order
           that is paid, or about to be, can only be refunded.

Every order ends by itself; these commands are for people who do not want to wait. The order's timeline
records who did what and why. The commands act as the stack's member of staff.` + loginHelp,
		min: 1, max: 2,
		flags: func(c *cli, flags *flag.FlagSet) {
			c.loginFlags(flags)
			w := &c.options.waiting
			w.longer, w.limit = time.Minute, 50
			flags.Var(period(&w.longer, 0, longest), "longer", "waiting: only those that have waited for at least this `duration`")
			flags.StringVar(&w.step, "step", "", "waiting: only at the step with this `name`, as reserve, authorize, capture, refund or \"undo authorize\"")
			flags.StringVar(&w.status, "status", "", "waiting: only in the status with this `name`, as reserved or capturing")
			flags.Var(number(&w.limit, 1, many), "limit", "waiting: at most this `number`")
			flags.StringVar(&w.reason, "reason", "", "retry and cancel: `text` that says why, for the record")
			flags.BoolVar(&w.json, "json", false, "as JSON")
		},
		run: asStaff((*cli).ordersAction),
	}
}

// ordersAction parses the arguments of orders before any call to the stack.
func (c *cli) ordersAction(args []string) (staffAction, error) {
	w := c.options.waiting
	switch {
	case args[0] == "waiting" && len(args) == 1:
		return c.listWaiting, nil
	case args[0] == "retry" && len(args) == 2:
		return c.intervene(retry, args[1], "is tried again"), nil
	case args[0] == "cancel" && len(args) == 2 && w.reason == "":
		return nil, &usageError{"orders cancel needs --reason: why is it cancelled?\nSee help orders."}
	case args[0] == "cancel" && len(args) == 2:
		return c.intervene(cancel, args[1], "is being cancelled"), nil
	}
	return nil, &usageError{"Usage: " + usage(ordersCommand()) + "\nSee help orders."}
}

// intervention is a call of the API about one order.
type intervention = func(ctx context.Context, staff *client.Client, key, id, reason string) (client.OrderAccepted, error)

func retry(ctx context.Context, staff *client.Client, key, id, reason string) (client.OrderAccepted, error) {
	return staff.OpsRetryOrder(ctx, id, key, client.OrderRetry{Reason: reason})
}

func cancel(ctx context.Context, staff *client.Client, key, id, reason string) (client.OrderAccepted, error) {
	return staff.OpsCancelOrder(ctx, id, key, client.OrderCancellation{Reason: reason})
}

// intervene does something to an order and reports it.
func (c *cli) intervene(act intervention, orderID, done string) staffAction {
	return func(ctx context.Context, staff *client.Client) error {
		accepted, err := act(ctx, staff, id.Random{}.New(), orderID, c.options.waiting.reason)
		if client.Status(err) == http.StatusNotFound {
			return fmt.Errorf("there is no order %s", orderID)
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(c.out, "Order %s %s; it is %s now.\n", accepted.ID, done, accepted.Status)
		return nil
	}
}

func (c *cli) listWaiting(ctx context.Context, staff *client.Client) error {
	w := c.options.waiting
	found, more, err := pages(w.limit, func(limit int, cursor string) ([]client.OrderSummary, string, error) {
		list, err := staff.OpsListOrders(ctx, client.OpsListOrdersParams{
			Waiting: w.longer.String(), Step: client.OrderStep(w.step), Status: client.OrderStatus(w.status), Limit: limit, Cursor: cursor,
		})
		return list.Items, list.Next, err
	})
	if err != nil {
		return fmt.Errorf("listing waiting orders: %w", err)
	}
	orders := unique(found)
	if w.json {
		return c.asJSON(orders)
	}
	if len(orders) == 0 {
		fmt.Fprintln(c.out, noneWaits(w))
		return nil
	}
	err = c.table("ID STATUS STEP WAITS TRIES NEXT REASON", func(row func(...any)) {
		for _, o := range orders {
			if s := o.Waiting; s != nil {
				row(o.ID, o.Status, s.Step, time.Duration(s.AgeSeconds)*time.Second, s.Attempts, next(s.NextAttemptAt), shorten(s.Reason, 80))
			}
		}
	})
	if more {
		fmt.Fprintln(c.out, "There are more; see --limit.")
	}
	return err
}

// noneWaits is the text for no order that waits as the flags of "orders waiting" require.
func noneWaits(w waitingOptions) string {
	which := "No order"
	if w.step != "" || w.status != "" {
		which = "No such order"
	}
	if w.longer == 0 {
		return which + " is waiting."
	}
	return fmt.Sprintf("%s has been waiting for %s or longer.", which, short(w.longer))
}

// short formats a duration without zeros at its end, such as 1m.
func short(d time.Duration) string {
	text := d.String()
	if before, found := strings.CutSuffix(text, "m0s"); found {
		text = before + "m"
	}
	if before, found := strings.CutSuffix(text, "h0m"); found {
		text = before + "h"
	}
	return text
}

// unique removes repeats, because a waiting order may be on more than one page.
func unique(orders []client.OrderSummary) []client.OrderSummary {
	seen := make(map[string]bool, len(orders))
	once := []client.OrderSummary{}
	for _, o := range orders {
		if !seen[o.ID] {
			seen[o.ID] = true
			once = append(once, o)
		}
	}
	return once
}

// next formats when something is due.
func next(at time.Time) string {
	if in := time.Until(at).Round(100 * time.Millisecond); in > 0 {
		return "in " + in.String()
	}
	return "now"
}
