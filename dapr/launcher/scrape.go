package launcher

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The jobs of the scrape configuration: the label "job" of each metric.
const (
	jobPrograms = "programs"
	jobSidecars = "sidecars"
	jobBroker   = "broker"
	jobStores   = "stores" // of log lines and metrics
)

// The limits of a scrape. One of a program or sidecar has 300 to 1,600 samples; a scrape with more than the limit is not stored.
const (
	scrapeEvery   = "5s"
	scrapeTimeout = "4s"
	scrapeSamples = 10_000
	scrapeLabels  = 30
)

// scrapeConfig is a scrape configuration of Prometheus, as VictoriaMetrics reads it.
type scrapeConfig struct {
	Global struct {
		Every   string `yaml:"scrape_interval"`
		Timeout string `yaml:"scrape_timeout"`
	} `yaml:"global"`
	Jobs []scrapeJob `yaml:"scrape_configs"`
}

type scrapeJob struct {
	Name    string          `yaml:"job_name"`
	Path    string          `yaml:"metrics_path,omitempty"`
	Headers []string        `yaml:"headers,omitempty"`
	Samples int             `yaml:"sample_limit"`
	Labels  int             `yaml:"label_limit"`
	Targets []scrapeTargets `yaml:"static_configs"`
	Change  []relabel       `yaml:"metric_relabel_configs,omitempty"`
}

type scrapeTargets struct {
	Addresses []string          `yaml:"targets"`
	Labels    map[string]string `yaml:"labels"`
}

type relabel struct {
	Sources []string `yaml:"source_labels"`
	Regex   string   `yaml:"regex"`
	Action  string   `yaml:"action"`
}

// scraped is a program with its sidecar, or a replica of it.
type scraped struct {
	app, name         string
	port, sidecarPort int
}

// unused are metrics that no rule and no dashboard uses, and that have many series.
const unused = "dapr_(grpc_io|http)_.*|dapr_runtime_acl_.*|erlang_.*|flag|(go|vm|vl)_.*_bucket|go_(sched|gc|memory|cpu)_.*"

// writeScrape writes the scrape configuration, which only this user can read.
func (s *Stack) writeScrape(file string) error {
	raw, err := yaml.Marshal(s.scrapeConfig())
	if err != nil {
		return fmt.Errorf("writing the scrape configuration: %w", err)
	}
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		return fmt.Errorf("writing the scrape configuration: %w", err)
	}
	return nil
}

func (s *Stack) scrapeConfig() scrapeConfig {
	var config scrapeConfig
	config.Global.Every, config.Global.Timeout = scrapeEvery, scrapeTimeout
	job := func(name string) scrapeJob {
		return scrapeJob{
			Name: name, Samples: scrapeSamples, Labels: scrapeLabels,
			Change: []relabel{{[]string{"__name__"}, unused, "drop"}},
		}
	}
	programs, gateway, sidecars, stores := job(jobPrograms), job(gatewayApp), job(jobSidecars), job(jobStores)
	for _, one := range s.scraped {
		if one.app == gatewayApp {
			gateway.Targets = append(gateway.Targets, scrapeTarget(local(one.port), one.app, one.name))
		} else {
			programs.Targets = append(programs.Targets, scrapeTarget(local(one.port), one.app, one.name))
		}
		sidecars.Targets = append(sidecars.Targets, scrapeTarget(local(one.sidecarPort), one.app, one.name))
	}
	// The gateway's port is public. It shows metrics only to a caller with the token of its sidecar. Two jobs cannot have one name,
	// but their metrics can have one label.
	gateway.Headers = []string{"dapr-api-token: " + s.tokens.app}
	for _, targets := range gateway.Targets {
		targets.Labels["job"] = jobPrograms
	}
	for name, url := range map[string]string{logStoreProcess: s.observed.store, metricStoreProcess: s.observed.metrics} {
		stores.Targets = append(stores.Targets, scrapeTarget(strings.TrimPrefix(url, "http://"), name, name))
	}
	config.Jobs = append(config.Jobs, programs, gateway, sidecars, stores)
	if port := s.broker.MetricsPort; port != 0 {
		broker := job(jobBroker)
		broker.Targets = []scrapeTargets{scrapeTarget(local(port), "broker", "broker")}
		config.Jobs = append(config.Jobs, broker)
	}
	return config
}

func local(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

// scrapeTarget is an address with the labels "app" and "instance", which are alike for a program and its sidecar.
func scrapeTarget(address, app, instance string) scrapeTargets {
	return scrapeTargets{Addresses: []string{address}, Labels: map[string]string{"app": app, "instance": instance}}
}
