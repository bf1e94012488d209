// Package shop runs Caravan on a Kubernetes cluster and proves what holds there: with k8s/clusters/plain-development the
// journey of an order through the gateway's Service, which pods reach which, and what rollouts, ends of pods and
// processes, and a drained node do to clients.
//
// Its tests run on the node that test/cluster/run.sh makes, as root, and are skipped elsewhere. test/cluster/prove.sh
// builds everything and runs them.
package shop
