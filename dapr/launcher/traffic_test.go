package launcher

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"testing"
)

// sidecarMetrics are as a sidecar of 1.18 writes them, without increased cardinality.
const sidecarMetrics = `# TYPE dapr_runtime_service_invocation_req_sent_total counter
dapr_runtime_service_invocation_req_sent_total{app_id="orders",dst_app_id="payments",type="unary"} 20
dapr_runtime_service_invocation_req_sent_total{app_id="orders",dst_app_id="products",type="unary"} 9
# TYPE dapr_runtime_service_invocation_res_recv_total counter
dapr_runtime_service_invocation_res_recv_total{app_id="orders",src_app_id="payments",status="200",type="unary"} 12
dapr_runtime_service_invocation_res_recv_total{app_id="orders",src_app_id="payments",status="409",type="unary"} 2
dapr_runtime_service_invocation_res_recv_total{app_id="orders",src_app_id="payments",status="503",type="unary"} 1
dapr_runtime_service_invocation_res_recv_total{app_id="orders",src_app_id="products",status="0",type="unary"} 9
# TYPE dapr_component_pubsub_egress_count counter
dapr_component_pubsub_egress_count{app_id="orders",component="pubsub",namespace="",success="true",topic="orders"} 7
dapr_component_pubsub_egress_count{app_id="orders",component="pubsub",namespace="",success="false",topic="orders"} 1
# TYPE dapr_component_pubsub_egress_bulk_count counter
dapr_component_pubsub_egress_bulk_count{app_id="orders",component="pubsub",namespace="",success="true",topic="orders"} 2
# TYPE dapr_component_pubsub_ingress_count counter
dapr_component_pubsub_ingress_count{app_id="orders",component="pubsub",namespace="",process_status="success",status="",topic="payments"} 4
dapr_component_pubsub_ingress_count{app_id="orders",component="pubsub",namespace="",process_status="retry",status="",topic="payments"} 2
# TYPE dapr_component_state_count counter
dapr_component_state_count{app_id="orders",component="store",namespace="",operation="get",success="true"} 30
dapr_component_state_count{app_id="orders",component="store",namespace="",operation="set",success="false"} 3
# TYPE dapr_resiliency_activations_total counter
dapr_resiliency_activations_total{app_id="orders",flow_direction="outbound",name="orders",namespace="",policy="timeout",status="",target="app_payments"} 5
dapr_resiliency_activations_total{app_id="orders",flow_direction="inbound",name="orders",namespace="",policy="retry",status="",target="pubsub_pubsub"} 6
# TYPE dapr_resiliency_cb_state gauge
dapr_resiliency_cb_state{app_id="orders",flow_direction="outbound",name="orders",namespace="",policy="circuitbreaker",status="closed",target="app_payments"} 0
dapr_resiliency_cb_state{app_id="orders",flow_direction="outbound",name="orders",namespace="",policy="circuitbreaker",status="open",target="app_payments"} 1
dapr_resiliency_cb_state{app_id="orders",flow_direction="outbound",name="orders",namespace="",policy="circuitbreaker",status="closed",target="app_products"} 1
`

const gatewayMetrics = `# TYPE http_server_request_duration_seconds histogram
http_server_request_duration_seconds_bucket{http_response_status_code="200",le="+Inf"} 5
http_server_request_duration_seconds_sum{http_response_status_code="200"} 1
http_server_request_duration_seconds_count{http_response_status_code="200"} 5
http_server_request_duration_seconds_bucket{http_response_status_code="502",le="+Inf"} 2
http_server_request_duration_seconds_sum{http_response_status_code="502"} 1
http_server_request_duration_seconds_count{http_response_status_code="502"} 2
# TYPE gateway_repeats_total counter
gateway_repeats_total{app="orders"} 3
`

// serveMetrics returns the port of a server with metrics.
func serveMetrics(t *testing.T, text string) int {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Dapr-Api-Token") != "the-token" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = w.Write([]byte(text))
	}))
	t.Cleanup(server.Close)
	address, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(address.Port())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestTrafficIsWhatSidecarsAndTheGatewayCount(t *testing.T) {
	s := &Stack{tokens: tokens{app: "the-token"}}
	closed := serveMetrics(t, "no metrics { at all")
	s.scraped = []scraped{
		{app: "orders", name: "orders", sidecarPort: serveMetrics(t, sidecarMetrics)},
		{app: gatewayApp, name: gatewayApp, port: serveMetrics(t, gatewayMetrics), sidecarPort: closed},
	}
	traffic := s.Traffic(t.Context())
	if len(traffic.Counts) != 3 || traffic.At.IsZero() {
		t.Fatalf("%+v", traffic)
	}
	want := map[string][]Flow{
		"orders-daprd": {
			{From: "broker", To: "orders", Calls: 6, Failed: 2, Retries: 6},
			{From: "orders", To: "broker", Calls: 10, Failed: 1},
			{From: "orders", To: "payments", Calls: 20, Failed: 6, Breaker: "open"},
			{From: "orders", To: "products", Calls: 9, Breaker: "closed"},
			{From: "orders", To: "store", Calls: 33, Failed: 3},
		},
		"gateway": {{From: "clients", To: "gateway", Calls: 7, Failed: 2}, {From: "gateway", To: "orders", Retries: 3}},
	}
	for _, counts := range traffic.Counts {
		if !slices.Equal(counts.Flows, want[counts.Process]) {
			t.Errorf("%s: %+v, want %+v", counts.Process, counts.Flows, want[counts.Process])
		}
		if (counts.Problem == "") != (want[counts.Process] != nil) {
			t.Errorf("%s: problem %q", counts.Process, counts.Problem)
		}
	}
}

func TestTheWorseBreakerCounts(t *testing.T) {
	for _, test := range [][3]string{{"", "closed", "closed"}, {"open", "closed", "open"}, {"closed", "half-open", "half-open"}, {"", "", ""}} {
		if got := WorseBreaker(test[0], test[1]); got != test[2] {
			t.Errorf("of %q and %q it is %q", test[0], test[1], got)
		}
	}
}
