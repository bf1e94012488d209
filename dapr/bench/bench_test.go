package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"caravan/dapr/launcher"
	"caravan/dapr/launcher/process"
)

func TestQuantile(t *testing.T) {
	var hundred []time.Duration
	for i := range 100 {
		hundred = append(hundred, time.Duration(i+1)*time.Millisecond)
	}
	for q, want := range map[float64]float64{0.5: 51, 0.99: 100, 0: 1} {
		if got := quantile(hundred, q); got != want {
			t.Errorf("quantile(%v) = %v, want %v", q, got, want)
		}
	}
	if got := quantile(nil, 0.5); got != 0 {
		t.Errorf("quantile of nothing is %v", got)
	}
}

func TestPopularityFalls(t *testing.T) {
	weights := zipf(products)
	share := func(i int) float64 {
		if i == 0 {
			return weights[0]
		}
		return weights[i] - weights[i-1]
	}
	for i := 1; i < len(weights); i++ {
		if share(i) >= share(i-1) {
			t.Fatalf("product %d is wanted more than product %d", i, i-1)
		}
	}
	if last := weights[len(weights)-1]; last < 0.999999 || last > 1.000001 {
		t.Errorf("shares sum to %v", last)
	}
}

func TestBasketsHoldDifferentProducts(t *testing.T) {
	shop := &shop{weights: zipf(products)}
	for range 1000 {
		items := shop.basket()
		if len(items) == 2 && items[0].SKU == items[1].SKU {
			t.Fatalf("basket %v", items)
		}
	}
}

func TestTimePerOrder(t *testing.T) {
	at := func(cpu time.Duration) launcher.Report {
		return launcher.Report{Processes: []launcher.ProcessReport{{Status: process.Status{Name: "orders"}, Work: process.Work{CPU: cpu, Switches: int64(cpu / 1e6), Calls: int64(cpu / 1e5)}}}}
	}
	times := timePerOrder(at(time.Second), at(3*time.Second), 1000)
	if len(times) != 2 || times[0].PerOrder != 2 || times[0].Switches != 2 || times[0].Calls != 20 || times[1].Name != "all" || times[1].PerOrder != 2 {
		t.Errorf("got %+v", times)
	}
}

func TestResultsCanBeCompared(t *testing.T) {
	var out bytes.Buffer
	file := filepath.Join(t.TempDir(), "new", "kept.json")
	result := Result{
		Setting:  Setting{Broker: "b", Store: "s", Date: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
		Orders:   []Load{{Name: "orders to their end", Clients: 16, PerSecond: 200, P50: 3, P99: 9, Outcomes: map[string]int{"confirmed": 7}}},
		Unloaded: Unloaded{Orders: 5, P50: 4, P99: 8, Timeline: []Span{{Name: "reserved", Median: 2}}, Hops: []Span{{Name: "orders: POST /v1/orders", Median: 1, Calls: 1}}},
		AtRest:   []ProcessSize{{Name: "all", RSS: 10, PSS: 5}}, Processor: []ProcessTime{{Name: "all", PerOrder: 4}},
	}
	if err := result.Keep(file); err != nil {
		t.Fatal(err)
	}
	before, err := Read(file)
	if err != nil {
		t.Fatal(err)
	}
	result.Orders[0].PerSecond = 400
	result.Show(&out, before)
	for _, want := range []string{"400.0", "was 200.0/s, now 2.00x", "confirmed 7", "reserved", "orders: POST /v1/orders", "(was 4.00)"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
	if _, err := Read("bench_test.go"); err == nil {
		t.Error("a Go file was taken for a result")
	}
}

func TestResultIsSelfContainedJSON(t *testing.T) {
	raw, err := json.Marshal(Result{})
	if err != nil || !bytes.Contains(raw, []byte(`"machine"`)) {
		t.Errorf("%s, %v", raw, err)
	}
}

func FuzzSkipResponse(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"))
	f.Add([]byte("HTTP/1.1 200 OK\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		status, err := skipResponse(bufio.NewReader(bytes.NewReader(raw)))
		if err == nil && len(status) != 3 {
			t.Errorf("status %q", status)
		}
	})
}
