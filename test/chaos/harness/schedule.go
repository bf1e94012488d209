// Package harness breaks a running stack on purpose while clients use it. Then it checks that nothing acknowledged is
// missing and that the accounts balance. One seed decides everything that is random; the report names it.
package harness

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Kind is a kind of fault.
type Kind string

// The kinds of faults.
const (
	Kill       Kind = "kill"       // kill -9 of one process
	Pair       Kind = "pair"       // kill -9 of two processes at once
	All        Kind = "all"        // kill -9 of every program and sidecar at once
	Freeze     Kind = "freeze"     // SIGSTOP, and SIGCONT after 1, 5 or 15 s
	Restart    Kind = "restart"    // an orderly restart
	Memory     Kind = "memory"     // the broker's memory alarm
	DiskAlarm  Kind = "diskalarm"  // the broker's disk alarm
	StopApp    Kind = "stopapp"    // the broker's application stopped, and started again
	Disconnect Kind = "disconnect" // the broker closes all connections
	Cut        Kind = "cut"        // a sidecar's connection to broker or store is closed
	Slow       Kind = "slow"       // the connection becomes slow
	Hang       Kind = "hang"       // nothing passes until the connection is closed
	Truncate   Kind = "truncate"   // the connection is closed in the middle of the data
	FullDisk   Kind = "fulldisk"   // the disk of the store's files is full
)

// Kinds are all kinds of faults.
func Kinds() []Kind {
	return []Kind{Kill, Pair, All, Freeze, Restart, Memory, DiskAlarm, StopApp, Disconnect, Cut, Slow, Hang, Truncate, FullDisk}
}

// weights say how often a kind is chosen. Most faults of a storm are kills.
var weights = map[Kind]int{
	Kill: 60, Pair: 8, All: 1, Freeze: 5, Restart: 5, Memory: 2, DiskAlarm: 1, StopApp: 1, Disconnect: 2,
	Cut: 4, Slow: 4, Hang: 3, Truncate: 4, FullDisk: 2,
}

// Event is one fault of a schedule.
type Event struct {
	Number  int           `json:"number"`
	At      time.Duration `json:"at"` // since the beginning, in nanoseconds
	Kind    Kind          `json:"kind"`
	Targets []string      `json:"targets"`
	Hold    time.Duration `json:"hold"`             // how long it lasts
	Amount  int64         `json:"amount,omitempty"` // of a slow connection in ms, of a truncated one in bytes
}

// String is the event's label in logs and reports.
func (e Event) String() string {
	text := fmt.Sprintf("#%d %s %s", e.Number, e.Kind, strings.Join(e.Targets, " "))
	switch e.Kind {
	case Slow:
		text += fmt.Sprintf(" by %d ms", e.Amount)
	case Truncate:
		text += fmt.Sprintf(" after %d bytes", e.Amount)
	}
	if e.Hold > 0 {
		text += " for " + e.Hold.Round(time.Millisecond).String()
	}
	return text
}

// Targets are the possible targets of faults.
type Targets struct {
	Programs    []string // "orders", "orders-2", "gateway"
	Sidecars    []string // "orders-daprd"
	Servers     []string // "broker", and "store" when it is a process
	Connections []string // "orders:broker"
	Broker      bool     // the broker's tools can cause a fault
	Disk        bool     // the store's disk can be filled
}

// processes are all that can be killed separately.
func (t Targets) processes() []string { return slices.Concat(t.Programs, t.Sidecars, t.Servers) }

// Missing says why a kind of fault cannot affect any of the targets; "" when it can.
func (t Targets) Missing(kind Kind) string {
	switch kind {
	case Memory, DiskAlarm, StopApp, Disconnect:
		if !t.Broker {
			return "the broker has no such fault, or is not the stack's own"
		}
	case Cut, Slow, Hang, Truncate:
		if len(t.Connections) == 0 {
			return "no proxy can stand before this broker and this store"
		}
	case FullDisk:
		if !t.Disk {
			return "it needs a store in files, and root to mount a small disk"
		}
	case Kill, Pair, All, Freeze, Restart:
		if len(t.processes()) < 2 {
			return "there are no processes"
		}
	}
	return ""
}

// Plan says what schedule to make.
type Plan struct {
	Seed     uint64
	Duration time.Duration // the last fault begins before that; 0: until there are Kills
	Kills    int           // when positive, the schedule continues until this many processes are killed
	Gap      time.Duration // mean time between two faults
	Steady   bool          // gaps from half to one and a half times the mean, not from 0 to twice
	Kinds    []Kind        // kinds without a target are left out
	Targets  Targets
	// Each is how long each process is down, and then hung, one after the other. The rest of the plan is then ignored.
	Each time.Duration
	// Processes may be killed, frozen and restarted. Empty means all of Targets.
	Processes []string
}

