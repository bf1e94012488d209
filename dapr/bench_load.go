package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"caravan/dapr/launcher"
	"caravan/dapr/shopclient"
	"caravan/internal/correlation"
	"caravan/internal/id"
	"caravan/internal/money"

	"golang.org/x/sync/errgroup"
)

// maxBenchUsers is the greatest number of clients; each is a user of its own.
const maxBenchUsers = 256

// The products that are ordered: a few are wanted by most, as in a shop.
const (
	benchProducts = 50
	zipfExponent  = 1.1
)

// benchShop is a shop prepared for load: products that do not run out, and
// users whose wallets do not.
type benchShop struct {
	gateway string
	staff   *shopclient.Client
	users   []*shopclient.Client
	weights []float64 // cumulative shares of the products
}

func benchSKU(n int) string { return fmt.Sprintf("BENCH-%03d", n) }

func (c *cli) openBenchShop(ctx context.Context, stack *target) (*benchShop, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = maxBenchUsers
	anonymous := shopclient.New(stack.gateway, &http.Client{Transport: transport, Timeout: 30 * time.Second})
	staff, err := stack.signIn(ctx, "staff")
	if err != nil {
		return nil, limited(err)
	}
	shop := &benchShop{gateway: stack.gateway, staff: staff, weights: zipf(benchProducts)}
	if err := shop.stockUp(ctx); err != nil {
		return nil, limited(err)
	}
	clients, err := parseClients(c.options.bench.clients)
	if err != nil {
		return nil, err
	}
	return shop, shop.enrol(ctx, anonymous, stack.dir, slices.Max(clients))
}

// zipf returns the cumulative shares of n products whose popularity falls with
// their rank.
func zipf(n int) []float64 {
	weights := make([]float64, n)
	sum := 0.0
	for i := range weights {
		sum += 1 / math.Pow(float64(i+1), zipfExponent)
		weights[i] = sum
	}
	for i := range weights {
		weights[i] /= sum
	}
	return weights
}

func (s *benchShop) pick() int {
	at, _ := slices.BinarySearch(s.weights, mathrand.Float64())
	return min(at, len(s.weights)-1)
}

// basket is one or two different products.
func (s *benchShop) basket() []shopclient.Item {
	first := s.pick()
	items := []shopclient.Item{{SKU: benchSKU(first), Quantity: 1}}
	if mathrand.IntN(2) == 0 {
		if second := s.pick(); second != first {
			items = append(items, shopclient.Item{SKU: benchSKU(second), Quantity: 1})
		}
	}
	return items
}

// stockUp creates the products, each with more stock than can be ordered.
func (s *benchShop) stockUp(ctx context.Context) error {
	const plenty = 900_000_000
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for n := range benchProducts {
		group.Go(func() error {
			_, err := s.staff.CreateProduct(ctx, shopclient.Draft{
				SKU: benchSKU(n), Name: fmt.Sprintf("Benchmark product %d", n), Description: "Ordered by the benchmark.",
				Category: "benchmark", Price: money.New(1_00, "EUR"), Stock: plenty,
			})
			if shopclient.Status(err) == http.StatusConflict {
				return nil
			}
			return err
		})
	}
	return group.Wait()
}

// enrol logs the users in, registering those that do not exist, and fills their
// wallets. Their passwords are kept, as a password hash is slow on purpose.
func (s *benchShop) enrol(ctx context.Context, anonymous *shopclient.Client, dir string, count int) error {
	users, err := benchUsers(dir, count)
	if err != nil {
		return err
	}
	s.users = make([]*shopclient.Client, count)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, user := range users[:count] {
		group.Go(func() error {
			client, err := anonymous.Login(ctx, user.Email, user.Password)
			if shopclient.Status(err) == http.StatusUnauthorized {
				if _, err := anonymous.Register(ctx, user.Email, user.Password, "Benchmark"); err != nil {
					return limited(err)
				}
				client, err = anonymous.Login(ctx, user.Email, user.Password)
			}
			if err != nil {
				return limited(err)
			}
			s.users[i] = client
			return fillWallet(ctx, client)
		})
	}
	return group.Wait()
}

func fillWallet(ctx context.Context, client *shopclient.Client) error {
	wallet, err := client.Wallet(ctx)
	if err != nil {
		return limited(err)
	}
	if wallet.Available.Amount >= 500_000_00 {
		return nil
	}
	_, err = client.Deposit(ctx, rand.Text(), money.New(1_000_000_00, "EUR"), shopclient.SourceOK)
	return limited(err)
}

func benchUsers(dir string, count int) ([]launcher.User, error) {
	file := filepath.Join(dir, "secrets", "bench-users.json")
	var users []launcher.User
	raw, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(raw, &users)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	if len(users) >= count {
		return users, nil
	}
	for i := len(users); i < count; i++ {
		users = append(users, launcher.User{
			Email: fmt.Sprintf("bench-%d-%s@caravan.example", i, strings.ToLower(rand.Text()[:6])), Password: strings.ToLower(rand.Text()), Role: "customer",
		})
	}
	return users, writeSecret(file, users)
}

