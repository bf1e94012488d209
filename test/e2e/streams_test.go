package e2e

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"caravan/dapr/launcher"
	"caravan/internal/clock"
	"caravan/internal/id"
	"caravan/internal/token"
	"caravan/services/users/adapters/keyring"
	users "caravan/services/users/contract"
	"caravan/test/stacktest"
)

// crowd is the size of TestStreamsOfManyUsers: CARAVAN_E2E_STREAMS is the number of streams, 1000 for the long form. Each of the first
// 1000 has ten events: two of an order and eight of deposits. Every tenth order is refunded in two parts, which has six more.
var crowd = cmp.Or(stacktest.Take("CARAVAN_E2E_STREAMS"), "100")

const (
	// buyersMost is how many of the users do something. Further streams only stay open.
	buyersMost = 1000
	// depositsDuringFaults is how many deposits each buyer makes while processes are killed.
	depositsDuringFaults = 7
	// refundEvery is how many orders there are for each that is refunded.
	refundEvery = 10
	// orderPause is the time between two orders: about half of what two cores sustain.
	orderPause = 40 * time.Millisecond
	// restTime is how long the processor time of open streams is measured, more than two heartbeats.
	restTime = 32 * time.Second
)

// TestStreamsOfManyUsers has two replicas of notifications and of the gateway, and many users with a stream each. First all of them
// order, and staff refund some: every stream has the statuses of its order. Then a replica of notifications and one of the gateway are killed
// while all deposit: the clients connect again. In the end all that came on each stream is compared with what the API has: every status
// and every notification once, in order, and nothing else.
func TestStreamsOfManyUsers(t *testing.T) {
	if settings.broker == "redis-streams" {
		t.Skip("it has no component live")
	}
	streams, err := strconv.Atoi(crowd)
	if err != nil || streams < 1 {
		t.Fatalf("CARAVAN_E2E_STREAMS is %q", crowd)
	}
	s := own(t, launcher.Options{Broker: settings.broker, Store: settings.store, AppReplicas: map[string]int{"notifications": 2, "gateway": 2}})
	sh := open(t, s)
	var products []*product
	for range 10 {
		products = append(products, sh.product(100, int64(streams)))
	}
	sh.products = nil // its people have no passwords, so their orders are not in the books
	gateways := []string{s.GatewayURL(), s.status(t, "gateway-2").URL}
	people := s.crowd(t, streams+1, gateways)
	prober, people := people[streams], people[:streams]
	before := s.uses()
	ctx, leave := context.WithCancel(t.Context())
	var listening sync.WaitGroup
	t.Cleanup(listening.Wait)
	t.Cleanup(leave)
	for _, l := range people {
		listening.Go(func() { l.run(ctx) })
	}
	each := func(what string, condition func(*listener) error) {
		t.Helper()
		began := time.Now()
		for _, l := range people {
			eventually(t, what+" of "+l.user, func() error { return condition(l) })
		}
		t.Logf("%s of all after %s", what, time.Since(began).Round(time.Millisecond))
	}
	all := func(do func(n int, l *listener) error) error {
		group := errgroup.Group{}
		group.SetLimit(16)
		for n, l := range people {
			group.Go(func() error { return do(n, l) })
		}
		return group.Wait()
	}
	opened := func(l *listener) error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if !l.opening {
			return errorf("it is not open")
		}
		return nil
	}
	each("the stream", opened)
	if streams >= buyersMost { // the long form
		s.showRest(t, before, streams)
	}
	people = people[:min(streams, buyersMost)]
	s.heard(t, prober, products[0])

	orders := make([]string, len(people))
	if err = all(func(n int, l *listener) error { return l.deposit(ctx, gateways[n%2]) }); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	err = all(func(n int, l *listener) (err error) {
		time.Sleep(time.Until(began.Add(time.Duration(n) * orderPause))) // a steady rate
		orders[n], err = l.order(ctx, gateways[n%2], products[n%len(products)])
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d orders took %s", len(people), time.Since(began).Round(time.Millisecond))
	each("the statuses", func(l *listener) error { return l.has(orders[slices.Index(people, l)], "confirmed") })
	for n := 0; n < len(people); n += refundEvery {
		path := "/v1/orders/" + orders[n] + "/refund"
		sh.admin.must(http.StatusAccepted, http.MethodPost, path, map[string]any{"amount": euros(40), "reason": "one part"}, nil)
		eventually(t, "the refund of a part", func() error { return people[n].has(orders[n], "confirmed", "confirmed") })
		sh.admin.must(http.StatusAccepted, http.MethodPost, path, map[string]any{"reason": "the rest"}, nil)
		eventually(t, "the refund of the rest", func() error { return people[n].has(orders[n], "confirmed", "confirmed", "refunded") })
	}

	deposits := errgroup.Group{}
	deposits.Go(func() error {
		return all(func(_ int, l *listener) error {
			for range depositsDuringFaults {
				if err := l.deposit(ctx, gateways[0]); err != nil {
					return err
				}
			}
			return nil
		})
	})
	for _, victim := range []string{"notifications-2", "gateway-2"} {
		if err := s.Kill(t.Context(), victim); err != nil {
			t.Fatal(err)
		}
	}
	if err := deposits.Wait(); err != nil {
		t.Fatal(err)
	}
	events, resumed := 0, 0
	var delays []time.Duration
	each("the notifications", func(l *listener) error {
		l.mu.Lock()
		defer l.mu.Unlock()
		want := 1 + 1 + depositsDuringFaults // a deposit, an order and the others
		if slices.Index(people, l)%refundEvery == 0 {
			want += 4 // orders and payments report each refund
		}
		if len(l.notices) != want {
			return errorf("there are %d of %d", len(l.notices), want)
		}
		return nil
	})
	if err = all(func(n int, l *listener) error {
		if err := l.complete(ctx, orders[n]); err != nil {
			return fmt.Errorf("the stream of %s: %w", l.user, err)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	for _, l := range people {
		l.mu.Lock()
		events += len(l.notices)
		for _, had := range l.statuses {
			events += len(had)
		}
		resumed += l.opened - 1
		delays = append(delays, l.delays...)
		l.mu.Unlock()
	}
	slices.Sort(delays)
	t.Logf("%d streams with %d events, opened again %d times; from confirmation to stream p50 %s, p99 %s, max %s", len(people), events, resumed,
		delays[len(delays)/2], delays[len(delays)*99/100], delays[len(delays)-1])
	if resumed == 0 {
		t.Error("no stream was opened again")
	}
}

// uses returns what each process uses.
func (s *stack) uses() map[string]launcher.ProcessReport {
	all := make(map[string]launcher.ProcessReport)
	for _, p := range s.target.(*launched).Stack.Report(time.Now()).Processes {
		all[p.Name] = p
	}
	return all
}

// showRest logs what open streams cost while nothing happens.
func (s *stack) showRest(t *testing.T, before map[string]launcher.ProcessReport, streams int) {
	t.Helper()
	opened := s.uses()
	time.Sleep(restTime) // it measures
	for name, now := range s.uses() {
		if strings.HasPrefix(name, "gateway") || strings.HasPrefix(name, "notifications") {
			t.Logf("%s: %.1f KB of memory more for each of %d streams, %.1f %% of a core at rest", name,
				float64(now.RSS-before[name].RSS)/1024/float64(streams), streams, 100*(now.CPU-opened[name].CPU).Seconds()/restTime.Seconds())
		}
	}
}

// crowd makes people who are signed in. They have no accounts: hashing so many passwords would take minutes.
func (s *stack) crowd(t *testing.T, size int, gateways []string) []*listener {
	t.Helper()
	keys, err := keyring.Open(filepath.Join(s.dir, "secrets", "keys"), time.Hour, rand.Reader, clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	people := make([]*listener, size)
	now := time.Now().Truncate(time.Second)
	for i := range people {
		l := &listener{
			user: id.Random{}.New(), gateways: slices.Clone(gateways),
			statuses: make(map[string][]sighting),
		}
		if i%2 == 1 {
			slices.Reverse(l.gateways)
		}
		l.token, err = keys.Sign(token.Claims{
			Issuer: "caravan", Audience: "caravan-api", ClientID: users.ClientID, Subject: l.user, ID: id.Random{}.New(), SessionID: id.Random{}.New(),
			IssuedAt: now, Expiry: now.Add(30 * time.Minute), AuthTime: now, Version: 1,
			Roles: []string{users.RoleCustomer}, Permissions: users.PermissionsOf([]string{users.RoleCustomer}),
		})
		if err != nil {
			t.Fatal(err)
		}
		people[i] = l
	}
	return people
}

// heard waits until both replicas hear of events: eight further streams of one user, which are spread over both, have the end of an
// order.
func (s *stack) heard(t *testing.T, l *listener, p *product) {
	t.Helper()
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	var probes []*listener
	for n := range 8 {
		probe := &listener{user: l.user, token: l.token, gateways: l.gateways[n%2 : n%2+1], statuses: make(map[string][]sighting)}
		probes = append(probes, probe)
		go probe.run(ctx)
	}
	eventually(t, "both replicas to hear of events", func() error {
		if err := l.deposit(ctx, l.gateways[0]); err != nil {
			return err
		}
		order, err := l.order(ctx, l.gateways[0], p)
		if err != nil {
			return err
		}
		for _, probe := range probes {
			if err := within(3*time.Second, func() error { return probe.has(order, "confirmed") }); err != nil {
				return err
			}
		}
		return nil
	})
}
