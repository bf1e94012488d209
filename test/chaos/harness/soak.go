package harness

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"caravan/dapr/launcher"
	"caravan/dapr/launcher/process"
)

// soak is a long moderate load with a fault now and then. Nothing may grow in it.
func soak() campaign {
	return campaign{
		name:    "soak",
		summary: "a long moderate load with a fault every 1 to 3 minutes: memory, goroutines and open files do not grow",
		complete: func(o Options) Options {
			o = common(o)
			o.Rate, o.Gap = or(o.Rate, 5), or(o.Gap, 2*time.Minute)
			if len(o.Faults) == 0 {
				o.Faults = Kinds()
			}
			o.Orders = or(o.Orders, int(o.Rate*o.Minutes*60))
			return o
		},
		plan: planSoak,
		run:  runSoak,
	}
}

func planSoak(o Options) Plan {
	if o.NoFaults {
		return Plan{}
	}
	return Plan{Duration: time.Duration(o.Minutes * float64(time.Minute)), Gap: o.Gap, Steady: true, Kinds: o.Faults}
}

func runSoak(ctx context.Context, r *run) error {
	schedule := r.schedule(planSoak(r.Options))
	if err := r.open(ctx, shopSize{customers: r.Customers, products: 50, scarce: 3, cents: 1_000_000_00}); err != nil {
		return err
	}
	load := &load{shop: r.shop, seed: r.Seed, orders: r.Orders, rate: r.Rate, mix: shopping, giveUp: 30 * time.Second}
	watch := newWatch(r)
	watching, enough := context.WithCancel(ctx)
	var beside sync.WaitGroup
	beside.Go(func() { watch.run(watching) })
	r.under(ctx, schedule, load.run)
	enough()
	beside.Wait()
	r.settle(ctx)
	return r.evaluate(watch)
}

// sample is what one process used at one time.
type sample struct {
	at         time.Duration // since the load began
	name       string
	pid        int
	rss        float64 // bytes
	goroutines float64 // 0 if the process is not written in Go
	files      float64
}

// watch takes samples of every process.
type watch struct {
	owner   *run
	every   time.Duration
	client  *http.Client
	samples []sample
}

// newWatch takes about 120 samples of a soak, at least every second.
func newWatch(r *run) *watch {
	whole := time.Duration(r.Minutes * float64(time.Minute))
	return &watch{owner: r, every: min(max(whole/120, time.Second), 30*time.Second), client: &http.Client{Timeout: 2 * time.Second}}
}

func (w *watch) run(ctx context.Context) {
	for pause(ctx, w.every) {
		at := time.Since(w.owner.began)
		for _, p := range w.owner.stack.Processes() {
			if p.PID == 0 || strings.HasPrefix(p.Name, "broker-") || p.Name == launcher.MailProcess { // it keeps e-mails, up to a limit
				continue
			}
			s := sample{at: at, name: p.Name, pid: p.PID, rss: float64(process.TreeMemory(p.PID).RSS), files: openFiles(p.PID)}
			if slices.Contains(w.owner.system.targets.Programs, p.Name) {
				s.goroutines = w.goroutines(ctx, p.URL+"/metrics")
			}
			w.samples = append(w.samples, s)
		}
	}
}

func openFiles(pid int) float64 {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return 0
	}
	return float64(len(entries))
}

// goroutines reads go_goroutines of a program; 0 when it does not answer.
func (w *watch) goroutines(ctx context.Context, address string) float64 {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0
	}
	response, err := w.client.Do(request)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(response.Body)
	if family := families["go_goroutines"]; err == nil && family != nil && len(family.Metric) == 1 {
		return family.Metric[0].GetGauge().GetValue()
	}
	return 0
}

// trend is how one measure of a process developed after the warm-up.
type trend struct {
	process, measure  string
	first, last       float64 // of the fitted line
	perHour, relative float64 // its slope, absolute and relative to the first value
	flat              bool
}

