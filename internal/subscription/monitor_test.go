package subscription

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/metric/noop"

	"caravan/internal/clock"
	"caravan/internal/event"
	"caravan/internal/sidecar"
)

const appToken = "the-app-token"

// settings are the defaults from the tags.
var settings = Settings{Every: 10 * time.Second, Bound: 30 * time.Second, FirstInterval: time.Minute, MaxInterval: 5 * time.Minute, HandlerTimeout: 2 * time.Minute}

// fakeBroker delivers each message to one of the replicas with a live subscription. It loses messages that are
// published while it is down.
type fakeBroker struct {
	mu       sync.Mutex
	chance   *rand.Rand
	down     bool
	replicas []*fakeReplica
	handed   int
}

// fakeReplica is a consumer's replica with its sidecar.
type fakeReplica struct {
	broker  *fakeBroker
	monitor *Monitor
	name    string

	deaf    bool // its subscription is dead until its sidecar restarts
	hidden  bool // the sidecar lists no subscriptions
	jammed  bool // the sidecar does not shut down in order
	away    bool // the sidecar is down
	hung    bool // the sidecar neither accepts nor refuses what is published
	repairs []time.Time
	forced  int
	useless bool // a new sidecar does not help
}

func (f *fakeReplica) Subscriptions(context.Context) ([]string, error) {
	f.broker.mu.Lock()
	defer f.broker.mu.Unlock()
	if f.away {
		return nil, errors.New("connection refused")
	}
	if f.hidden {
		return nil, nil
	}
	return []string{"orders"}, nil
}

func (f *fakeReplica) Shutdown(_ context.Context, force bool) error {
	f.broker.mu.Lock()
	defer f.broker.mu.Unlock()
	if force {
		f.forced++
	} else if f.jammed {
		return nil // it accepts the request but does not end
	}
	f.repairs = append(f.repairs, time.Now())
	f.away = true
	time.AfterFunc(2*time.Second, func() {
		f.broker.mu.Lock()
		defer f.broker.mu.Unlock()
		f.away, f.hung, f.hidden, f.deaf = false, false, f.hidden && f.useless, f.deaf && f.useless
	})
	return nil
}

func (f *fakeReplica) SendHeartbeat(ctx context.Context, topic string, h sidecar.Heartbeat) error {
	f.broker.mu.Lock()
	hung := f.hung
	f.broker.mu.Unlock()
	if hung {
		<-ctx.Done()
		return ctx.Err()
	}
	raw, err := event.Event{ID: event.ID(h.App, h.Replica, h.Number), Type: sidecar.HeartbeatType, Source: h.App, Subject: h.Replica, Sequence: h.Number, Time: h.Time}.CloudEvent()
	if err != nil {
		return err
	}
	return f.broker.publish(f, topic, string(raw))
}

func (b *fakeBroker) publish(from *fakeReplica, topic, message string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down || from.away {
		return errors.New("no broker")
	}
	var hearing []*fakeReplica
	for _, r := range b.replicas {
		if !r.deaf && !r.hidden && !r.away {
			hearing = append(hearing, r)
		}
	}
	if len(hearing) == 0 {
		return nil // for the publisher, it waits in the queue
	}
	to := hearing[b.chance.IntN(len(hearing))]
	b.handed++
	time.AfterFunc(10*time.Millisecond, func() {
		r := httptest.NewRequest(http.MethodPost, sidecar.EventPath+topic, strings.NewReader(message))
		r.Header.Set("dapr-api-token", appToken)
		to.monitor.Subscriber.Handler().ServeHTTP(httptest.NewRecorder(), r)
	})
	return nil
}

// newReplica makes a replica of the consumer "listener" with the default settings.
func newReplica(t *testing.T, b *fakeBroker, name string) *fakeReplica {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	subscriber := sidecar.NewSubscriber(sidecar.SubscriberOptions{Token: appToken, Log: log, Now: time.Now})
	if err := subscriber.Handle("orders", func(context.Context, event.Event) error {
		t.Error("a heartbeat reached a handler")
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	r := &fakeReplica{broker: b, name: name}
	var err error
	if r.monitor, err = New(Options{
		Topics: []string{"orders"}, App: "listener", Replica: name, Settings: settings, Sidecar: r, Subscriber: subscriber,
		Clock: clock.System{}, Jitter: b.jitter, Log: log, Meter: noop.Meter{},
	}); err != nil {
		t.Fatal(err)
	}
	return r
}

// watching runs the monitors of some replicas for a period of virtual time. The test can change things in between.
func watching(t *testing.T, replicas int, life time.Duration, between func(b *fakeBroker)) *fakeBroker {
	t.Helper()
	b := &fakeBroker{chance: rand.New(rand.NewPCG(rand.Uint64(), uint64(replicas)))}
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(context.Background())
		var running sync.WaitGroup
		for n := range replicas {
			b.replicas = append(b.replicas, newReplica(t, b, strconv.Itoa(n)))
		}
		for _, r := range b.replicas {
			running.Go(func() { _ = r.monitor.Run(ctx) })
		}
		time.Sleep(5 * time.Minute)
		between(b)
		time.Sleep(life)
		stop()
		running.Wait()
		synctest.Wait()
		time.Sleep(time.Minute) // for messages that are still on their way
	})
	return b
}

func (b *fakeBroker) jitter() float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.chance.Float64()
}

func (b *fakeBroker) change(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
}

