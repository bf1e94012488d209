package main

import (
	"strings"
	"testing"
	"time"

	"caravan/dapr/launcher"
)

// counted is what the sidecar of orders has counted of its calls of payments.
func counted(process string, calls, failed float64) launcher.Counts {
	return launcher.Counts{Process: process, Flows: []launcher.Flow{{From: "orders", To: "payments", Calls: calls, Failed: failed, Breaker: "closed"}}}
}

func TestRatesAreOfTheNewestReadings(t *testing.T) {
	one := func(counts ...launcher.Counts) []launcher.Counts { return counts }
	away := launcher.Counts{Process: "orders-daprd", Problem: "no answer"}
	for name, test := range map[string]struct {
		readings [][]launcher.Counts // 5 s apart
		want     string
		level    string
	}{
		"the first":      {[][]launcher.Counts{one(counted("orders-daprd", 50, 3))}, "rate not known yet", "off"},
		"nothing":        {[][]launcher.Counts{one(counted("orders-daprd", 50, 3)), one(counted("orders-daprd", 50, 3))}, "no calls", "off"},
		"calls":          {[][]launcher.Counts{one(counted("orders-daprd", 50, 3)), one(counted("orders-daprd", 60, 3))}, "2 a second", "good"},
		"failures":       {[][]launcher.Counts{one(counted("orders-daprd", 50, 3)), one(counted("orders-daprd", 60, 8))}, "2 a second, 50 % failed", "bad"},
		"a restart":      {[][]launcher.Counts{one(counted("orders-daprd", 50, 3)), one(counted("orders-daprd", 10, 0))}, "2 a second", "good"},
		"an answer late": {[][]launcher.Counts{one(counted("orders-daprd", 50, 3)), one(counted("orders-daprd", 60, 2))}, "2 a second", "good"},
		"a gap":          {[][]launcher.Counts{one(counted("orders-daprd", 50, 3)), one(away), one(counted("orders-daprd", 60, 3))}, "1 a second", "good"},
		"two replicas": {[][]launcher.Counts{
			one(counted("orders-2-daprd", 0, 0), counted("orders-daprd", 50, 3)), one(counted("orders-2-daprd", 5, 0), counted("orders-daprd", 60, 3)),
		}, "3 a second", "good"},
	} {
		var h trafficHistory
		for i, counts := range test.readings {
			h.add(launcher.Traffic{At: noon.Add(time.Duration(i) * 5 * time.Second), Counts: counts})
		}
		v := h.view()
		if len(v.Arrows) != 1 || v.Arrows[0].Text() != test.want || v.Arrows[0].Level() != test.level {
			t.Errorf("%s: %+v: %q (%s), want %q (%s)", name, v, v.Arrows[0].Text(), v.Arrows[0].Level(), test.want, test.level)
		}
	}
}

func TestReadingsAreForgotten(t *testing.T) {
	var h trafficHistory
	for i := range 100 {
		h.add(launcher.Traffic{At: noon.Add(time.Duration(i) * 5 * time.Second), Counts: []launcher.Counts{counted("orders-daprd", float64(i), 0)}})
	}
	if len(h) != 7 || h.view().Arrows[0].Over != trafficSpan {
		t.Errorf("%d readings are kept, over %s", len(h), h.view().Arrows[0].Over)
	}
}

func TestTheBoardHasArrows(t *testing.T) {
	f := newFixture(t, nil).signIn()
	f.launcher.traffic = launcher.Traffic{At: time.Now(), Counts: []launcher.Counts{
		counted("orders-daprd", 5, 0), {Process: "users-daprd", Problem: "no answer " + hostile},
	}}
	f.launcher.report.Metrics = "http://127.0.0.1:8428"
	f.withStore()
	f.gateway.set("GET /v1/ops/breakers", 200, `{"complete":true,"items":[{"caller":"gateway","app":"orders","state":"open","since":"2026-01-01T00:00:00Z","failures":5,"requests":5,"refused":1,"opened":1}]}`)
	body := f.get("/").body
	for _, want := range []string{
		`id="a-orders-payments"`, `<li class="arrow bad" id="a-gateway-orders">`, "breaker open", `id="from-payments"`, "payments:", "starts again", "<strong>users-daprd</strong> does not say", "/select/vmui/#/?query=kind", "/vmui/#/dashboards",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the board lacks %q", want)
		}
	}
	checkText(t, "the board", body)
}

func TestConnectionsAreBrokenByTheirNames(t *testing.T) {
	if !strings.Contains(newFixture(t, nil).signIn().get("/break").body, "up --proxies") {
		t.Error("the page does not say how connections can be broken")
	}
	f := newFixture(t, nil).signIn()
	f.launcher.report.Connections = []launcher.ConnectionReport{
		{Name: "orders:broker", From: "orders-daprd", To: "broker", State: launcher.Cut}, {Name: "users:sidecar", From: "users", To: "users-daprd", State: launcher.Intact},
	}
	body := f.get("/break").body
	for _, want := range []string{`<tr id="c-orders:broker" data-state="cut">`, `aria-label="Restore the connection from orders-daprd to broker"`, `aria-label="Cut the connection from users to users-daprd"`} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, act := range [][2]string{{"orders:broker", "restore"}, {"users:sidecar", "cut"}, {"users:sidecar", "slow"}, {"users:sidecar", "burn"}, {"nothing", "cut"}} {
		f.post("/break/connections/"+act[0], "action", act[1])
	}
	if got, want := strings.Join(f.launcher.did, ", "), "orders:broker intact, users:sidecar cut, users:sidecar slow"; got != want {
		t.Errorf("the launcher did %q, want %q", got, want)
	}
	f.server.control = nil
	if p := f.post("/break/connections/orders:broker", "action", "cut"); p.status != 403 {
		t.Errorf("without a launcher it answers %d", p.status)
	}
}
