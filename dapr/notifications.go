package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"time"

	"caravan/dapr/client"
	"caravan/internal/id"
)

// messagesOptions are the flags of notifications.
type messagesOptions struct {
	params client.OpsListNotificationsParams
	since  string
	limit  int
	json   bool
}

func notificationsCommand() command {
	return command{
		name: "notifications", args: "[list | resend ID]",
		summary: "show messages outside the app, such as e-mails, or send one again",
		details: `
list       list messages of the last day, oldest first; --since and the filters choose others
resend     send one again at once, with all its attempts; what its person has switched off is not sent

A message that waits says when its next attempt is, and one that failed says why. --since takes a time
(RFC 3339) or a duration back from now, as 30m. The commands act as the stack's member of staff.` + loginHelp,
		min: 0, max: 2,
		flags: func(c *cli, flags *flag.FlagSet) {
			c.loginFlags(flags)
			m := &c.options.messages
			m.limit = 50
			flags.StringVar((*string)(&m.params.Status), "status", "", "list: only in the state with this `name`, as waiting, sent, failed, superseded or suppressed")
			flags.StringVar((*string)(&m.params.Channel), "channel", "", "list: only by the channel with this `name`: email or push")
			flags.StringVar(&m.params.Kind, "kind", "", "list: only of the kind with this `name`, as order-confirmed")
			flags.StringVar(&m.params.User, "user", "", "list: only to the user with this `ID`")
			flags.StringVar(&m.since, "since", "24h", "list: only added since this `time`")
			flags.Var(number(&m.limit, 1, many), "limit", "list: at most this `number`")
			flags.BoolVar(&m.json, "json", false, "list: as JSON")
		},
		run: asStaff((*cli).messagesAction),
	}
}

// messagesAction parses the arguments of notifications before any call to the stack.
func (c *cli) messagesAction(args []string) (staffAction, error) {
	m := &c.options.messages
	var err error
	if m.params.Since, err = moment("since", m.since, time.Now()); err != nil {
		return nil, err
	}
	switch {
	case len(args) == 0, args[0] == "list" && len(args) == 1:
		return c.listMessages, nil
	case args[0] == "resend" && len(args) == 2:
		return func(ctx context.Context, staff *client.Client) error { return c.resendMessage(ctx, staff, args[1]) }, nil
	}
	return nil, &usageError{"Usage: " + usage(notificationsCommand()) + "\nSee help notifications."}
}

func (c *cli) listMessages(ctx context.Context, staff *client.Client) error {
	m := &c.options.messages
	found, more, err := pages(m.limit, func(limit int, cursor string) ([]client.Delivery, string, error) {
		params := m.params
		params.Limit, params.Cursor = limit, cursor
		list, err := staff.OpsListNotifications(ctx, params)
		return list.Items, list.Next, err
	})
	if err != nil {
		return fmt.Errorf("listing messages: %w", err)
	}
	if m.json {
		return c.asJSON(found)
	}
	if len(found) == 0 {
		fmt.Fprintln(c.out, "There is no such message.")
		return nil
	}
	err = c.table("ID CHANNEL KIND STATUS TRIES CREATED NEXT REASON", func(row func(...any)) {
		for _, d := range found {
			due := "-"
			if !d.NextAttemptAt.IsZero() {
				due = next(d.NextAttemptAt)
			}
			row(d.ID, d.Channel, d.Kind, d.Status, d.Attempts, d.CreatedAt.Format(time.RFC3339), due, shorten(d.Reason, 80))
		}
	})
	if more {
		fmt.Fprintln(c.out, "There are more; see --limit.")
	}
	return err
}

func (c *cli) resendMessage(ctx context.Context, staff *client.Client, deliveryID string) error {
	d, err := staff.OpsResendNotification(ctx, deliveryID, id.Random{}.New())
	if client.Status(err) == http.StatusNotFound {
		return fmt.Errorf("there is no message %s", deliveryID)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "Message %s is sent again; it is %s now.\n", d.ID, d.Status)
	return nil
}
