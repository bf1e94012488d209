// Package bench measures a running stack: orders, reads, memory, the processor time of an order, and event streams.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"caravan/dapr/client"
	"caravan/dapr/launcher"
	"caravan/dapr/launcher/process"
)

// Target is the stack that is measured.
type Target struct {
	// Gateway is the base URL of the gateway.
	Gateway string
	// Dir is the folder with the benchmark's users.
	Dir string
	// Broker and Store name what the stack uses.
	Broker, Store string
	// SignIn logs in a user with a role.
	SignIn func(ctx context.Context, role string) (*client.Client, error)
	// Sign makes an access token for a customer who has no account, with this id. If nil, the benchmark of streams registers its
	// users, which takes two password hashes for each.
	Sign func(userID string, expiry time.Time) (string, error)
	// Report describes the processes of the stack. If nil, memory and processor time are not measured.
	Report func(ctx context.Context) (launcher.Report, error)
	// Logs returns the log lines of the stack for which accept returns true.
	Logs func(ctx context.Context, accept func(launcher.LogLine) bool) ([]launcher.LogLine, error)
}

// Options describe what is measured.
type Options struct {
	// Root is the folder of the repository. The result contains its revision.
	Root string
	// Clients are the numbers of clients, each at most MaxClients; at least one number.
	Clients []int
	// Duration is how long each load lasts.
	Duration time.Duration
	// Messages says what the users get about their orders, one of MessageChoices.
	Messages string
	// Out gets the progress.
	Out io.Writer
}

// Run prepares users and products and measures the target. The first measurement comes before any load.
func Run(ctx context.Context, stack Target, options Options) (result Result, err error) {
	result = Result{Setting: settingOf(ctx, options.Root, stack), Messages: options.Messages}
	shop, err := openShop(ctx, stack, slices.Max(options.Clients))
	if err != nil {
		return Result{}, fmt.Errorf("preparing the benchmark: %w", err)
	}
	devices := newDevices()
	defer devices.close()
	if err := shop.wish(ctx, options.Messages, devices); err != nil {
		return Result{}, fmt.Errorf("preparing the benchmark: %w", err)
	}
	defer func() { result.Pushed = devices.taken.Load() }()
	err = shop.measure(ctx, stack, options, &result)
	return result, err
}

// settleLimit is how long messages of a load may take after it.
const settleLimit = 30 * time.Second

func (s *shop) measure(ctx context.Context, stack Target, options Options, result *Result) (err error) {
	if result.AtRest, err = sizes(ctx, stack); err != nil {
		return err
	}
	fmt.Fprintln(options.Out, "Placing one order at a time …")
	if result.Unloaded, err = s.oneByOne(ctx, stack); err != nil {
		return err
	}
	for _, clients := range options.Clients {
		fmt.Fprintf(options.Out, "Orders of %s for %s …\n", clientCount(clients), options.Duration)
		busy := measureBusy()
		before, err := stack.Report(ctx)
		if err != nil {
			return err
		}
		load, err := s.orders(ctx, clients, options.Duration)
		if err != nil {
			return err
		}
		if err := settle(ctx, stack, settleLimit); err != nil {
			return err
		}
		after, err := stack.Report(ctx)
		if err != nil {
			return err
		}
		result.Orders = append(result.Orders, load)
		result.Processor = timePerOrder(before, after, load.Done)
		result.Others = measureBusy().others(busy, used(before, after))
	}
	if strings.HasPrefix(stack.Gateway, "https:") {
		fmt.Fprintln(options.Out, "Catalogue reads are not measured: their client does not support TLS.")
	} else {
		fmt.Fprintln(options.Out, "Catalogue reads …")
		if result.Reads, err = s.reads(ctx, min(options.Duration, 10*time.Second)); err != nil {
			return err
		}
	}
	result.AfterUse, err = sizes(ctx, stack)
	return err
}

func sizes(ctx context.Context, stack Target) ([]ProcessSize, error) {
	report, err := stack.Report(ctx)
	if err != nil {
		return nil, err
	}
	all := ProcessSize{Name: "all"}
	var sizes []ProcessSize
	for _, p := range report.Processes {
		size := ProcessSize{Name: p.Name, RSS: megabytes(p.RSS), PSS: megabytes(p.PSS)}
		all.RSS, all.PSS = all.RSS+size.RSS, all.PSS+size.PSS
		sizes = append(sizes, size)
	}
	return append(sizes, all), nil
}

func timePerOrder(before, after launcher.Report, orders int64) []ProcessTime {
	earlier := map[string]process.Work{}
	for _, p := range before.Processes {
		earlier[p.Name] = p.Work
	}
	all, per := ProcessTime{Name: "all"}, float64(max(orders, 1))
	var times []ProcessTime
	for _, p := range after.Processes {
		was := earlier[p.Name]
		one := ProcessTime{
			Name: p.Name, PerOrder: inMilliseconds(p.CPU-was.CPU) / per,
			Switches: float64(p.Switches-was.Switches) / per, Calls: float64(p.Calls-was.Calls) / per,
		}
		all.PerOrder, all.Switches, all.Calls = all.PerOrder+one.PerOrder, all.Switches+one.Switches, all.Calls+one.Calls
		times = append(times, one)
	}
	return append(times, all)
}

// used is the processor time of all processes of a stack between two reports.
func used(before, after launcher.Report) (sum time.Duration) {
	for _, p := range after.Processes {
		sum += p.CPU
	}
	for _, p := range before.Processes {
		sum -= p.CPU
	}
	return sum
}

func megabytes(bytes int64) float64 { return float64(bytes*10>>20) / 10 }

func clientCount(n int) string {
	if n == 1 {
		return "1 client"
	}
	return fmt.Sprintf("%d clients", n)
}

// errLimited is returned when the measured gateway has rate limits.
var errLimited = errors.New("the gateway's rate limits are on; start the stack with: go run ./dapr up --no-limits" +
	" (elsewhere, the gateway with CARAVAN_LIMIT_ENABLED=false)")

func limited(err error) error {
	if client.Status(err) == 429 {
		return errLimited
	}
	return err
}
