// Package observe pins what observes a stack: the store for log lines and spans, VictoriaLogs, the store for metrics, VictoriaMetrics, and
// vmalert-tool, which tests the alert rules (all Apache-2.0). go.mod has their versions, as tools. They are built unchanged, in a
// module of their own, so that the product does not depend on them:
//
//	go build github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs
//	go build github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-metrics
//	go tool vmalert-tool unittest --files=alerts_test.yaml
//
// The launcher builds the stores once, into the user's cache (go run ./dapr doctor --build). alerts.yaml has the alert rules, and the
// folder dashboards what the page of the store for metrics shows. docs/parts/records.md and metrics.md say what they are for.
package observe
