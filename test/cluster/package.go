// Package cluster has a single-node Kubernetes, built from Go modules (kit) and run in its own namespaces (run.sh), and
// the tests of Caravan on it (shop, prove.sh). Its own tests check that a node leaves nothing behind.
package cluster
