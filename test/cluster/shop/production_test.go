package shop

import (
	"testing"
	"time"
)

// TestProduction is Caravan without Dapr in the cluster, with two replicas of each program, over which callers' sidecars
// spread their calls.
func TestProduction(t *testing.T) {
	onNode(t)
	password, applied := deploy(t, "../overlays/production")
	r := open(t, gateway(t), password)
	journey(t, r)
	t.Logf("the first order was confirmed %s after the manifests were applied", seconds(time.Since(applied)))
	eventually(t, "two replicas of each program", func() error { return replicas(t, "2") })
	unbroken(t)
	r.start(t)
	t.Run("Rollouts", func(t *testing.T) { rollouts(t, r) })
	r.settle(t)
}
