package main

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"caravan/dapr/client"
	"caravan/internal/clock"
	"caravan/internal/id"
)

// lettersOptions are the flags of dead-letters.
type lettersOptions struct {
	filter            client.DeadLetterFilter
	since, until      string
	status            string
	limit, perSecond  int
	all, json, detach bool
	reason            string
}

// letterStatuses are the values of --status.
var letterStatuses = []string{"open", "replayed", "discarded", "any"}

func deadLettersCommand() command {
	return command{
		name: "dead-letters", args: "[list | show ID | replay ID | replay --all | discard ID | discard --all | batches | cancel BATCH]",
		summary: "show, replay or discard events that no consumer could handle",
		details: `
list       list open dead letters, newest first; --status and the filters choose others
show       show one with its message, why it failed and who did what about it
replay     handle one again, or with --all every open one that the filters choose, --per-second at a time
discard    mark one as not to be handled, or with --all every open one that the filters choose; --reason says why
batches    show the progress and results of replay --all and discard --all
cancel     stop one of these batches

A replay has no second effect, however often it is done. --since and --until take a time (RFC 3339) or
a duration back from now, as 30m. Done as the stack's member of staff.` + loginHelp,
		min: 0, max: 2,
		flags: func(c *cli, flags *flag.FlagSet) {
			c.loginFlags(flags)
			l := &c.options.letters
			l.status = letterStatuses[0]
			flags.StringVar(&l.filter.Topic, "topic", "", "only of the topic with this `name`")
			flags.StringVar(&l.filter.Type, "type", "", "only of the event type with this `name`, as orders.confirmed.v1")
			flags.StringVar(&l.filter.Consumer, "consumer", "", "only of the consuming service with this `name`")
			flags.StringVar(&l.filter.Reason, "contains", "", "only with this `text` in the reason why it failed")
			flags.StringVar(&l.since, "since", "", "only first seen since this `time`")
			flags.StringVar(&l.until, "until", "", "only first seen before this `time`")
			flags.Var(oneOf{&l.status, letterStatuses}, "status", "list: only of the status with this `name`: "+strings.Join(letterStatuses, ", "))
			l.limit, l.perSecond = 20, 10
			flags.Var(number(&l.limit, 1, many), "limit", "list and batches: at most this `number`")
			flags.BoolVar(&l.all, "all", false, "replay and discard: every open one that the filters choose")
			flags.Var(number(&l.perSecond, 1, 100), "per-second", "replay --all: at most this `number` a second")
			flags.BoolVar(&l.detach, "detach", false, "replay and discard --all: do not wait for the end")
			flags.StringVar(&l.reason, "reason", "", "`text` that says why, for the record")
			flags.BoolVar(&l.json, "json", false, "as JSON")
		},
		run: asStaff((*cli).lettersAction),
	}
}

// lettersAction parses the arguments of dead-letters before any call to the stack.
func (c *cli) lettersAction(args []string) (staffAction, error) {
	l := &c.options.letters
	verb, of := "list", ""
	if len(args) > 0 {
		verb = args[0]
	}
	if len(args) > 1 {
		of = args[1]
	}
	var err error
	now := time.Now()
	if l.filter.Since, err = moment("since", l.since, now); err != nil {
		return nil, err
	}
	if l.filter.Until, err = moment("until", l.until, now); err != nil {
		return nil, err
	}
	does := client.DeadLetterBatchAction(verb)
	one := (of != "") != l.all
	switch {
	case verb == "list" && of == "":
		return c.listLetters, nil
	case verb == "batches" && of == "":
		return c.listBatches, nil
	case verb == "show" && of != "":
		return func(ctx context.Context, staff *client.Client) error { return c.showLetter(ctx, staff, of) }, nil
	case verb == "cancel" && of != "":
		return func(ctx context.Context, staff *client.Client) error { return c.cancelBatch(ctx, staff, of) }, nil
	case does == client.Discard && one && l.reason == "":
		return nil, &usageError{"dead-letters discard needs --reason: why are they given up?\nSee help dead-letters."}
	case (does == client.Replay || does == client.Discard) && one && l.all:
		return func(ctx context.Context, staff *client.Client) error { return c.actOnLetters(ctx, staff, does) }, nil
	case (does == client.Replay || does == client.Discard) && one:
		return func(ctx context.Context, staff *client.Client) error { return c.actOnLetter(ctx, staff, does, of) }, nil
	}
	return nil, &usageError{"Usage: " + usage(deadLettersCommand()) + "\nSee help dead-letters."}
}

// moment parses a time, or a duration before now; "" is none.
func moment(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if back, err := time.ParseDuration(text); err == nil && back >= 0 && clock.Acceptable(now.Add(-back)) {
		return now.Add(-back), nil
	}
	at, err := clock.Parse(text)
	if err != nil {
		return time.Time{}, &usageError{fmt.Sprintf("--%s wants a time as 2026-01-31T15:04:05Z, or a duration as 30m, not %q.", flag, text)}
	}
	return at, nil
}

// table writes rows of aligned columns.
func (c *cli) table(header string, rows func(row func(cells ...any))) error {
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.ReplaceAll(header, " ", "\t"))
	rows(func(cells ...any) {
		for i, cell := range cells {
			if i > 0 {
				fmt.Fprint(w, "\t")
			}
			fmt.Fprint(w, plain(fmt.Sprint(cell)))
		}
		fmt.Fprintln(w)
	})
	return w.Flush()
}

// plain removes control characters from a text of unknown origin, so that it cannot control the terminal.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}

