package launcher

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"caravan/dapr/launcher/process"
)

// MetricStoreVersion is the version of VictoriaMetrics, the store for metrics. go.mod of dapr/observe pins the source.
const MetricStoreVersion = "1.148.9"

var metricStoreProgram = separateProgram{
	name: "victoria-metrics", what: "the store for metrics", version: MetricStoreVersion, folder: observeFolder,
	pkg:     "github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-metrics",
	ldflags: "-s -w -X github.com/VictoriaMetrics/VictoriaMetrics/lib/buildinfo.Version=victoria-metrics-v" + MetricStoreVersion,
}

// EnsureMetricStore returns the path of the store for metrics, and builds it if there is none. It writes progress to log.
func EnsureMetricStore(ctx context.Context, root, bin string, log io.Writer) (string, error) {
	return metricStoreProgram.ensure(ctx, root, bin, thisPlatform, log)
}

func checkMetricStore(root, dir string) Finding {
	return metricStoreProgram.check(root, dir, "metric store", "VictoriaMetrics", ObserveFull)
}

// startMetrics starts the store for metrics. It starts last, because its scrape configuration has the ports of all replicas.
func (s *Stack) startMetrics(ctx context.Context) error {
	if s.options.Observe != ObserveFull {
		return nil
	}
	began := time.Now()
	spec, err := s.metricStoreSpec()
	if err != nil {
		return err
	}
	p, err := s.add(spec)
	if err != nil {
		return err
	}
	p.Start()
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	if err := p.WaitReady(ctx, 3); err != nil {
		return err
	}
	s.console.say("metric store (VictoriaMetrics) ready in %s.", time.Since(began).Round(100*time.Millisecond))
	if s.broker.MetricsPort == 0 {
		s.console.say("The broker (%s) has no metrics that could be stored.", s.broker.Kind)
	}
	return nil
}

// metricStoreSpec writes the files of the store for metrics. It bounds the store in memory, age and number of series, and so on the
// disk: it has no limit in bytes, but it accepts nothing when less than 512 MiB of the disk are free.
func (s *Stack) metricStoreSpec() (process.Spec, error) {
	data, run := filepath.Join(s.dir, "data", metricStoreProcess), filepath.Join(s.dir, "run", metricStoreProcess)
	for _, folder := range []string{data, run} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return process.Spec{}, fmt.Errorf("making a folder for metrics: %w", err)
		}
	}
	scrape, key := filepath.Join(run, "scrape.yaml"), filepath.Join(run, "key")
	if err := s.writeScrape(scrape); err != nil {
		return process.Spec{}, err
	}
	// Nobody is given this key. It closes the pages that would show the token in the scrape configuration or delete data.
	if err := os.WriteFile(key, []byte(rand.Text()), 0o600); err != nil {
		return process.Spec{}, fmt.Errorf("writing the key of the store for metrics: %w", err)
	}
	args := []string{
		"-httpListenAddr=" + strings.TrimPrefix(s.observed.metrics, "http://"),
		"-storageDataPath=" + data,
		"-promscrape.config=" + scrape,
		"-promscrape.maxScrapeSize=8MiB",
		// A target that is down is logged once a minute instead of every few seconds.
		"-promscrape.suppressScrapeErrorsDelay=1m",
		"-vmui.customDashboardsPath=" + filepath.Join(s.root, observeFolder, "dashboards"),
		"-retentionPeriod=7d",
		"-storage.maxHourlySeries=20000",
		"-storage.maxDailySeries=40000",
		"-storage.minFreeDiskSpaceBytes=512MiB",
		"-memory.allowedBytes=64MiB",
		// A query sees what was scraped a second ago, instead of half a minute.
		"-search.latencyOffset=1s",
		"-search.maxQueryDuration=10s",
		"-loggerFormat=json",
		"-loggerJSONFields=ts:time",
		"-loggerLevel=WARN",
		"-http.disableCORS",
	}
	for _, page := range []string{"config", "delete", "snapshot", "pprof", "reload", "flags", "forceMerge", "forceFlush", "logNewSeries"} {
		args = append(args, "-"+page+"AuthKey=file://"+key)
	}
	return process.Spec{
		Name: metricStoreProcess, URL: s.observed.metrics, Path: s.observed.metricProgram, Dir: data, Args: args,
		Env:   append(s.baseEnv(), "GOGC=50", "GOMEMLIMIT=160MiB"),
		Ready: probe(s.observed.metrics+"/health", http.StatusOK),
	}, nil
}

// MetricsURL is the URL of the store for metrics, "" if there is none.
func (s *Stack) MetricsURL() string { return s.observed.metrics }

// MetricsPage is the page with the dashboards of the store for metrics at a URL.
func MetricsPage(url string) string { return url + "/vmui/#/dashboards" }
