package metrics

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// marker is a part of values that must not be in any label.
const marker = "zqmarker"

// TestMetrics runs one stack: with orders, an order that waits, a dead letter, a lost sidecar and requests to paths that do not exist.
func TestMetrics(t *testing.T) {
	s := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	user := s.customer(ctx, marker+"@caravan.example")
	done := s.place(ctx, user)
	if order, err := user.AwaitOrder(ctx, done); err != nil || order.Status != "confirmed" {
		t.Fatalf("the order is %+v, %v", order, err)
	}
	s.poison(ctx)
	waiting := s.waits(ctx, func() string { return s.place(ctx, user) })
	s.repeats(ctx)
	for i := range 100 {
		s.get(ctx, fmt.Sprintf("/v1/%s-%d", marker, i))
		s.get(ctx, fmt.Sprintf("/v1/products/%s-%d?%s=1", marker, i, marker))
	}
	t.Run("every target is up", func(*testing.T) { s.targets() })
	t.Run("every metric is served", func(t *testing.T) { s.served(t) })
	t.Run("labels are bounded", func(t *testing.T) { s.bounded(t, []string{marker, done, waiting}) })
	t.Run("the store is started again", func(t *testing.T) { s.restarted(ctx, t) })
}

// waits has an order wait for payments until that is seen in the store, and then end. It returns the order's id.
func (s *stack) waits(ctx context.Context, place func() string) string {
	s.t.Helper()
	if err := s.StopProcess(ctx, "payments"); err != nil {
		s.t.Fatal(err)
	}
	order := place()
	for _, query := range []string{`sum(caravan_orders_waiting{step="authorize"}) > 0`, `max(dapr_resiliency_cb_state{app="orders",status="open"}) > 0`, `sum(caravan_deadletters_open) == 1`} {
		s.await(query, nil, func() error { _, err := s.value(query); return err })
	}
	if err := s.StartProcess(ctx, "payments"); err != nil {
		s.t.Fatal(err)
	}
	s.await("no order to wait", nil, func() error {
		if value, err := s.value(`sum(caravan_orders_waiting)`); err == nil {
			return fmt.Errorf("%s wait", value)
		}
		return nil
	})
	return order
}

// repeats has the gateway send a call a second time, because the sidecar of products is gone.
func (s *stack) repeats(ctx context.Context) {
	s.t.Helper()
	if err := s.StopProcess(ctx, "products-daprd"); err != nil {
		s.t.Fatal(err)
	}
	s.await("a repeated call", func() { s.get(ctx, "/v1/products") }, func() error {
		_, err := s.value(`sum(gateway_repeats_total) > 0`)
		return err
	})
	s.await("a program without its sidecar to be seen", nil, func() error {
		_, err := s.value(`up{job="programs"} == 1 unless on (instance) up{job="sidecars"} == 1`)
		return err
	})
	if err := s.StartProcess(ctx, "products-daprd"); err != nil {
		s.t.Fatal(err)
	}
}

// targets checks that the store scrapes programs, sidecars, broker and stores.
func (s *stack) targets() {
	s.t.Helper()
	for job, want := range map[string]int{"programs": 6, "sidecars": 6, "broker": 1, "stores": 2} {
		s.await(job+" to be up", nil, func() error {
			value, err := s.value(`sum(up{job="` + job + `"})`)
			if err == nil && value != fmt.Sprint(want) {
				return fmt.Errorf("%s of %d are up", value, want)
			}
			return err
		})
	}
}

// served checks that each metric exists that a rule or a dashboard uses, with the labels by which it is selected.
func (s *stack) served(t *testing.T) {
	checked := map[string]bool{}
	for _, query := range expressions(t) {
		metrics := used(query.text)
		if len(metrics) == 0 {
			t.Errorf("%s: no metric was found in %s", query.of, query.text)
		}
		for name, labels := range metrics {
			all, err := s.series(name)
			if err != nil {
				t.Fatal(err)
			}
			if len(all) == 0 {
				t.Errorf("%s: nobody serves %s", query.of, name)
				continue
			}
			for _, label := range labels {
				if !slices.ContainsFunc(all, func(one map[string]string) bool { return one[label] != "" }) {
					t.Errorf("%s: %s has no label %s; one is %v", query.of, name, label, all[0])
				}
			}
			checked[name] = true
		}
		var result any
		if err := s.ask("/api/v1/query", map[string][]string{"query": {query.text}}, &result); err != nil {
			t.Errorf("%s: %v", query.of, err)
		}
	}
	t.Logf("%d metrics: %s", len(checked), strings.Join(slices.Sorted(maps.Keys(checked)), " "))
}

// bounded checks that no label has a value that a client chose, and that there are few series.
func (s *stack) bounded(t *testing.T, chosen []string) {
	all, err := s.series(`{job!=""}`)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]map[string]bool{}
	for _, one := range all {
		for label, value := range one {
			for _, forbidden := range chosen {
				if strings.Contains(value, forbidden) {
					t.Errorf("the label %s has %q: %v", label, value, one)
				}
			}
			if values[label] == nil {
				values[label] = map[string]bool{}
			}
			values[label][value] = true
		}
	}
	const most = 8000
	t.Logf("%d series, %d routes", len(all), len(values["http_route"]))
	if len(all) < 1000 || len(all) > most {
		t.Errorf("there are %d series", len(all))
	}
	for label, of := range values {
		if label != "__name__" && len(of) > 150 {
			t.Errorf("the label %s has %d values", label, len(of))
		}
	}
}

// restarted checks that a killed store comes back and still has what it had.
func (s *stack) restarted(ctx context.Context, t *testing.T) {
	s.logCosts(t)
	time.Sleep(6 * time.Second) // what it got in the last 5 seconds is only in its memory
	if err := s.Kill("metricstore", syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.await("the store to be started again", nil, func() error {
		status, err := s.Process("metricstore")
		if err == nil && status.Restarts == 0 {
			return fmt.Errorf("it is %s", status.State)
		}
		return err
	})
	if err := s.AwaitProcess(ctx, "metricstore"); err != nil {
		t.Fatal(err)
	}
	all, err := s.series(`caravan_deadletters_open`)
	if err != nil || len(all) == 0 {
		t.Errorf("it has %v, %v", all, err)
	}
}

// logCosts logs what the store has needed so far.
func (s *stack) logCosts(t *testing.T) {
	for _, process := range s.Report(time.Now()).Processes {
		if process.Name == "metricstore" {
			t.Logf("it has %d MB, and used %s of processor time in %s", process.PSS>>20, process.CPU.Round(10*time.Millisecond),
				time.Since(process.Since).Round(time.Second))
		}
	}
}
