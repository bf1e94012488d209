package launcher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Limits of reading metrics.
const (
	trafficTimeout = 2 * time.Second
	maxMetrics     = 8 << 20 // bytes of one process
)

// The places of flows that are no apps.
const (
	Clients     = "clients"
	BrokerPlace = "broker"
	StorePlace  = "store"
)

// Flow is what was counted of the calls from one place to another. A place is an app, Clients, BrokerPlace or StorePlace.
type Flow struct {
	From    string  `json:"from"`
	To      string  `json:"to"`
	Calls   float64 `json:"calls"`
	Failed  float64 `json:"failed"`            // answered with an error of the server, or not answered, or not yet
	Retries float64 `json:"retries"`           // by the sidecar, or by the gateway
	Breaker string  `json:"breaker,omitempty"` // of the sidecar: "closed", "half-open" or "open"; "" if there is none
}

// Counts are the flows that one process has counted since its start.
type Counts struct {
	Process string `json:"process"`
	Flows   []Flow `json:"flows,omitempty"`
	Problem string `json:"problem,omitempty"` // why its counts are not known
}

// Traffic is what all sidecars and the gateway have counted.
type Traffic struct {
	At     time.Time `json:"at"`
	Counts []Counts  `json:"counts"`
}

// Traffic reads the metrics of all sidecars and of the gateway.
func (s *Stack) Traffic(ctx context.Context) Traffic {
	ctx, cancel := context.WithTimeout(ctx, trafficTimeout)
	defer cancel()
	s.mu.Lock()
	all := slices.Clone(s.scraped)
	s.mu.Unlock()
	traffic := Traffic{At: time.Now()}
	var reads sync.WaitGroup
	var mu sync.Mutex
	read := func(name, address string, flows func(metrics) []Flow) {
		reads.Go(func() {
			counts := Counts{Process: name}
			found, err := s.readMetrics(ctx, "http://"+address+"/metrics")
			if err != nil {
				counts.Problem = err.Error()
			} else {
				counts.Flows = flows(found)
			}
			mu.Lock()
			defer mu.Unlock()
			traffic.Counts = append(traffic.Counts, counts)
		})
	}
	for _, one := range all {
		read(one.name+"-daprd", local(one.sidecarPort), func(m metrics) []Flow { return sidecarFlows(one.app, m) })
		if one.app == gatewayApp {
			read(one.name, local(one.port), gatewayFlows)
		}
	}
	reads.Wait()
	slices.SortFunc(traffic.Counts, func(a, b Counts) int { return cmp.Compare(a.Process, b.Process) })
	return traffic
}

// metrics are those of one process, by name.
type metrics map[string]*dto.MetricFamily

func (s *Stack) readMetrics(ctx context.Context, address string) (metrics, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("reading metrics: %w", err)
	}
	request.Header.Set("Dapr-Api-Token", s.tokens.app) // the port of the gateway is public
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return nil, errors.New("no answer in time")
		}
		return nil, errors.New("no answer")
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("reading metrics: it answers %s", response.Status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(io.LimitReader(response.Body, maxMetrics))
	if err != nil {
		return nil, fmt.Errorf("reading metrics: %w", err)
	}
	return families, nil
}

// each calls visit for each series of a metric.
func (m metrics) each(name string, visit func(label func(string) string, value float64)) {
	for _, one := range m[name].GetMetric() {
		label := func(key string) string {
			for _, pair := range one.GetLabel() {
				if pair.GetName() == key {
					return pair.GetValue()
				}
			}
			return ""
		}
		value := one.GetCounter().GetValue() + one.GetGauge().GetValue() + one.GetUntyped().GetValue()
		visit(label, value+float64(one.GetHistogram().GetSampleCount()))
	}
}

// flowsByEnds collects flows.
type flowsByEnds map[[2]string]*Flow

func (f flowsByEnds) at(from, to string) *Flow {
	ends := [2]string{from, to}
	if f[ends] == nil {
		f[ends] = &Flow{From: from, To: to}
	}
	return f[ends]
}

