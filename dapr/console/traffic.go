package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"

	"caravan/dapr/client"
	"caravan/dapr/launcher"
	"caravan/dapr/records"
)

// How traffic is read while somebody looks at the board. Rates are means over the span.
const (
	trafficEvery = 5 * time.Second
	trafficSpan  = 30 * time.Second
)

// trafficHistory are the newest readings of traffic, the oldest first. One read at a time uses it.
type trafficHistory []launcher.Traffic

// add adds a reading, and keeps those of the span and one before it.
func (h *trafficHistory) add(newest launcher.Traffic) {
	*h = append(*h, newest)
	for len(*h) > 2 && newest.At.Sub((*h)[1].At) >= trafficSpan {
		*h = (*h)[1:]
	}
}

// trafficView is what the board shows of traffic.
type trafficView struct {
	Arrows  []arrow
	Unknown []launcher.Counts // the processes that did not answer
}

// arrow is the traffic from one place to another.
type arrow struct {
	launcher.Flow               // what was counted in the time
	Over          time.Duration // 0 if there are not two readings yet
}

// view compares the newest reading with the oldest one that has the same process.
func (h trafficHistory) view() trafficView {
	var v trafficView
	newest := h[len(h)-1]
	for _, counts := range newest.Counts {
		if counts.Problem != "" {
			v.Unknown = append(v.Unknown, counts)
			continue
		}
		before, since := h.before(counts.Process)
		if before.restarted(counts) {
			before = earlier{}
		}
		for _, flow := range counts.Flows {
			old := before[[2]string{flow.From, flow.To}]
			a := arrow{Flow: launcher.Flow{From: flow.From, To: flow.To, Breaker: flow.Breaker}}
			if !since.IsZero() {
				a.Over = newest.At.Sub(since)
				a.Calls, a.Failed, a.Retries = flow.Calls-old.Calls, max(flow.Failed-old.Failed, 0), max(flow.Retries-old.Retries, 0)
			}
			v.add(a)
		}
	}
	return v
}

// add adds an arrow to that of another replica, if there is one.
func (v *trafficView) add(a arrow) {
	for i := range v.Arrows {
		if known := &v.Arrows[i]; known.From == a.From && known.To == a.To {
			known.Calls, known.Failed, known.Retries = known.Calls+a.Calls, known.Failed+a.Failed, known.Retries+a.Retries
			known.Breaker, known.Over = launcher.WorseBreaker(known.Breaker, a.Breaker), max(known.Over, a.Over)
			return
		}
	}
	v.Arrows = append(v.Arrows, a)
}

// earlier are the flows that a process had counted, by their ends.
type earlier map[[2]string]launcher.Flow

// before is the oldest reading of a process, and when it was; the zero time if there is none but the newest.
func (h trafficHistory) before(process string) (earlier, time.Time) {
	for _, reading := range h[:len(h)-1] {
		for _, counts := range reading.Counts {
			if counts.Process != process || counts.Problem != "" {
				continue
			}
			flows := earlier{}
			for _, flow := range counts.Flows {
				flows[[2]string{flow.From, flow.To}] = flow
			}
			return flows, reading.At
		}
	}
	return nil, time.Time{}
}

// restarted reports whether a process counts from zero again.
func (e earlier) restarted(now launcher.Counts) bool {
	counted := 0
	for _, flow := range now.Flows {
		old, known := e[[2]string{flow.From, flow.To}]
		if flow.Calls < old.Calls {
			return true
		}
		if known {
			counted++
		}
	}
	return counted < len(e)
}

// Level is the look of the arrow.
func (a arrow) Level() string {
	switch {
	case a.Breaker == string(client.BreakerStateOpen) || a.Calls > 0 && a.Failed/a.Calls > 0.05:
		return "bad"
	case a.Breaker == string(client.BreakerStateHalfOpen) || a.Failed > 0 || a.Retries > 0:
		return "busy"
	case a.Calls > 0:
		return "good"
	}
	return "off"
}

// Text says how much goes there, and what is wrong with it.
func (a arrow) Text() string {
	text := []string{"rate not known yet"}
	if a.Over > 0 {
		text[0] = fmt.Sprintf("%.2g a second", a.Calls/a.Over.Seconds())
		if a.Calls == 0 {
			text[0] = "no calls"
		}
	}
	if a.Failed > 0 {
		text = append(text, fmt.Sprintf("%.0f %% failed", math.Ceil(100*min(a.Failed/max(a.Calls, a.Failed), 1))))
	}
	if a.Retries > 0 {
		text = append(text, fmt.Sprintf("%.0f repeated", a.Retries))
	}
	if a.Breaker != "" && a.Breaker != string(client.BreakerStateClosed) {
		text = append(text, "breaker "+a.Breaker)
	}
	return strings.Join(text, ", ")
}

// place is a place with the arrows that begin there.
type place struct {
	Name, Logs string
	Down       []processView // its processes that are not ready
	Arrows     []arrow
}

// Places are clients, the programs and the broker, with the arrows that begin there. The breakers of programs count too.
func (v boardView) Places() []*place {
	traffic := trafficView{Arrows: slices.Clone(v.Traffic.Value.Arrows)}
	for _, b := range v.Breakers.Value.Items {
		traffic.add(arrow{Flow: launcher.Flow{From: b.Caller, To: b.App, Breaker: string(b.State)}})
	}
	slices.SortStableFunc(traffic.Arrows, func(a, b arrow) int { return cmp.Compare(a.To, b.To) })
	places := map[string]*place{}
	at := func(name string) *place {
		if places[name] == nil {
			places[name] = &place{Name: name, Logs: logsOf(v.LogsURL, name)}
		}
		return places[name]
	}
	for _, a := range traffic.Arrows {
		at(a.From).Arrows = append(at(a.From).Arrows, a)
	}
	for _, group := range v.Groups {
		for _, p := range group.Items {
			if kindOf(p.Name) > 1 && p.Name != launcher.BrokerPlace {
				continue
			}
			if here := at(records.AppOf(p.Name)); p.Level != "good" {
				here.Down = append(here.Down, p)
			}
		}
	}
	return slices.SortedFunc(maps.Values(places), func(a, b *place) int { return cmp.Compare(a.rank(), b.rank()) })
}

// rank is what places are sorted by: in the direction of a request.
func (p *place) rank() string {
	switch p.Name {
	case launcher.Clients:
		return "1"
	case "gateway":
		return "2"
	case launcher.BrokerPlace:
		return "4"
	}
	return "3" + p.Name
}

// logsOf is the page with the newest log lines of an app, "" without a store for log lines.
func logsOf(store, app string) string {
	if store == "" || app == launcher.Clients {
		return ""
	}
	return store + "/select/vmui/#/?query=" + url.QueryEscape(fmt.Sprintf(`kind:="log" app:=%q`, app)) + "&g0.range_input=30m&limit=100"
}

// MetricsPage is the page with the dashboards, "" without a store for metrics.
func (v boardView) MetricsPage() string {
	if v.Stack.Value.Metrics == "" {
		return ""
	}
	return launcher.MetricsPage(v.Stack.Value.Metrics)
}

// trafficRead reads the traffic.
func (s *server) trafficRead(sess *session) func(context.Context) {
	b := sess.board
	return func(ctx context.Context) {
		if s.control == nil {
			return
		}
		b.traffic.refresh(ctx, s.clock, trafficEvery, callTimeout, func(ctx context.Context) (trafficView, error) {
			newest, err := s.control.Traffic(ctx)
			if err != nil {
				return trafficView{}, err
			}
			b.readings.add(newest)
			return b.readings.view(), nil
		})
	}
}
