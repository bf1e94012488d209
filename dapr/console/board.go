package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"caravan/dapr/client"
	"caravan/dapr/launcher"
	"caravan/dapr/launcher/process"
	"caravan/dapr/records"
)

// How often the parts of the board are read while somebody looks at it.
const (
	stackEvery   = time.Second
	gatewayEvery = 2 * time.Second
	lettersEvery = 5 * time.Second
	auditEvery   = time.Minute
)

// Limits of the board's lists.
const (
	maxWaiting = 50  // orders that wait
	maxLetters = 100 // dead letters that are counted
)

// board is what a person has read of the whole system. It belongs to a session, because it was read with its token.
type board struct {
	stack    source[launcher.Report]
	services source[client.ServiceList]
	breakers source[client.BreakerList]
	waiting  source[waitingOrders]
	letters  source[letterCount]
	audit    source[client.Audit]
	traffic  source[trafficView]
	readings trafficHistory // belongs to the read of traffic
}

func newBoard() *board { return &board{} }

// waitingOrders are the orders that wait, the longest first.
type waitingOrders struct {
	Items []client.OrderSummary
	More  bool
}

// letterCount is how many dead letters are open.
type letterCount struct {
	Open int
	More bool // there are more
}

// reads are the reads of all parts.
func (s *server) boardReads(sess *session) []func(context.Context) {
	b := sess.board
	return []func(context.Context){
		s.stackRead(sess),
		s.trafficRead(sess),
		func(ctx context.Context) {
			b.services.refresh(ctx, s.clock, gatewayEvery, callTimeout, func(ctx context.Context) (client.ServiceList, error) {
				list, err := sess.staff.OpsListServices(ctx)
				return list, sess.watch(err)
			})
		},
		func(ctx context.Context) {
			b.breakers.refresh(ctx, s.clock, gatewayEvery, callTimeout, func(ctx context.Context) (client.BreakerList, error) {
				list, err := sess.staff.OpsListBreakers(ctx)
				return list, sess.watch(err)
			})
		},
		func(ctx context.Context) {
			b.waiting.refresh(ctx, s.clock, gatewayEvery, callTimeout, func(ctx context.Context) (waitingOrders, error) {
				list, err := sess.staff.OpsListOrders(ctx, client.OpsListOrdersParams{Waiting: "0s", Limit: maxWaiting})
				return waitingOrders{list.Items, list.Next != ""}, sess.watch(err)
			})
		},
		func(ctx context.Context) {
			b.letters.refresh(ctx, s.clock, lettersEvery, callTimeout, sess.countLetters)
		},
	}
}

// stackRead reads the state of the processes.
func (s *server) stackRead(sess *session) func(context.Context) {
	return func(ctx context.Context) {
		if s.control != nil {
			sess.board.stack.refresh(ctx, s.clock, stackEvery, callTimeout, s.control.Report)
		}
	}
}

// auditRead audits the shop. It is no part of a page's first view, because it may take long.
func (s *server) auditRead(sess *session) func(context.Context) {
	return func(ctx context.Context) {
		sess.board.audit.refresh(ctx, s.clock, auditEvery, auditTimeout, func(ctx context.Context) (client.Audit, error) {
			for {
				report, err := sess.staff.OpsAudit(ctx)
				if sess.watch(err) != nil || report.Complete {
					return report, err
				}
			}
		})
	}
}

func (sess *session) countLetters(ctx context.Context) (letterCount, error) {
	list, err := sess.staff.OpsListDeadLetters(ctx, client.OpsListDeadLettersParams{Status: client.DeadLetterStatusOpen, Limit: maxLetters})
	return letterCount{len(list.Items), list.Next != ""}, sess.watch(err)
}

// boardView is what the board shows at one time.
type boardView struct {
	Now      time.Time
	Local    bool
	Act      bool // with buttons that break things
	CSRF     string
	Back     string
	Stack    reading[launcher.Report]
	Groups   []processGroup
	Services reading[client.ServiceList]
	Breakers reading[client.BreakerList]
	Waiting  reading[waitingOrders]
	Letters  reading[letterCount]
	Audit    reading[client.Audit]
	Traffic  reading[trafficView]
	LogsURL  string
}

// processGroup are the processes of one kind.
type processGroup struct {
	ID    string
	Name  string
	Items []processView
}

// processView is a process as it is shown.
type processView struct {
	launcher.ProcessReport
	Label   string // what state it is in
	Level   string // good, busy, bad or off: the look of the label
	Reason  string // why it is not ready
	Version string
}

func (s *server) viewBoard(sess *session) boardView {
	b := sess.board
	v := boardView{
		Now: s.clock.Now(), Local: s.control != nil, CSRF: sess.csrf, LogsURL: s.logsURL,
		Stack: b.stack.now(), Services: b.services.now(), Breakers: b.breakers.now(), Waiting: b.waiting.now(),
		Letters: b.letters.now(), Audit: b.audit.now(), Traffic: b.traffic.now(),
	}
	v.Groups = groupProcesses(v.Stack.Value, v.Services.Value)
	return v
}

