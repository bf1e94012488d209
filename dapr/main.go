// Command dapr runs a whole Caravan stack on this machine, and controls it while it runs:
//
//	go run ./dapr up
//
// See help, and help COMMAND.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"caravan/dapr/launcher"
	"caravan/dapr/launcher/manifest"
)

// command is one verb of the command line.
type command struct {
	name    string
	args    string // as "APP", for the usage line
	summary string // one line
	details string // the rest, for help COMMAND
	min     int    // minimum and maximum number of arguments
	max     int
	run     func(ctx context.Context, c *cli, flags *flag.FlagSet) error
	flags   func(c *cli, flags *flag.FlagSet)
}

// cli is one run of the command line.
type cli struct {
	out, err io.Writer
	root     string // the repository
	dir      string // the stack's folder
	options  options
}

// options are the flags of all commands. Each command declares its own.
type options struct {
	up     upOptions
	bench  benchOptions
	chaos  chaosOptions
	logs   logsOptions
	status struct{ json bool }
	trace  struct{ all bool }
	kill   struct{ signal string }
	audit  struct{ verbose bool }
	doctor struct {
		build bool
		daprd string
	}
	migrate   migrateOptions
	images    imagesOptions
	secrets   secretsOptions
	k8s       k8sOptions
	access    access
	importing struct{ skipBad bool }
	adding    newOptions
	letters   lettersOptions
	waiting   waitingOptions
	messages  messagesOptions
	test      struct {
		short, matrix bool
		target        string
		run           string
	}
}

// commands returns all commands in the order of help.
func commands() []command {
	return []command{
		upCommand(), downCommand(), statusCommand(), logsCommand(), traceCommand(), restartCommand(), stopCommand(), startCommand(), killCommand(),
		orderCommand(), ordersCommand(), notificationsCommand(), deadLettersCommand(), auditCommand(), importCommand(), migrateCommand(), benchCommand(), chaosCommand(), testCommand(), doctorCommand(),
		imagesCommand(), secretsCommand(), seedCommand(), k8sImagesCommand(), k8sSecretsCommand(), k8sRenderCommand(),
		newServiceCommand(), newConsumerCommand(), versionCommand(),
	}
}

func main() {
	ctx, cancel := interruptible()
	defer cancel()
	c := &cli{out: os.Stdout, err: os.Stderr}
	os.Exit(c.main(ctx, os.Args[1:]))
}

// interruptible returns a context that ends with SIGINT, SIGTERM or SIGHUP, and when the "go run" that started this
// process ends, because "go run" does not pass SIGTERM on.
func interruptible() (context.Context, context.CancelFunc) {
	signals := []os.Signal{syscall.SIGINT, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	ctx, cancel := context.WithCancel(ctx)
	go followGoRun(ctx, cancel)
	return ctx, func() {
		cancel()
		stop()
	}
}

// Exit statuses.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// usageError is a mistake in the command line.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

// errFailed ends a command that has already reported the failure.
var errFailed = errors.New("failed")

func (c *cli) main(ctx context.Context, args []string) int {
	err := c.dispatch(ctx, args)
	var usage *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		fmt.Fprintln(c.err, usage.text)
		return exitUsage
	case errors.Is(err, errFailed):
		return exitFailure
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return exitFailure
	}
	fmt.Fprintln(c.err, "error:", err)
	return exitFailure
}

func (c *cli) dispatch(ctx context.Context, args []string) error {
	if len(args) == 0 {
		c.help(c.out)
		return nil
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		return c.helpFor(args[1:])
	}
	if ofGroup(args) {
		c.groupHelp(args[0])
		return nil
	}
	args = joined(args)
	chosen, err := find(args[0])
	if err != nil {
		return err
	}
	flags, err := c.parse(chosen, args[1:])
	if errors.Is(err, flag.ErrHelp) {
		c.describe(chosen)
		return nil
	}
	if err != nil {
		return err
	}
	if err := c.locate(); err != nil {
		return err
	}
	return chosen.run(ctx, c, flags)
}

// groups are the first words of two-word commands, with their descriptions.
var groups = map[string]string{"k8s": "Commands for a cluster of Kubernetes", "new": "Commands that add to the project"}

// joined makes one name of a two-word command.
func joined(args []string) []string {
	if groups[args[0]] == "" || len(args) == 1 {
		return args
	}
	return append([]string{args[0] + " " + args[1]}, args[2:]...)
}

// ofGroup reports whether the arguments name a group of commands, and not one of its commands.
func ofGroup(args []string) bool {
	return groups[args[0]] != "" && (len(args) == 1 || slices.Contains([]string{"help", "-h", "-help", "--help"}, args[1]))
}

func find(name string) (command, error) {
	var names []string
	for _, known := range commands() {
		if known.name == name {
			return known, nil
		}
		names = append(names, known.name)
	}
	hint := ""
	if nearest := manifest.Nearest(name, names); nearest != "" {
		hint = fmt.Sprintf(" Did you mean %q?", nearest)
	}
	return command{}, &usageError{fmt.Sprintf("There is no command %q.%s\nCommands: %s", name, hint, strings.Join(names, ", "))}
}

// flagSet declares a command's flags.
func (c *cli) flagSet(chosen command) *flag.FlagSet {
	flags := flag.NewFlagSet(chosen.name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&c.dir, "dir", c.dir, "the stack's `folder` (default .dapr in the repository)")
	if chosen.flags != nil {
		chosen.flags(c, flags)
	}
	flags.VisitAll(func(f *flag.Flag) { f.Value = &given{Value: f.Value} })
	return flags
}