func TestLivingSubscriptionsAreLeftAlone(t *testing.T) {
	for _, replicas := range []int{1, 2, 5, 12} {
		b := watching(t, replicas, 3*time.Hour, func(*fakeBroker) {})
		if b.handed < replicas*1000 {
			t.Errorf("only %d heartbeats went round among %d replicas", b.handed, replicas)
		}
		for _, r := range b.replicas {
			if len(r.repairs) > 0 {
				t.Errorf("%d replicas: number %s had its sidecar restarted %d times for nothing", replicas, r.name, len(r.repairs))
			}
		}
	}
}

// A replica that has just started does not know the others, and may get nothing for a while by chance.
func TestReplicasThatJustStartedAreLeftAlone(t *testing.T) {
	for n := range 40 {
		b := watching(t, 12, 0, func(*fakeBroker) {})
		for _, r := range b.replicas {
			if len(r.repairs) > 0 {
				t.Fatalf("start %d: replica %s had its sidecar restarted %d times for nothing", n+1, r.name, len(r.repairs))
			}
		}
	}
}

func TestADeadSubscriptionIsRepaired(t *testing.T) {
	var began time.Time
	b := watching(t, 1, 20*time.Minute, func(b *fakeBroker) {
		b.change(func() { b.replicas[0].deaf, began = true, time.Now() })
	})
	r := b.replicas[0]
	if len(r.repairs) != 1 {
		t.Fatalf("its sidecar was restarted %d times", len(r.repairs))
	}
	if took := r.repairs[0].Sub(began); took > time.Minute {
		t.Errorf("it took %s to see it", took)
	}
	if p := r.monitor.Health()["orders"]; p.Dead || p.Repairs != 1 || p.LastDelivery == nil {
		t.Errorf("it fares %+v afterwards", p)
	}
}

func TestAnUnlistedSubscriptionIsRepaired(t *testing.T) {
	b := watching(t, 1, 20*time.Minute, func(b *fakeBroker) { b.change(func() { b.replicas[0].hidden = true }) })
	if n := len(b.replicas[0].repairs); n != 1 {
		t.Errorf("its sidecar was restarted %d times", n)
	}
}

func TestOnlyTheReplicaWithoutDeliveriesIsRepaired(t *testing.T) {
	b := watching(t, 4, time.Hour, func(b *fakeBroker) { b.change(func() { b.replicas[2].deaf = true }) })
	for i, r := range b.replicas {
		if want := map[bool]int{true: 1}[i == 2]; len(r.repairs) != want {
			t.Errorf("the sidecar of replica %d was restarted %d times", i, len(r.repairs))
		}
	}
}

// While the broker is unavailable, nothing is known about a subscription. A sidecar that was ended could not start
// again, and then everything else that the program does through it would stop too.
func TestAnUnavailableBrokerIsNoReasonForARepair(t *testing.T) {
	b := watching(t, 2, 2*time.Hour, func(b *fakeBroker) { b.change(func() { b.down = true }) })
	for _, r := range b.replicas {
		if len(r.repairs) > 0 {
			t.Errorf("the sidecar of replica %s was restarted %d times", r.name, len(r.repairs))
		}
		if err := r.monitor.Check(); err != nil {
			t.Errorf("replica %s is not ready: %v", r.name, err)
		}
	}
}

// A component whose calls never return blocks its subscriptions and its publishing at the same time.
func TestAHangingSidecarIsRepaired(t *testing.T) {
	var began time.Time
	b := watching(t, 1, time.Hour, func(b *fakeBroker) {
		b.change(func() { b.replicas[0].deaf, b.replicas[0].hung, began = true, true, time.Now() })
	})
	r := b.replicas[0]
	if len(r.repairs) != 1 || r.repairs[0].Sub(began) < 5*time.Minute || r.repairs[0].Sub(began) > 7*time.Minute {
		t.Errorf("its sidecar was restarted at %v; it hung from %v", r.repairs, began)
	}
}

func TestASubscriptionLostInAnOutageIsRepairedAfterIt(t *testing.T) {
	var back time.Time
	b := watching(t, 1, time.Hour, func(b *fakeBroker) {
		b.change(func() { b.down, b.replicas[0].deaf = true, true })
		time.Sleep(10 * time.Minute)
		b.change(func() { b.down, back = false, time.Now() })
	})
	r := b.replicas[0]
	if len(r.repairs) != 1 || r.repairs[0].Before(back) || r.repairs[0].Sub(back) > 3*time.Minute {
		t.Errorf("its sidecar was restarted at %v; the broker was back at %v", r.repairs, back)
	}
}

func TestTheIntervalBetweenFutileRepairsGrows(t *testing.T) {
	b := watching(t, 1, time.Hour, func(b *fakeBroker) { b.change(func() { b.replicas[0].deaf, b.replicas[0].useless = true, true }) })
	r := b.replicas[0]
	if n := len(r.repairs); n < 10 || n > 16 {
		t.Fatalf("%d restarts within an hour", n)
	}
	for i, at := range r.repairs[1:] {
		least := min(time.Minute<<i, 5*time.Minute)
		if gap := at.Sub(r.repairs[i]); gap < least {
			t.Errorf("restart %d came %s after the one before; want %s at least", i+2, gap, least)
		}
	}
	if r.monitor.Check() == nil {
		t.Error("the program says that it is ready")
	}
}

func TestASidecarThatDoesNotEndInOrderIsForcedTo(t *testing.T) {
	b := watching(t, 1, 10*time.Minute, func(b *fakeBroker) { b.change(func() { b.replicas[0].deaf, b.replicas[0].jammed = true, true }) })
	if r := b.replicas[0]; r.forced != 1 || len(r.repairs) != 1 {
		t.Errorf("it was forced %d times and ended %d times", r.forced, len(r.repairs))
	}
}