func (c *cli) asJSON(v any) error {
	encoder := json.NewEncoder(c.out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// pages collects up to limit items of a list, and reports whether there are more.
func pages[T any](limit int, read func(limit int, cursor string) (some []T, next string, err error)) (items []T, more bool, err error) {
	items = []T{}
	for cursor := ""; ; {
		some, next, err := read(min(limit-len(items), 100), cursor)
		if err != nil {
			return nil, false, err
		}
		items = append(items, some...)
		if cursor = next; cursor == "" || len(items) >= limit {
			return items, cursor != "", nil
		}
	}
}

func (c *cli) listLetters(ctx context.Context, staff *client.Client) error {
	l := c.options.letters
	status := l.status
	if status == "any" {
		status = ""
	}
	letters, more, err := pages(l.limit, func(limit int, cursor string) ([]client.DeadLetter, string, error) {
		list, err := staff.OpsListDeadLetters(ctx, client.OpsListDeadLettersParams{
			Status: client.DeadLetterStatus(status), Consumer: l.filter.Consumer, Topic: l.filter.Topic, Type: l.filter.Type,
			Reason: l.filter.Reason, Since: l.filter.Since, Until: l.filter.Until, Limit: limit, Cursor: cursor,
		})
		return list.Items, list.Next, err
	})
	if err != nil {
		return fmt.Errorf("listing dead letters: %w", err)
	}
	if l.json {
		return c.asJSON(letters)
	}
	if len(letters) == 0 {
		fmt.Fprintln(c.out, noLetters(status, l.filter))
		return nil
	}
	err = c.table("ID STATUS AGE TRIES CONSUMER TYPE SUBJECT REASON", func(row func(...any)) {
		for _, d := range letters {
			row(d.ID, d.Status, age(d.FirstSeen), d.Attempts, d.Consumer, cmp.Or(d.Type, "?"), cmp.Or(d.Subject, "?"), shorten(cmp.Or(d.LastFailure, d.Reason), 80))
		}
	})
	if more {
		fmt.Fprintln(c.out, "There are more; see --limit.")
	}
	return err
}

// noLetters is the text for a filter without matching dead letters of a status; "" is any status.
func noLetters(status string, filter client.DeadLetterFilter) string {
	text := "There are no " + status
	if filter != (client.DeadLetterFilter{}) {
		text = "There are no such " + status
	}
	return strings.TrimSpace(text) + " dead letters."
}

func age(since time.Time) string { return time.Since(since).Round(time.Second).String() }

// shorten cuts a text to a number of characters, on one line.
func shorten(text string, most int) string {
	runes := []rune(strings.Join(strings.Fields(text), " "))
	if len(runes) <= most {
		return string(runes)
	}
	return string(runes[:most-1]) + "…"
}

func (c *cli) showLetter(ctx context.Context, staff *client.Client, of string) error {
	d, err := staff.OpsGetDeadLetter(ctx, of)
	if err != nil {
		return lettersError(of, err)
	}
	if c.options.letters.json {
		return c.asJSON(d)
	}
	fmt.Fprintf(c.out, "Dead letter %s is %s after %s; first seen %s\n", d.ID, d.Status, counted(d.Attempts, "attempt"), d.FirstSeen.Format(time.RFC3339))
	for _, line := range [][2]string{
		{"consumer", d.Consumer}, {"topic", d.Topic}, {"event", d.EventID}, {"type", d.Type}, {"subject", d.Subject},
		{"correlation", d.CorrelationID}, {"reason", d.Reason}, {"last failure", d.LastFailure}, {"note", d.Note},
	} {
		if line[1] != "" {
			fmt.Fprintf(c.out, "  %-13s %s\n", line[0], plain(line[1]))
		}
	}
	fmt.Fprintln(c.out, "\nHistory")
	for i, a := range d.History {
		fmt.Fprintf(c.out, "  %s  %-13s by %s%s%s\n", a.At.Format(time.RFC3339), a.Kind, a.By, plain(quoted(", because ", a.Reason)), plain(quoted(": ", a.Outcome)))
		if i == 0 && d.Forgotten > 0 {
			fmt.Fprintf(c.out, "  … %d more\n", d.Forgotten)
		}
	}
	fmt.Fprintf(c.out, "\nMessage (%d bytes%s)\n%s\n", d.Size, map[bool]string{true: ", not all of it was kept"}[d.PayloadTruncated], message(d))
	return nil
}

func quoted(before, text string) string {
	if text == "" {
		return ""
	}
	return before + text
}

// message makes a message readable: JSON in lines, other bytes quoted, so that they cannot control the terminal.
func message(d client.DeadLetterDetail) string {
	raw := []byte(d.Payload)
	if d.PayloadEncoding == "base64" {
		if decoded, err := base64.StdEncoding.DecodeString(d.Payload); err == nil {
			return fmt.Sprintf("%q", decoded)
		}
	}
	var v any
	if json.Unmarshal(raw, &v) == nil {
		if pretty, err := json.MarshalIndent(v, "", "  "); err == nil {
			return string(pretty)
		}
	}
	return fmt.Sprintf("%q", d.Payload)
}

func (c *cli) actOnLetter(ctx context.Context, staff *client.Client, action client.DeadLetterBatchAction, of string) error {
	d, err := operationsOf(staff, action).one(ctx, of, id.Random{}.New(), client.DeadLetterDiscard{Reason: c.options.letters.reason})
	if err != nil {
		return lettersError(of, err)
	}
	fmt.Fprintf(c.out, "Dead letter %s is %s.\n", d.ID, d.Status)
	return nil
}

func lettersError(of string, err error) error {
	if client.Status(err) == http.StatusNotFound {
		return fmt.Errorf("there is no dead letter %s; see go run ./dapr dead-letters list --status any", of)
	}
	return err
}