// parse reads flags before, between and after a command's arguments.
func (c *cli) parse(chosen command, args []string) (*flag.FlagSet, error) {
	flags := c.flagSet(chosen)
	var positional []string
	for rest := args; ; {
		if err := flags.Parse(rest); err != nil {
			return nil, explainFlag(chosen, flags, err)
		}
		rest = flags.Args()
		if len(rest) == 0 {
			break
		}
		positional, rest = append(positional, rest[0]), rest[1:]
	}
	if len(positional) < chosen.min || len(positional) > chosen.max {
		return nil, &usageError{fmt.Sprintf("Usage: %s\nSee help %s.", usage(chosen), chosen.name)}
	}
	// Only the arguments remain in the flag set.
	return flags, flags.Parse(append([]string{"--"}, positional...))
}

// singleDash matches the flag names in errors of package flag.
var singleDash = regexp.MustCompile(`(for |for flag |argument: )-`)

// credentials matches the user and password of a URL that is a refused value.
var credentials = regexp.MustCompile(`(invalid value "[^"]*://)[^"]*@`)

func explainFlag(chosen command, flags *flag.FlagSet, err error) error {
	const unknown = "flag provided but not defined: -"
	name, isUnknown := strings.CutPrefix(err.Error(), unknown)
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	if !isUnknown {
		text := credentials.ReplaceAllString(singleDash.ReplaceAllString(err.Error(), "$1--"), "$1…@")
		return &usageError{fmt.Sprintf("%s: %s.\nSee help %s.", chosen.name, text, chosen.name)}
	}
	name, _, _ = strings.Cut(strings.TrimLeft(name, "-"), "=")
	if instead := map[string]string{"up": "up -d", "down": "down"}[chosen.name]; instead != "" && name == "target" {
		return &usageError{fmt.Sprintf("%s has no flag --target: it is about the stack that the launcher starts.\n"+
			"For that of docker compose: docker compose -f compose/compose.yaml %s", chosen.name, instead)}
	}
	var names []string
	flags.VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
	hint := ""
	if nearest := manifest.Nearest(name, names); nearest != "" {
		hint = fmt.Sprintf(" Did you mean --%s?", nearest)
	}
	return &usageError{fmt.Sprintf("%s has no flag --%s.%s\nFlags: --%s", chosen.name, name, hint, strings.Join(names, ", --"))}
}

// locate finds the repository and the stack's folder.
func (c *cli) locate() error {
	here, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("finding the repository: %w", err)
	}
	if c.root, err = launcher.FindRoot(here); err != nil {
		return err
	}
	if c.dir == "" {
		c.dir = filepath.Join(c.root, ".dapr")
	}
	if c.dir, err = filepath.Abs(c.dir); err != nil {
		return fmt.Errorf("finding the stack's folder: %w", err)
	}
	return nil
}

// run returns the command line of a command for the same stack.
func (c *cli) run(command string) string {
	line := "go run ./dapr " + command
	if c.dir != filepath.Join(c.root, ".dapr") {
		line += " --dir " + strconv.Quote(c.dir)
	}
	return line
}

// bin is the folder of built programs. When the stack's folder is elsewhere, nothing is written to the repository.
func (c *cli) bin() string { return launcher.BinFolder(c.dir) }

// counted returns a number with a noun: "1 product" or "2 products".
func counted[N int | int64](n N, thing string) string {
	if n == 1 {
		return fmt.Sprintf("1 %s", thing)
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

func usage(chosen command) string {
	return strings.TrimSpace(fmt.Sprintf("go run ./dapr %s [flags] %s", chosen.name, chosen.args))
}

func (c *cli) help(w io.Writer) {
	fmt.Fprint(w, "Caravan: a commerce back end of small services behind Dapr sidecars, run on this machine.\n\n"+
		"Usage: go run ./dapr COMMAND [flags]\n\n")
	for _, known := range commands() {
		fmt.Fprintf(w, "  %-12s %s\n", known.name, known.summary)
	}
	fmt.Fprint(w, "\nStart with: go run ./dapr up\nMore on a command: go run ./dapr help COMMAND\n")
}

func (c *cli) helpFor(args []string) error {
	if len(args) == 0 {
		c.help(c.out)
		return nil
	}
	if ofGroup(args) {
		c.groupHelp(args[0])
		return nil
	}
	chosen, err := find(joined(args)[0])
	if err != nil {
		return err
	}
	c.describe(chosen)
	return nil
}

// groupHelp lists the two-word commands that begin with the word.
func (c *cli) groupHelp(first string) {
	fmt.Fprintf(c.out, "%s\n\nUsage: go run ./dapr %s COMMAND [flags]\n\n", groups[first], first)
	for _, known := range commands() {
		if strings.HasPrefix(known.name, first+" ") {
			fmt.Fprintf(c.out, "  %-12s %s\n", known.name, known.summary)
		}
	}
	fmt.Fprintf(c.out, "\nMore on a command: go run ./dapr help %s COMMAND\n", first)
}

func (c *cli) describe(chosen command) {
	fmt.Fprintf(c.out, "%s\n\nUsage: %s\n", chosen.summary, usage(chosen))
	if chosen.details != "" {
		fmt.Fprintf(c.out, "\n%s\n", strings.TrimSpace(chosen.details))
	}
	fmt.Fprintln(c.out, "\nFlags:")
	c.flagSet(chosen).VisitAll(func(f *flag.Flag) {
		kind, text := flag.UnquoteUsage(f)
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" && !strings.Contains(text, "default") {
			text += fmt.Sprintf(" (default %s)", f.DefValue)
		}
		fmt.Fprintf(c.out, "  %-24s %s\n", strings.TrimSpace("--"+f.Name+" "+kind), strings.ReplaceAll(text, "\n", "\n"+strings.Repeat(" ", 27)))
	})
}