func (f flowsByEnds) sorted() []Flow {
	var all []Flow
	for _, flow := range f {
		flow.Failed = max(flow.Failed, 0)
		all = append(all, *flow)
	}
	slices.SortFunc(all, func(a, b Flow) int { return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To)) })
	return all
}

// sidecarFlows are the flows that the sidecar of an app counts.
func sidecarFlows(app string, m metrics) []Flow {
	flows := flowsByEnds{}
	m.each("dapr_runtime_service_invocation_req_sent_total", func(label func(string) string, value float64) {
		flow := flows.at(app, label("dst_app_id"))
		flow.Calls += value
		flow.Failed += value // those with an answer are subtracted
	})
	m.each("dapr_runtime_service_invocation_res_recv_total", func(label func(string) string, value float64) {
		if !failed(label("status")) {
			flows.at(app, label("src_app_id")).Failed -= value
		}
	})
	component := func(name, key, good string, flow func() *Flow) {
		m.each(name, func(label func(string) string, value float64) {
			flow().Calls += value
			if label(key) != good {
				flow().Failed += value
			}
		})
	}
	component("dapr_component_pubsub_egress_count", "success", "true", func() *Flow { return flows.at(app, BrokerPlace) })
	component("dapr_component_pubsub_egress_bulk_count", "success", "true", func() *Flow { return flows.at(app, BrokerPlace) })
	component("dapr_component_pubsub_ingress_count", "process_status", "success", func() *Flow { return flows.at(BrokerPlace, app) })
	component("dapr_component_state_count", "success", "true", func() *Flow { return flows.at(app, StorePlace) })
	m.each("dapr_resiliency_activations_total", func(label func(string) string, value float64) {
		if flow := flows.target(app, label); flow != nil && label("policy") == "retry" {
			flow.Retries += value
		}
	})
	m.each("dapr_resiliency_cb_state", func(label func(string) string, value float64) {
		if flow := flows.target(app, label); flow != nil && value == 1 {
			flow.Breaker = WorseBreaker(flow.Breaker, label("status"))
		}
	})
	return flows.sorted()
}

// target is the flow that a policy of the sidecar of an app is for; nil if it is for nothing that is shown.
func (f flowsByEnds) target(app string, label func(string) string) *Flow {
	target := label("target")
	to, isApp := strings.CutPrefix(target, "app_")
	switch {
	case isApp:
		return f.at(app, to)
	case strings.Contains(target, "pubsub") && label("flow_direction") == "inbound":
		return f.at(BrokerPlace, app)
	case strings.Contains(target, "pubsub"):
		return f.at(app, BrokerPlace)
	case strings.Contains(target, "state"):
		return f.at(app, StorePlace)
	}
	return nil
}

// gatewayFlows are the flows that the gateway counts itself.
func gatewayFlows(m metrics) []Flow {
	flows := flowsByEnds{}
	m.each("http_server_request_duration_seconds", func(label func(string) string, value float64) {
		flow := flows.at(Clients, gatewayApp)
		flow.Calls += value
		if failed(label("http_response_status_code")) {
			flow.Failed += value
		}
	})
	m.each("gateway_repeats_total", func(label func(string) string, value float64) { flows.at(gatewayApp, label("app")).Retries += value })
	return flows.sorted()
}

// failed reports whether a status is an error of the server. A refusal, such as 404 or 409, is an answer. A status below 100 is one of
// gRPC, of which these mean that the server failed (https://grpc.github.io/grpc/core/md_doc_statuscodes.html).
func failed(status string) bool {
	switch status {
	case "2", "4", "8", "12", "13", "14", "15":
		return true
	}
	return len(status) == 3 && status[0] == '5'
}

// WorseBreaker returns the worse of two states of a circuit breaker.
func WorseBreaker(a, b string) string {
	rank := []string{"", "closed", "half-open", "open"}
	if slices.Index(rank, b) > slices.Index(rank, a) {
		return b
	}
	return a
}
