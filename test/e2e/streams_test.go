package e2e

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
// 1000 has ten events: two of an order and eight of deposits.
var crowd = cmp.Or(stacktest.Take("CARAVAN_E2E_STREAMS"), "100")

const (
	// buyersMost is how many of the users do something. Further streams only stay open.
	buyersMost = 1000
	// depositsDuringFaults is how many deposits each buyer makes while processes are killed.
	depositsDuringFaults = 7
	// orderPause is the time between two orders: about half of what two cores sustain.
	orderPause = 40 * time.Millisecond
	// restTime is how long the processor time of open streams is measured, more than two heartbeats.
	restTime = 32 * time.Second
)

// listener is a user with a stream, which is opened again where it was whenever it ends.
type listener struct {
	user, token string
	gateways    []string

	mu       sync.Mutex
	opened   int
	opening  bool
	position int   // of the newest notification
	wrong    error // the first thing that is out of order
	seen     int   // notifications
	statuses map[string][]int64
	last     map[string]string // status, by order
	delays   []time.Duration   // from the confirmation of an order
}

// run follows the stream until ctx ends.
func (l *listener) run(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		if err := l.connect(ctx, l.gateways[n%len(l.gateways)]); err != nil || ctx.Err() == nil {
			select {
			case <-time.After(200 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}
}

func (l *listener) connect(ctx context.Context, gateway string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, gateway+"/v1/notifications/stream", nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+l.token)
	l.mu.Lock()
	request.Header.Set("Last-Event-ID", strconv.Itoa(l.position))
	l.mu.Unlock()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	defer l.set(func() { l.opening = false })
	var name, data string
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "event":
			name = value
		case "data":
			data = value
		case "":
			l.take(name, []byte(data))
			name = ""
		}
	}
	return nil
}

func (l *listener) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

// take takes one event and checks that it is the next one.
func (l *listener) take(name string, data []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var event struct {
		Position        int
		OrderID, Status string
		Sequence        int64
		OccurredAt      time.Time
	}
	if name == "" || json.Unmarshal(data, &event) != nil {
		return
	}
	switch name {
	case "open":
		l.opened++
		l.opening = true
	case "notification":
		if event.Position != l.position+1 {
			l.wrong = cmp.Or(l.wrong, fmt.Errorf("notification %d follows %d", event.Position, l.position))
		}
		l.position, l.seen = event.Position, l.seen+1
	case "order":
		had := l.statuses[event.OrderID]
		if len(had) > 0 && event.Sequence <= had[len(had)-1] {
			l.wrong = cmp.Or(l.wrong, fmt.Errorf("status %d of an order follows %v", event.Sequence, had))
		}
		l.statuses[event.OrderID], l.last[event.OrderID] = append(had, event.Sequence), event.Status
		if event.Status == "confirmed" {
			l.delays = append(l.delays, time.Since(event.OccurredAt))
		}
	default:
		if name != "end" {
			l.wrong = cmp.Or(l.wrong, fmt.Errorf("an unexpected event %q", name))
		}
	}
}

// call sends a request of the user to a gateway.
func (l *listener) call(ctx context.Context, gateway, path string, body any, want int) ([]byte, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	key := id.Random{}.New()
	var got []byte
	err = within(waitLimit, func() error { // a gateway that was killed comes back
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, gateway+path, bytes.NewReader(raw))
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", "Bearer "+l.token)
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Idempotency-Key", `"`+key+`"`)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if got, err = io.ReadAll(response.Body); err == nil && response.StatusCode != want {
			err = errorf("%s is answered with %s: %s", path, response.Status, got)
		}
		return err
	})
	return got, err
}

func (l *listener) deposit(ctx context.Context, gateway string) error {
	_, err := l.call(ctx, gateway, "/v1/wallet/deposits", map[string]any{"amount": 1000, "currency": currency, "source": "tok_ok"}, http.StatusCreated)
	return err
}

// ended returns an error until the stream has the end of an order, which is the only status of it that is published.
func (l *listener) ended(order string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last[order] != "confirmed" || len(l.statuses[order]) != 1 {
		return errorf("the statuses of the order are %v, at last %q", l.statuses[order], l.last[order])
	}
	return nil
}

// TestStreamsOfManyUsers has two replicas of notifications and of the gateway, and many users with a stream each. First all of them
// order: every stream has the end of its order. Then a replica of notifications and one of the gateway are killed
// while all deposit: the clients connect again, and every stream has every notification once, in the order of the inbox.
func TestStreamsOfManyUsers(t *testing.T) {
	if settings.broker == "redis-streams" {
		t.Skip("it has no component live")
	}
	streams, err := strconv.Atoi(crowd)
	if err != nil || streams < 1 {
		t.Fatalf("CARAVAN_E2E_STREAMS is %q", crowd)
	}
	s := own(t, launcher.Options{Broker: settings.broker, Store: settings.store, Replicas: map[string]int{"notifications": 2, "gateway": 2}})
	sh := open(t, s)
	var products []*product
	for range 10 {
		products = append(products, sh.product(100, int64(streams)))
	}
	sh.products = nil // its people have no passwords, so their orders are not in the books
	gateways := []string{s.GatewayURL(), s.status(t, "gateway-2").URL}
	people := s.crowd(t, streams, gateways)
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
	s.heard(t, people[0], products[0])

	orders := make([]string, len(people))
	if err = all(func(n int, l *listener) error { return l.deposit(ctx, gateways[n%2]) }); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	err = all(func(n int, l *listener) error {
		time.Sleep(time.Until(began.Add(time.Duration(n) * orderPause))) // a steady rate
		raw, err := l.call(ctx, gateways[n%2], "/v1/orders", items(products[n%len(products)], 1), http.StatusAccepted)
		var accepted acceptedBody
		if err = cmp.Or(err, json.Unmarshal(raw, &accepted)); err == nil {
			orders[n] = accepted.ID
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d orders took %s", len(people), time.Since(began).Round(time.Millisecond))
	each("the statuses", func(l *listener) error { return l.ended(orders[slices.Index(people, l)]) })

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
		if l == people[0] {
			want = l.seen // it made more orders
		}
		if l.seen != want {
			return errorf("there are %d of %d", l.seen, want)
		}
		return nil
	})
	for _, l := range people {
		l.mu.Lock()
		if l.wrong != nil {
			t.Errorf("the stream of %s: %v", l.user, l.wrong)
		}
		events += l.seen
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
			statuses: make(map[string][]int64), last: make(map[string]string),
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
		probe := &listener{user: l.user, token: l.token, gateways: l.gateways[n%2 : n%2+1], statuses: make(map[string][]int64), last: make(map[string]string)}
		probes = append(probes, probe)
		go probe.run(ctx)
	}
	eventually(t, "both replicas to hear of events", func() error {
		if err := l.deposit(ctx, l.gateways[0]); err != nil {
			return err
		}
		raw, err := l.call(ctx, l.gateways[0], "/v1/orders", items(p, 1), http.StatusAccepted)
		var accepted acceptedBody
		if err = cmp.Or(err, json.Unmarshal(raw, &accepted)); err != nil {
			return err
		}
		for _, probe := range probes {
			if err := within(3*time.Second, func() error { return probe.ended(accepted.ID) }); err != nil {
				return err
			}
		}
		return nil
	})
}
