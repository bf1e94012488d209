// Package cluster holds a Kubernetes of a single node, built from Go modules (kit) and run in namespaces of its own
// (run.sh), and the proofs of Caravan on it (shop, prove.sh). Its own tests hold that a node leaves nothing behind.
package cluster