// Schedule makes the schedule of a plan. The same plan gives the same schedule.
func (p Plan) Schedule() []Event {
	if p.Each > 0 {
		return p.outages()
	}
	kinds := slices.DeleteFunc(slices.Clone(p.Kinds), func(k Kind) bool { return p.Targets.Missing(k) != "" })
	if len(kinds) == 0 || p.Gap <= 0 {
		return nil
	}
	s := &scheduler{
		plan: p, kinds: kinds, processes: p.Processes,
		random: rand.New(rand.NewPCG(p.Seed, 0x5eed)), freeAt: make(map[string]time.Duration),
	}
	if len(s.processes) == 0 {
		s.processes = p.Targets.processes()
	}
	return s.run()
}

// scheduler makes one schedule.
type scheduler struct {
	plan      Plan
	kinds     []Kind
	processes []string
	random    *rand.Rand
	freeAt    map[string]time.Duration // when a target has recovered from its last fault
}

func (s *scheduler) run() []Event {
	var events []Event
	kills := 0
	for at := s.gap(); ; at += s.gap() {
		if p := s.plan; p.Kills > 0 && kills >= p.Kills || p.Kills <= 0 && at >= p.Duration {
			return events
		}
		event, ok := s.choose(at)
		if !ok {
			continue // all targets are down or recovering
		}
		event.Number = len(events) + 1
		kills += event.Kills()
		events = append(events, event)
	}
}

// Kills is how many processes an event kills.
func (e Event) Kills() int {
	switch e.Kind {
	case Kill, Pair, All:
		return len(e.Targets)
	}
	return 0
}

func (s *scheduler) gap() time.Duration {
	gap := time.Duration(s.random.Int64N(int64(2 * s.plan.Gap)))
	if s.plan.Steady {
		gap = (s.plan.Gap + gap) / 2
	}
	return max(gap, time.Millisecond)
}

// recovery is how long after a fault a target has no other.
const recovery = 1500 * time.Millisecond

func (s *scheduler) choose(at time.Duration) (Event, bool) {
	event := Event{At: at, Kind: s.kind()}
	switch event.Kind {
	case Kill, Restart:
		event.Targets = s.pick(at, s.processes, 1)
		if event.Kind == Kill && s.random.IntN(5) == 0 {
			event.Hold = s.upTo(2 * time.Second) // it stays down for a while
		}
	case Pair:
		event.Targets = s.pick(at, s.processes, 2)
	case All:
		event.Targets = slices.Concat(s.plan.Targets.Programs, s.plan.Targets.Sidecars)
	case Freeze:
		event.Targets = s.pick(at, s.processes, 1)
		event.Hold = []time.Duration{time.Second, 5 * time.Second, 15 * time.Second}[s.random.IntN(3)]
	case Memory, DiskAlarm, StopApp:
		event.Targets = s.pick(at, []string{"broker"}, 1)
		event.Hold = 2*time.Second + s.upTo(8*time.Second)
	case Disconnect:
		event.Targets = s.pick(at, []string{"broker"}, 1)
	case Cut, Slow, Hang, Truncate:
		event.Targets = s.pick(at, s.plan.Targets.Connections, 1)
		event.Hold = time.Second + s.upTo(7*time.Second)
		switch event.Kind {
		case Slow:
			event.Amount = 50 + s.random.Int64N(1950)
		case Truncate:
			event.Amount = 200 + s.random.Int64N(4000)
		}
	case FullDisk:
		event.Targets = s.pick(at, []string{"disk"}, 1)
		event.Hold = time.Second + s.upTo(5*time.Second)
	}
	for _, target := range event.Targets {
		s.freeAt[target] = at + event.Hold + recovery
	}
	return event, len(event.Targets) > 0
}

func (s *scheduler) upTo(d time.Duration) time.Duration {
	return time.Duration(s.random.Int64N(int64(d)))
}

func (s *scheduler) kind() Kind {
	sum := 0
	for _, kind := range s.kinds {
		sum += weights[kind]
	}
	at := s.random.IntN(sum)
	for _, kind := range s.kinds {
		if at -= weights[kind]; at < 0 {
			return kind
		}
	}
	return s.kinds[0]
}

// pick chooses targets that have recovered. It returns none when there are too few.
func (s *scheduler) pick(at time.Duration, from []string, count int) []string {
	free := slices.DeleteFunc(slices.Clone(from), func(name string) bool { return s.freeAt[name] > at })
	if len(free) < count {
		return nil
	}
	s.random.Shuffle(len(free), func(i, j int) { free[i], free[j] = free[j], free[i] })
	return free[:count]
}
