// Package observe pins the store for log lines and spans, VictoriaLogs (Apache-2.0): go.mod has its version, as a tool. It is
// built unchanged, in a module of its own, so that the product does not depend on it:
//
//	go build github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs
//
// The launcher builds it once, into the user's cache (go run ./dapr doctor --build). docs/parts/records.md says what it is for.
package observe
