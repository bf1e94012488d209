// Package metrics tests the store for metrics on a real stack (go run ./dapr up --observe full): that programs, sidecars and broker serve
// each metric that an alert rule or a dashboard uses, that the values of labels are bounded, and that the store is started again. It
// also runs the tests of the alert rules.
package metrics
