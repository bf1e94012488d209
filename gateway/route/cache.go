package route

import (
	"time"

	"go.yaml.in/yaml/v3"

	"caravan/gateway/cache"
)

// maxKept is the longest time for which a route may have an answer kept.
const maxKept = time.Minute

// cache reads how the answers of a route are kept.
func (p *parser) cache(n *yaml.Node, r *Route) *cache.Policy {
	if n == nil {
		return nil
	}
	before := len(p.problems)
	f := p.fields(n, "cache", "fresh", "stale", "error", "control")
	if f["fresh"] == nil || f["control"] == nil {
		p.fail(n, "cache needs fresh and control")
		return nil
	}
	if r.Method != "GET" || r.App == Gateway || r.Long != nil || r.Stream || r.Access.Kind != Public && r.Access.Kind != Optional {
		p.fail(n, "cache is for a GET that a service answers without credentials and at once")
	}
	policy := &cache.Policy{
		Fresh: p.duration(f["fresh"], 0), Stale: p.duration(f["stale"], 0), Error: p.duration(f["error"], 0), Control: []string{f["control"].Value},
	}
	if len(p.problems) == before && (policy.Fresh+policy.Stale > maxKept || policy.Error != 0 && policy.Error < policy.Fresh+policy.Stale) {
		p.fail(n, "fresh and stale must be at most %s together, and error not less than that", maxKept)
	}
	if control, ok := cache.ParseControl(policy.Control); !ok || policy.Control[0] == "" || control.NoStore || control.Private {
		p.fail(f["control"], "control %q must be a Cache-Control that lets readers keep the answer", f["control"].Value)
	}
	return policy
}
