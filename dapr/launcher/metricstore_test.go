package launcher

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// observedFully is a stack with Observe full that was prepared and not started.
func observedFully(t *testing.T) *Stack {
	t.Helper()
	s, err := newStack(Options{Root: filepath.Join("..", ".."), Dir: t.TempDir(), Observe: ObserveFull})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(s.dir, "logs"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.prepareObserved(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.observed.close()
		s.ports.Release()
	})
	s.tokens.app = "the-token"
	s.scraped = []scraped{{"orders", "orders", 3001, 3801}, {"orders", "orders-2", 4001, 4801}, {gatewayApp, gatewayApp, 8080, 3800}}
	return s
}

func TestTheMetricStoreIsBoundedAndLocal(t *testing.T) {
	s := observedFully(t)
	spec, err := s.metricStoreSpec()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"-httpListenAddr=127.0.0.1:", "-retentionPeriod=7d", "-storage.maxHourlySeries=", "-storage.maxDailySeries=", "-storage.minFreeDiskSpaceBytes=",
		"-memory.allowedBytes=", "-http.disableCORS", "-configAuthKey=file://", "-deleteAuthKey=file://",
	} {
		if !slices.ContainsFunc(spec.Args, func(arg string) bool { return strings.HasPrefix(arg, want) }) {
			t.Errorf("the store has no %s: %v", want, spec.Args)
		}
	}
	if s.MetricsURL() == "" || s.Metadata().Metrics != s.MetricsURL() || MetricsPage(s.MetricsURL()) != s.MetricsURL()+"/vmui/#/dashboards" {
		t.Errorf("the store is at %q", s.MetricsURL())
	}
	for _, name := range []string{"scrape.yaml", "key"} {
		info, err := os.Stat(filepath.Join(s.dir, "run", metricStoreProcess, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if strings.Contains(strings.Join(append(spec.Args, spec.Env...), " "), "the-token") {
		t.Error("the token is in the list of processes")
	}
	if !isObserver(metricStoreProcess) || s.console.isProgram(metricStoreProcess) {
		t.Error("the store is treated as a program")
	}
}

// TestWhatIsScraped: programs and sidecars with labels that are alike, the gateway with the token, the broker if it has metrics.
func TestWhatIsScraped(t *testing.T) {
	s := observedFully(t)
	s.broker.MetricsPort = 15692
	file := filepath.Join(t.TempDir(), "scrape.yaml")
	if err := s.writeScrape(file); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var config scrapeConfig
	if err := yaml.Unmarshal(raw, &config); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, job := range config.Jobs {
		if job.Samples == 0 || job.Labels == 0 {
			t.Errorf("job %s has no limits", job.Name)
		}
		if (len(job.Headers) > 0) != (job.Name == gatewayApp) {
			t.Errorf("job %s sends %v", job.Name, job.Headers)
		}
		for _, targets := range job.Targets {
			label := job.Name
			if given := targets.Labels["job"]; given != "" {
				label = given
			}
			got = append(got, strings.Join([]string{label, targets.Labels["app"], targets.Labels["instance"], targets.Addresses[0]}, " "))
		}
	}
	for _, want := range []string{
		"programs orders orders 127.0.0.1:3001", "programs orders orders-2 127.0.0.1:4001", "programs gateway gateway 127.0.0.1:8080",
		"sidecars orders orders 127.0.0.1:3801", "sidecars orders orders-2 127.0.0.1:4801", "sidecars gateway gateway 127.0.0.1:3800",
		"broker broker broker 127.0.0.1:15692", "stores metricstore metricstore " + strings.TrimPrefix(s.observed.metrics, "http://"),
	} {
		if !slices.Contains(got, want) {
			t.Errorf("nobody scrapes %s: %q", want, got)
		}
	}
	s.broker.MetricsPort = 0
	if slices.ContainsFunc(s.scrapeConfig().Jobs, func(job scrapeJob) bool { return job.Name == jobBroker }) {
		t.Error("a broker without metrics is scraped")
	}
}

// TestOnlyFullHasMetrics: with logs, there is no store for metrics.
func TestOnlyFullHasMetrics(t *testing.T) {
	for _, observe := range []string{ObserveOff, ObserveLogs} {
		s, err := newStack(Options{Root: filepath.Join("..", ".."), Dir: t.TempDir(), Observe: observe})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.startMetrics(t.Context()); err != nil || s.MetricsURL() != "" || len(s.all()) > 0 {
			t.Errorf("%s starts %v, %v", observe, s.all(), err)
		}
	}
}