// tally gathers durations and outcomes of a load.
type tally struct {
	mu       sync.Mutex
	took     []time.Duration
	outcomes map[string]int
}

func (t *tally) add(took time.Duration, outcome string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.took = append(t.took, took)
	t.outcomes[outcome]++
}

func (t *tally) load(name string, clients int, elapsed time.Duration) Load {
	slices.Sort(t.took)
	load := Load{
		Name: name, Clients: clients, Seconds: elapsed.Seconds(), Done: int64(len(t.took)), Outcomes: t.outcomes,
		PerSecond: float64(len(t.took)) / elapsed.Seconds(), P50: quantile(t.took, 0.50), P99: quantile(t.took, 0.99),
	}
	if len(t.took) > 0 {
		load.Worst = inMilliseconds(t.took[len(t.took)-1])
	}
	return load
}

// quantile of sorted durations, in milliseconds.
func quantile(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return inMilliseconds(sorted[min(len(sorted)-1, int(q*float64(len(sorted))))])
}

func inMilliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// orders keeps every client placing orders, one after another, each until its
// end is seen; those begun in the time are all awaited.
func (s *benchShop) orders(ctx context.Context, clients int, duration time.Duration) (Load, error) {
	t := &tally{outcomes: map[string]int{}}
	began := time.Now()
	deadline := began.Add(duration)
	group, ctx := errgroup.WithContext(ctx)
	for _, user := range s.users[:clients] {
		group.Go(func() error {
			for time.Now().Before(deadline) && ctx.Err() == nil {
				started := time.Now()
				outcome, err := placeAndAwait(ctx, user, s.basket())
				if err != nil {
					return err
				}
				t.add(time.Since(started), outcome)
			}
			return ctx.Err()
		})
	}
	err := group.Wait()
	return t.load("orders to their end", clients, time.Since(began)), err
}

// placeAndAwait places an order and returns its end, or the kind of error that
// kept the client from seeing one.
func placeAndAwait(ctx context.Context, user *shopclient.Client, items []shopclient.Item) (string, error) {
	accepted, err := user.PlaceOrder(ctx, rand.Text(), shopclient.Placement{Items: items})
	if err != nil {
		return failedOutcome(err)
	}
	order, err := user.AwaitOrder(ctx, accepted.ID)
	if err != nil {
		return failedOutcome(err)
	}
	if order.Reason != "" {
		return order.Status + " (" + order.Reason + ")", nil
	}
	return order.Status, nil
}

func failedOutcome(err error) (string, error) {
	switch status := shopclient.Status(err); {
	case status == http.StatusTooManyRequests:
		return "", errLimited
	case errors.Is(err, context.Canceled):
		return "", err
	case status != 0:
		return fmt.Sprintf("error %d %s", status, shopclient.Slug(err)), nil
	}
	return "no answer", nil
}

// unloadedOrders is how many orders are placed one at a time.
const unloadedOrders = 200

// oneByOne places orders one at a time and finds where their time goes, from
// their timelines and from the log lines with their correlation ids.
func (s *benchShop) oneByOne(ctx context.Context, stack *target) (Unloaded, error) {
	user, ids := s.users[0], id.Random{}
	var took []time.Duration
	steps := map[string][]time.Duration{}
	causes := map[string]bool{}
	const warmUp = 20
	for n := range warmUp + unloadedOrders {
		cause := ids.New()
		started := time.Now()
		accepted, err := user.PlaceOrder(correlation.With(ctx, cause), rand.Text(), shopclient.Placement{Items: s.basket()})
		if err != nil {
			return Unloaded{}, limited(err)
		}
		order, err := user.AwaitOrder(ctx, accepted.ID)
		if err != nil {
			return Unloaded{}, limited(err)
		}
		if n < warmUp {
			continue
		}
		took = append(took, time.Since(started))
		// The edge makes a correlation id of its own.
		causes[accepted.CorrelationID] = true
		for _, moment := range order.Timeline {
			name := strings.TrimSuffix(strings.TrimPrefix(moment.Type, "orders."), ".v1")
			steps[name] = append(steps[name], moment.Time.Sub(order.PlacedAt))
		}
	}
	slices.Sort(took)
	unloaded := Unloaded{Orders: len(took), P50: quantile(took, 0.50), P99: quantile(took, 0.99), Timeline: spans(steps, len(took))}
	hops, err := hopsOf(ctx, stack.logs, causes)
	unloaded.Hops = spans(hops, len(took))
	return unloaded, err
}

func spans(durations map[string][]time.Duration, orders int) []Span {
	var all []Span
	for _, name := range sortedKeys(durations) {
		slices.Sort(durations[name])
		all = append(all, Span{Name: name, Median: quantile(durations[name], 0.50), Calls: float64(len(durations[name])) / float64(orders)})
	}
	slices.SortStableFunc(all, func(a, b Span) int { return int(math.Copysign(1, a.Median-b.Median)) })
	return all
}

