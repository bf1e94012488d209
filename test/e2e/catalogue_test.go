package e2e

import (
	"net/http"
	"testing"
	"time"

	"caravan/dapr/launcher"
)

// visibleWithin is how soon readers without an account see a change of a price or of a stock.
const visibleWithin = 2 * time.Second

// TestVisitorsSeeChangesSoon changes the price and the stock of a product while visitors read it all the time, through two
// replicas of products, so that the other one has to notice each change by itself.
func TestVisitorsSeeChangesSoon(t *testing.T) {
	s := own(t, launcher.Options{Broker: settings.broker, Store: settings.store, AppReplicas: map[string]int{"products": 2}})
	sh := open(t, s)
	p := sh.product(1000, 10)
	path := "/v1/products/" + p.SKU
	v := &visitor{client: newClient(t, s, sh.trail), path: path}
	var worst time.Duration
	for i := range int64(8) {
		price := euros(1001 + i)
		sh.admin.must(http.StatusOK, http.MethodPatch, path, map[string]any{"price": price}, nil)
		worst = max(worst, v.sees("the price", func(now productBody) bool { return now.Price == price }))
		sh.admin.must(http.StatusOK, http.MethodPost, path+"/stock", map[string]any{"change": 1, "reason": "A delivery."}, nil)
		p.stock++
		worst = max(worst, v.sees("the stock", func(now productBody) bool { return now.Available == p.stock }))
	}
	if v.fromCache == 0 {
		t.Error("no read was answered from the cache")
	}
	t.Logf("visible after %s at most; %d reads, of them %d from the cache; the slowest took %s", worst, v.reads, v.fromCache, v.slowest)

	got := v.client.must(http.StatusOK, http.MethodGet, path, nil, nil)
	if got.header.Get("ETag") == "" {
		t.Fatalf("%s has no entity tag", got)
	}
	// Nothing changes any more, so the tag stays.
	eventually(t, "an answer that is unchanged", func() error {
		got := v.client.must(http.StatusOK, http.MethodGet, path, nil, nil)
		again, err := v.client.call(http.MethodGet, path, nil, header{"If-None-Match", got.header.Get("ETag")})
		if err != nil || again.status != http.StatusNotModified || len(again.body) > 0 {
			return errorf("%s, %v", again, err)
		}
		return nil
	})
}

// visitor reads a product without an account.
type visitor struct {
	client           *client
	path             string
	reads, fromCache int
	slowest          time.Duration
}

// sees reads until a change is visible, and returns after what time it was. A read that begins later than visibleWithin must show
// it. On a slow machine the change may come later by the time that a single read takes.
func (v *visitor) sees(what string, shown func(productBody) bool) time.Duration {
	v.client.t.Helper()
	changed := time.Now()
	for {
		asked := time.Now()
		var now productBody
		got := v.client.must(http.StatusOK, http.MethodGet, v.path, nil, &now)
		v.reads++
		if got.header.Get("Age") != "" {
			v.fromCache++
		}
		v.slowest = max(v.slowest, time.Since(asked))
		if shown(now) {
			return time.Since(changed)
		}
		if asked.Sub(changed) > visibleWithin+v.slowest {
			v.client.t.Fatalf("%s after a change is still %s", asked.Sub(changed), got)
		}
	}
}
