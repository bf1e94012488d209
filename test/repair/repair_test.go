package repair

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"caravan/dapr/launcher"
)

// TestBrokerKilledAgainAndAgain kills the broker under load. The first time, the queues are new, and the broker may
// lose their leaders. Each time every sidecar loses its subscriptions at once.
func TestBrokerKilledAgainAndAgain(t *testing.T) {
	rounds := 3
	if n, err := strconv.Atoi(settings.rounds); err == nil {
		rounds = n
	}
	s := start(t, launcher.Options{}) // a new broker with new queues
	stop := s.load()
	var slowest time.Duration
	for round := range rounds {
		time.Sleep(time.Duration(round%7) * 200 * time.Millisecond) // so that the moment varies
		life := s.status("broker").PID
		if err := s.Kill("broker", syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		s.await("the broker's next life", func() bool { status := s.status("broker"); return status.PID != life && status.State == "ready" })
		took := s.pushed()
		slowest = max(slowest, took)
		t.Logf("round %d: events of all topics are pushed again after %s", round+1, took.Round(10*time.Millisecond))
	}
	stop()
	t.Logf("%d kills; the slowest return took %s; %d queues without a leader were repaired; %d sidecars were restarted",
		rounds, slowest.Round(10*time.Millisecond), s.elections(), s.restarts())
}

// TestQueueWithoutALeader makes the broker forget the members of its queues. It does that itself when it is killed just
// after they were declared. When it is started again, it creates members that elect no leader without a command.
func TestQueueWithoutALeader(t *testing.T) {
	s := start(t, launcher.Options{})
	s.pushed()
	told := s.elections()
	life := s.status("broker").PID
	forgotten := s.evaluate(`{ok, Directory} = ra_system:lookup_name(quorum_queues, directory_rev),
		[begin {Name, _} = amqqueue:get_pid(Q), ok = dets:delete(Directory, Name) end || Q <- rabbit_amqqueue:list()], dets:sync(Directory).`)
	if strings.TrimSpace(forgotten) != "ok" {
		t.Fatalf("forgetting answers %s", forgotten)
	}
	if err := s.Kill("broker", syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.await("the broker's next life", func() bool { status := s.status("broker"); return status.PID != life && status.State == "ready" })
	t.Logf("events of all topics are pushed again after %s", s.pushed().Round(10*time.Millisecond))
	if s.elections() == told {
		t.Error("no queue was told to elect a leader: the test did not break what it says")
	}
}

// TestSubscriptionWithoutDeliveries unbinds a queue from its topic. Connection, consumer and sidecar are healthy, but
// no event will arrive. Only a heartbeat detects that.
func TestSubscriptionWithoutDeliveries(t *testing.T) {
	s := start(t, launcher.Options{})
	s.pushed()
	before := s.restarts()
	sidecar := s.status(consumer + "-daprd").PID
	if got := s.evaluate(`[rabbit_binding:remove(B, <<"test">>) || B <- rabbit_binding:list(<<"/">>), element(4, element(2, B)) =:= <<"orders">>].`); !strings.Contains(got, "ok") {
		t.Fatalf("unbinding answers %s", got)
	}
	id, err := s.publish("orders")
	if err != nil {
		t.Fatal(err)
	}
	s.await("another sidecar", func() bool { pid := s.status(consumer + "-daprd").PID; return pid != sidecar && pid != 0 })
	t.Logf("events of all topics are pushed again after %s", s.pushed().Round(10*time.Millisecond))
	if strings.Contains(s.log(consumer), `"event":"`+id+`"`) {
		t.Error("the event was pushed before anything was repaired: the test did not break what it says")
	}
	if n := s.restarts() - before; n != 1 {
		t.Errorf("the consumer says that it restarted its sidecar %d times", n)
	}
}

// TestBrokerFrozen stops the broker without closing a connection, for longer than the heartbeats of AMQP allow. The
// sidecar is not restarted in that time, because without a broker a new one could not start.
func TestBrokerFrozen(t *testing.T) {
	s := start(t, launcher.Options{})
	s.pushed()
	sidecar := s.status(consumer + "-daprd").PID
	if err := s.Kill("broker", syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(25 * time.Second) // the connection ends after twice the 10 s of components/rabbitmq/pubsub.yaml
	if got := s.status(consumer + "-daprd"); got.PID != sidecar {
		t.Errorf("the sidecar was ended while the broker was unavailable: %+v", got)
	}
	if err := s.Kill("broker", syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	t.Logf("events of all topics are pushed again after %s", s.pushed().Round(10*time.Millisecond))
}

// TestHeartbeatsOnEveryBroker shows that heartbeats come back through each broker, also on the topic of dead letters,
// reach no handler, and cause no repair.
func TestHeartbeatsOnEveryBroker(t *testing.T) {
	for _, broker := range launcher.Brokers() {
		if broker == "auto" || broker == "rabbitmq" && settings.long == "" {
			continue // the other tests show it for this broker
		}
		t.Run(broker, func(t *testing.T) {
			bound := map[string]string{"CARAVAN_HEARTBEAT_BOUND": "20s"} // a broker may pause for some seconds
			s := start(t, launcher.Options{Broker: broker, Env: map[string]map[string]string{consumer: bound}})
			for range 2 { // twice: it has not ended after the first heartbeats
				asked := time.Now()
				s.await("heartbeats from every topic", func() bool {
					heard := s.heard()
					for _, topic := range append([]string{consumer + ".dead"}, topics...) {
						if ago, ok := heard[topic]; !ok || ago > time.Since(asked) {
							return false
						}
					}
					return true
				})
			}
			time.Sleep(25 * time.Second) // longer than the bound
			if n := s.restarts(); n != 0 {
				t.Errorf("the sidecar was ended %d times", n)
			}
			if log := s.log(consumer); strings.Contains(log, "caravan.heartbeat") {
				t.Error("a heartbeat reached a handler")
			}
		})
	}
}

// TestSubscribedWhileTheBrokerWasDown lets the sidecar subscribe while the broker is unavailable, for longer than the
// minute that its component waits.
func TestSubscribedWhileTheBrokerWasDown(t *testing.T) {
	if settings.long == "" {
		t.Skip("takes two minutes: set CARAVAN_REPAIR_LONG")
	}
	s := start(t, launcher.Options{})
	s.pushed()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	// A sidecar connects before its program is ready, and subscribes after it.
	connected := func() int { return strings.Count(s.log(consumer+"-daprd"), "waiting on port") }
	before := connected()
	for _, step := range []func() error{
		func() error { return s.StopProcess(ctx, consumer) },
		func() error { return s.StopProcess(ctx, consumer+"-daprd") },
		func() error { return s.Raise(consumer + "-daprd") },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	s.await("the sidecar to be connected", func() bool { return connected() > before })
	if err := s.Crash(ctx, "broker"); err != nil {
		t.Fatal(err)
	}
	if err := s.Raise(consumer); err != nil {
		t.Fatal(err)
	}
	s.await("the component to give up", func() bool {
		return strings.Contains(s.log(consumer+"-daprd"), "Failed to start subscription")
	})
	if err := s.Raise("broker"); err != nil {
		t.Fatal(err)
	}
	if err := s.AwaitProcess(ctx, "broker"); err != nil {
		t.Fatal(err)
	}
	t.Logf("events of all topics are pushed after %s; the sidecar was restarted %d times", s.pushed().Round(10*time.Millisecond), s.restarts())
}

// heard returns how long ago something came from each topic, from the consumer's readiness.
func (s *stack) heard() map[string]time.Duration {
	s.t.Helper()
	response, err := s.client.Get(s.status(consumer).URL + "/readyz")
	if err != nil {
		return nil
	}
	defer response.Body.Close()
	var answer struct {
		Subscriptions map[string]struct {
			LastDelivery *float64 `json:"lastDeliverySeconds"`
		} `json:"subscriptions"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		s.t.Fatal(err)
	}
	heard := make(map[string]time.Duration)
	for topic, health := range answer.Subscriptions {
		if health.LastDelivery != nil {
			heard[topic] = time.Duration(*health.LastDelivery * float64(time.Second))
		}
	}
	return heard
}

// restarts returns how often the consumer has ended its sidecar.
func (s *stack) restarts() int { return strings.Count(s.log(consumer), "the sidecar is asked to end") }

// elections returns how often the broker made a queue elect a leader.
func (s *stack) elections() int { return strings.Count(s.log("broker"), "told to elect") }

// await waits until something has happened.
func (s *stack) await(what string, happened func() bool) {
	s.t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for !happened() {
		if time.Now().After(deadline) {
			s.t.Fatalf("waiting for %s\n%s", what, s.tail())
		}
		time.Sleep(50 * time.Millisecond)
	}
}
