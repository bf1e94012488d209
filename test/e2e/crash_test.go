package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"caravan/dapr/launcher/process"
	"caravan/internal/id"
)

// TestEachProcessCrashes ends every process in turn by SIGKILL while orders come in. The target restarts it. Orders may
// be refused for a moment. Accepted orders are confirmed, and a refused order only needs to be repeated with its key.
func TestEachProcessCrashes(t *testing.T) {
	s := shared(t)
	for _, victim := range s.processes(t) {
		t.Run(victim.Name, func(t *testing.T) {
			sh := open(t, s)
			l := &load{customer: sh.customer(1_000_000), product: sh.product(100, 10_000)}
			ended := l.run(func() {
				l.accepts(t, "before the crash")
				before := s.status(t, victim.Name)
				if err := s.Kill(t.Context(), victim.Name); err != nil {
					t.Fatal(err)
				}
				killed := time.Now()
				var running time.Duration
				eventually(t, victim.Name+" to serve again", func() error {
					now := s.status(t, victim.Name)
					if now.PID == 0 || now.PID == before.PID {
						return errorf("it is %s as process %d, as before %d", now.State, now.PID, before.PID)
					}
					if running == 0 {
						running = time.Since(killed)
					}
					return s.Serves(t.Context(), victim.Name)
				})
				t.Logf("%s runs again after %s and serves after %s", victim.Name, running.Round(100*time.Millisecond), time.Since(killed).Round(100*time.Millisecond))
				l.accepts(t, "after the crash")
			})
			t.Log(ended)
			for _, o := range l.customer.orders {
				l.customer.await(o).expect(t, "confirmed", "")
			}
		})
	}
	eventually(t, "every process to be ready", func() error {
		for _, status := range s.processes(t) {
			if status.State != process.Ready {
				return errorf("%s is %s", status.Name, status.State)
			}
		}
		return nil
	})
}

// load is a customer who places ten orders a second, with or without answers.
type load struct {
	customer *customer
	product  *product

	mu       sync.Mutex
	accepted int
	refused  []refusal
}

// refusal is an order that was not accepted, and its time.
type refusal struct {
	key, why  string
	from, to  time.Time
	connected bool // the gateway answered
}

// run places orders while happen runs, and then repeats the refused ones. It returns a summary.
func (l *load) run(happen func()) string {
	ctx, stop := context.WithCancel(context.Background())
	var placing sync.WaitGroup
	placing.Go(func() {
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				placing.Go(l.place)
			}
		}
	})
	func() { // also stops when the test fails
		defer placing.Wait()
		defer stop()
		happen()
	}()
	for _, r := range l.refused {
		order(l.customer, items(l.product, 1), r.key)
	}
	if len(l.refused) == 0 {
		return fmt.Sprintf("%d orders accepted, none refused", l.accepted)
	}
	from, to, unanswered := l.refused[0].from, l.refused[0].to, 0
	for _, r := range l.refused {
		if r.from.Before(from) {
			from = r.from
		}
		if r.to.After(to) {
			to = r.to
		}
		if !r.connected {
			unanswered++
		}
	}
	return fmt.Sprintf("%d orders accepted, %d refused in %s, %d of them without an answer; the first: %s",
		l.accepted, len(l.refused), to.Sub(from).Round(100*time.Millisecond), unanswered, l.refused[0].why)
}

func (l *load) place() {
	r := refusal{key: id.Random{}.New(), from: time.Now()}
	got, err := l.customer.call(http.MethodPost, "/v1/orders", items(l.product, 1), idempotent(r.key))
	r.to = time.Now()
	if err == nil && got.status == http.StatusAccepted {
		_, order, _ := strings.Cut(got.header.Get("Location"), "/v1/orders/")
		l.customer.remember(order)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.accepted++
		return
	}
	r.connected, r.why = err == nil, got.String()
	if err != nil {
		r.why = err.Error()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused = append(l.refused, r)
}

// accepts waits until several orders in a row are accepted.
func (l *load) accepts(t *testing.T, when string) {
	t.Helper()
	const enough = 5
	count := func() (accepted, refused int) {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.accepted, len(l.refused)
	}
	from, refused := count()
	eventually(t, "orders to be accepted "+when, func() error {
		now, refusals := count()
		if refusals != refused {
			from, refused = now, refusals
		}
		if now < from+enough {
			return errorf("%d in a row", now-from)
		}
		return nil
	})
}

// TestStoppedAndStarted stops everything in order and starts it again: the shop is unchanged.
func TestStoppedAndStarted(t *testing.T) {
	s := shared(t)
	sh := open(t, s)
	p, c := sh.product(100, 50), sh.customer(5000)
	before := c.buys(p, 2)
	before.expect(t, "confirmed", "")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	began := time.Now()
	if err := s.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("stopped and started in %s", time.Since(began).Round(100*time.Millisecond))
	if err := s.getReady(); err != nil {
		t.Fatal(err)
	}
	var after orderBody
	c.get("/v1/orders/"+before.ID, &after)
	if after.Status != before.Status || after.Total != before.Total || len(after.Timeline) != len(before.Timeline) {
		t.Errorf("the order was %+v and is %+v", before, after)
	}
	c.buys(p, 1).expect(t, "confirmed", "")
}