// hopsOf reads how long each request with one of the correlation ids took in
// the program that served it.
func hopsOf(ctx context.Context, logs readLogs, causes map[string]bool) (map[string][]time.Duration, error) {
	lines, err := logs(ctx, func(line launcher.LogLine) bool {
		return line.Fields["duration_ms"] != nil && causes[line.Field("correlation_id")]
	})
	if err != nil {
		return nil, err
	}
	hops := map[string][]time.Duration{}
	for _, line := range lines {
		ms, ok := line.Fields["duration_ms"].(float64)
		if !ok {
			continue
		}
		what := line.Field("route")
		if what == "" {
			what = line.Message + " " + line.Field("path")
		}
		name := line.Process + ": " + strings.TrimSpace(what)
		hops[name] = append(hops[name], time.Duration(ms*float64(time.Millisecond)))
	}
	return hops, nil
}

// reads measures product pages: as nobody, which the edge may answer itself,
// and as staff, whose answers no cache may keep.
func (s *benchShop) reads(ctx context.Context, duration time.Duration) ([]Load, error) {
	if _, err := s.staff.Me(ctx); err != nil { // renews the token
		return nil, limited(err)
	}
	var loads []Load
	for _, kind := range []struct{ name, header string }{
		{"product pages, as nobody", ""},
		{"product pages, past the edge", "Authorization: Bearer " + s.staff.Session().AccessToken + "\r\n"},
	} {
		const clients = 64
		load, err := s.readLoad(ctx, kind.name, kind.header, clients, duration)
		if err != nil {
			return nil, err
		}
		loads = append(loads, load)
	}
	return loads, nil
}

func (s *benchShop) readLoad(ctx context.Context, name, header string, clients int, duration time.Duration) (Load, error) {
	address, err := url.Parse(s.gateway)
	if err != nil {
		return Load{}, fmt.Errorf("reading the gateway's address: %w", err)
	}
	host := address.Host
	if address.Port() == "" {
		host = net.JoinHostPort(address.Hostname(), "80")
	}
	requests := make([][]byte, benchProducts)
	for n := range requests {
		requests[n] = fmt.Appendf(nil, "GET %s/v1/products/%s HTTP/1.1\r\nHost: %s\r\n%s\r\n", address.Path, benchSKU(n), address.Host, header)
	}
	tallies := make([]*tally, clients)
	began := time.Now()
	deadline := began.Add(duration)
	group, ctx := errgroup.WithContext(ctx)
	for i := range tallies {
		tallies[i] = &tally{outcomes: map[string]int{}}
		group.Go(func() error { return s.readUntil(ctx, host, requests, deadline, tallies[i]) })
	}
	err = group.Wait()
	elapsed := time.Since(began)
	all := &tally{outcomes: map[string]int{}}
	for _, t := range tallies {
		all.took = append(all.took, t.took...)
		for outcome, count := range t.outcomes {
			all.outcomes[outcome] += count
		}
	}
	if all.outcomes["429"] > 0 {
		return Load{}, errLimited
	}
	return all.load(name, clients, elapsed), err
}

// readUntil sends prepared requests over one connection, one after another. It
// speaks HTTP/1.1 by itself: on a small machine a full client costs as much as
// the gateway that is to be measured.
func (s *benchShop) readUntil(ctx context.Context, host string, requests [][]byte, deadline time.Time, t *tally) error {
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", host)
	if err != nil {
		return fmt.Errorf("connecting to the gateway: %w", err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(deadline.Add(10 * time.Second))
	reader := bufio.NewReaderSize(conn, 16<<10)
	for time.Now().Before(deadline) && ctx.Err() == nil {
		started := time.Now()
		if _, err := conn.Write(requests[s.pick()]); err != nil {
			return fmt.Errorf("asking for a product: %w", err)
		}
		status, err := skipResponse(reader)
		if err != nil {
			return fmt.Errorf("reading a product: %w", err)
		}
		t.add(time.Since(started), status)
	}
	return nil
}

// skipResponse reads one response and returns its status.
func skipResponse(reader *bufio.Reader) (status string, err error) {
	line, err := reader.ReadSlice('\n')
	if err != nil {
		return "", err
	}
	if len(line) < len("HTTP/1.1 200") {
		return "", fmt.Errorf("status line %q", line)
	}
	status = string(line[9:12])
	length := -1
	for {
		line, err := reader.ReadSlice('\n')
		if err != nil {
			return "", err
		}
		if len(line) <= 2 {
			break
		}
		const name = "content-length:"
		if len(line) > len(name) && strings.EqualFold(string(line[:len(name)]), name) {
			if length, err = strconv.Atoi(strings.TrimSpace(string(line[len(name):]))); err != nil {
				return "", fmt.Errorf("header %q", line)
			}
		}
	}
	if length < 0 {
		return "", errors.New("an answer without a Content-Length")
	}
	_, err = io.CopyN(io.Discard, reader, int64(length))
	return status, err
}