// groupProcesses sorts processes by kind. Within a kind they keep the order of the launcher.
func groupProcesses(report launcher.Report, services client.ServiceList) []processGroup {
	groups := []processGroup{
		{ID: "programs", Name: "Programs"}, {ID: "sidecars", Name: "Sidecars"}, {ID: "servers", Name: "Broker, store and mail"},
		{ID: "observers", Name: "Observation"},
	}
	details := map[string]string{}
	for _, service := range services.Items {
		if service.Status != client.Ready {
			details[service.Name] = string(service.Status) + ": " + service.Detail
		}
	}
	for _, p := range report.Processes {
		v := processView{ProcessReport: p}
		kind := kindOf(p.Name)
		if v.describe(); v.Level == "good" && details[p.Name] != "" {
			v.Label, v.Level, v.Reason = "not ready", "bad", details[p.Name]
		}
		switch {
		case kind == 0:
			v.Version = report.Version
		case kind == 1:
			v.Version = report.Sidecar
		case p.Name == "logstore":
			v.Version = launcher.LogStoreVersion
		case p.Name == "metricstore":
			v.Version = launcher.MetricStoreVersion
		case p.Name == "console" || p.Name == "collector":
			v.Version = report.Version
		}
		groups[kind].Items = append(groups[kind].Items, v)
	}
	return slices.DeleteFunc(groups, func(g processGroup) bool { return len(g.Items) == 0 })
}

// kindOf is the number of a process's group.
func kindOf(name string) int {
	switch {
	case records.IsSidecar(name):
		return 1
	case strings.HasPrefix(name, "broker") || name == "store" || name == launcher.MailProcess:
		return 2
	case slices.Contains([]string{"logstore", "metricstore", "collector", "console"}, name):
		return 3
	}
	return 0
}

// describe says in which state the process is in effect.
func (v *processView) describe() {
	v.Reason = v.Why
	switch {
	case v.Frozen:
		v.Label, v.Level, v.Reason = "frozen", "bad", "stopped by a signal (SIGSTOP); it continues with Continue"
	case v.State == process.Ready:
		v.Label, v.Level, v.Reason = "ready", "good", ""
	case v.State == process.Starting:
		v.Label, v.Level = "starting", "busy"
	case v.State == process.Waiting:
		v.Label, v.Level = "starts again", "busy"
		if v.Reason == "" {
			v.Reason = "it ended: " + v.LastExit
		}
	case v.State == process.Stopped:
		v.Label, v.Level, v.Reason = "stopped", "off", "it stays down until it is started"
	default:
		v.Label, v.Level = string(v.State), "busy"
	}
}

// Level is the look of the audit's verdict.
func (v boardView) Verdict() (level, text string) {
	a := v.Audit
	switch {
	case !a.Known() && a.Problem != "":
		return "bad", "The audit does not work: " + a.Problem
	case !a.Known():
		return "busy", "The first audit is under way."
	case len(a.Value.Findings) > 0:
		return "bad", fmt.Sprintf("%s violated.", plural(len(a.Value.Findings), "invariant"))
	}
	checked := int64(0)
	for _, i := range a.Value.Invariants {
		checked += i.Checked
	}
	return "good", fmt.Sprintf("Every invariant holds (%d checks).", checked)
}

// VerdictLevel is the look of the verdict.
func (v boardView) VerdictLevel() string { level, _ := v.Verdict(); return level }

// VerdictText says what the audit found.
func (v boardView) VerdictText() string { _, text := v.Verdict(); return text }

// stateCount is how many orders are in a state.
type stateCount struct {
	Name  string
	Count int64
}

// OrderStates are the counts of the newest audit.
func (v boardView) OrderStates() []stateCount {
	counts := v.Audit.Value.Counts
	var all []stateCount
	for _, state := range []string{"inFlight", "confirmed", "rejected", "cancelled", "refunded"} {
		name := state
		if state == "inFlight" {
			name = "under way"
		}
		all = append(all, stateCount{name, counts["orders."+state]})
	}
	return all
}

// boardFragments are the parts of the board that change.
var boardFragments = []string{"summary", "waiting", "traffic", "states", "processes", "breakers"}

func (s *server) showBoard(w http.ResponseWriter, r *http.Request, sess *session) {
	readAll(r.Context(), firstView, s.boardReads(sess))
	if sess.over() {
		s.askToSignIn(w, r)
		return
	}
	s.page(w, r, sess, http.StatusOK, "board", "Board", s.viewBoard(sess))
}

func (s *server) streamBoard(w http.ResponseWriter, r *http.Request, sess *session) {
	s.stream(w, r, sess, live{
		refresh: append(s.boardReads(sess), s.auditRead(sess)),
		show:    func() ([]fragment, error) { return fragments(s.viewBoard(sess), boardFragments...) },
	})
}