// Limits of a trend: the slope as a share of the level in an hour, and a rise over the run that is small in itself,
// such as that of a heap before a garbage collection.
const (
	warmUp       = 0.25 // the share of samples that are left out
	mostRelative = 0.05
	minSamples   = 8
	// minSpan is how long a process must be watched before growth means something. Caches, pools and reconnections fill
	// up in the first minutes.
	minSpan = 5 * time.Minute
)

// slack is how much a measure may rise over a whole run without counting as growth.
var slack = map[string]float64{"rss": 24 << 20, "goroutines": 25, "files": 15}

// trends fits a line through each measure of each life that is long enough. After a kill, a process starts small again.
func trends(samples []sample) []trend {
	lives := make(map[string][]sample)
	for _, s := range samples {
		key := fmt.Sprintf("%s\x00%d", s.name, s.pid)
		lives[key] = append(lives[key], s)
	}
	var all []trend
	for _, life := range lives {
		life = life[int(warmUp*float64(len(life))):]
		if len(life) < minSamples || life[len(life)-1].at-life[0].at < minSpan {
			continue
		}
		for measure, of := range map[string]func(sample) float64{
			"rss":        func(s sample) float64 { return s.rss },
			"goroutines": func(s sample) float64 { return s.goroutines },
			"files":      func(s sample) float64 { return s.files },
		} {
			if t, ok := fit(life, measure, of); ok {
				all = append(all, t)
			}
		}
	}
	slices.SortFunc(all, func(a, b trend) int { return strings.Compare(a.process+a.measure, b.process+b.measure) })
	return all
}

// fit fits a line by least squares. ok is false if the measure is missing.
func fit(life []sample, measure string, of func(sample) float64) (t trend, ok bool) {
	var n, sx, sy, sxx, sxy float64
	for _, s := range life {
		y := of(s)
		if y == 0 {
			continue
		}
		x := s.at.Hours()
		n, sx, sy, sxx, sxy = n+1, sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	denominator := n*sxx - sx*sx
	if n < minSamples || denominator == 0 {
		return trend{}, false
	}
	slope := (n*sxy - sx*sy) / denominator
	at := func(d time.Duration) float64 { return sy/n + slope*(d.Hours()-sx/n) }
	t = trend{process: life[0].name, measure: measure, perHour: slope, first: at(life[0].at), last: at(life[len(life)-1].at)}
	t.relative = slope / math.Max(1, t.first)
	t.flat = t.relative <= mostRelative || t.last-t.first <= slack[measure]
	return t, true
}

// evaluate writes the samples and reports every measure that grew.
func (r *run) evaluate(w *watch) error {
	growing, all := 0, trends(w.samples)
	for _, t := range all {
		if t.flat {
			continue
		}
		growing++
		r.findings.add("nothing grows", t.process+" "+t.measure, "from %.0f to %.0f, %.1f %% an hour", t.first, t.last, 100*t.relative)
	}
	r.report.Numbers["samples"] = float64(len(w.samples))
	r.report.Numbers["measures evaluated"] = float64(len(all))
	r.report.Numbers["measures that grow"] = float64(growing)
	if r.Dir == "" {
		return nil
	}
	path := filepath.Join(r.Dir, fmt.Sprintf("soak-%d-%s.csv", r.Seed, r.report.Date.Format("20060102T150405")))
	r.say("Samples: %s", path)
	return writeSamples(path, w.samples)
}

func writeSamples(path string, samples []sample) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("writing the samples: %w", err)
	}
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("writing the samples: %w", err)
	}
	w := csv.NewWriter(file)
	err = w.Write([]string{"seconds", "process", "pid", "rss_bytes", "goroutines", "open_files"})
	number := func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
	for _, s := range samples {
		err = errors.Join(err, w.Write([]string{
			strconv.FormatFloat(s.at.Seconds(), 'f', 1, 64), s.name, strconv.Itoa(s.pid), number(s.rss), number(s.goroutines), number(s.files),
		}))
	}
	w.Flush()
	if err := errors.Join(err, w.Error(), file.Close()); err != nil {
		return fmt.Errorf("writing the samples: %w", err)
	}
	return nil
}
