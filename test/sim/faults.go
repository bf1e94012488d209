package sim

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Phase says on which side of an effect a program crashes.
type Phase int

// The two sides of a call to the outside.
const (
	Before Phase = iota // the call never leaves
	After               // the call took effect, and its answer finds nobody
)

// CrashPoint is the n-th time that any program touches the outside, from 1.
type CrashPoint struct {
	Boundary int
	Phase    Phase
}

// String names the point.
func (p CrashPoint) String() string {
	return fmt.Sprintf("%s #%d", [...]string{"before", "after"}[p.Phase], p.Boundary)
}

// Faults is how a world misbehaves: probabilities per occasion unless said otherwise.
type Faults struct {
	// Kind is the store whose ways are imitated.
	Kind Kind
	// Slow calls take up to four seconds a way.
	Slow float64
	// ReadFails, WriteFails: the store refuses, with no effect.
	ReadFails, WriteFails float64
	// BulkReadCut: the connections to the store break during a read of many keys, and for a moment after it.
	BulkReadCut float64
	// StockSidecar: the sidecars are Dapr's own. On SQLite and PostgreSQL a read of many keys that is cut answers some of
	// those that exist as if they did not, without an error (components-contrib v1.18.0: BulkGet never looks at rows.Err),
	// and no answer marks a key that does not exist. Our own report the error.
	StockSidecar bool
	// WriteReplyLost: a write is stored and reported as failed.
	WriteReplyLost float64
	// WriteLate: a write is reported as failed, and is tried up to 20 s later.
	WriteLate float64
	// StoreDown is the mean time between outages of one service's store; 0 for none.
	StoreDown time.Duration
	// StoreHangs is the mean time between times in which one service's store answers nothing; 0 for none.
	StoreHangs time.Duration
	// CallLost, CallReplyLost: a call between services, or its answer, gets lost.
	CallLost, CallReplyLost float64
	// CallTwice: a call is delivered a second time, up to 5 s later.
	CallTwice float64
	// PublishLost: a publish is answered with success, and lost.
	PublishLost float64
	// PublishFails: a publish is answered with an error; half of them are stored.
	PublishFails float64
	// Redelivered: a message comes again, up to a minute later.
	Redelivered float64
	// Delayed: a message is held back for up to a minute, and so overtaken.
	Delayed float64
	// BrokerDown is the mean time between outages of the broker; 0 for none.
	BrokerDown time.Duration
	// Deaf: a sidecar starts without its subscriptions, and its metadata shows them nevertheless in
	// half of the cases.
	Deaf float64
	// Crash and SidecarCrash are the mean times between crashes of any program or sidecar; 0 for none.
	Crash, SidecarCrash time.Duration
	// CrashAt crashes the program that touches the outside at these points.
	CrashAt []CrashPoint
	// Outage is one dependency that is unavailable for a while.
	Outage Outage
	// Replicas is how many of each service there are.
	Replicas int
	// Skew is the most by which a program's clock is off.
	Skew time.Duration
	// Sabotage is a rule that is broken, to see that it is noticed.
	Sabotage Sabotage
}

// Drawn is a random selection of faults: not all at once in every run, as faults that hide each other
// prove less (swarm testing, Groce et al. 2012).
func Drawn(rng *rand.Rand) Faults {
	some := func(most float64) float64 {
		if rng.IntN(2) == 0 {
			return 0
		}
		return most * rng.Float64()
	}
	often := func(low, high time.Duration) time.Duration {
		if rng.IntN(2) == 0 {
			return 0
		}
		return low + time.Duration(rng.Float64()*float64(high-low))
	}
	f := Faults{
		Kind: Kind(rng.IntN(3)), Slow: some(0.05),
		ReadFails: some(0.05), WriteFails: some(0.05), WriteReplyLost: some(0.1), WriteLate: some(0.05),
		StoreDown: often(time.Second, 20*time.Second),
		CallLost:  some(0.1), CallReplyLost: some(0.1), CallTwice: some(0.2),
		PublishLost: some(0.5), PublishFails: some(0.2), Redelivered: some(0.5), Delayed: some(0.5),
		BrokerDown: often(time.Second, 20*time.Second), Deaf: some(1),
		Crash: often(300*time.Millisecond, 6*time.Second), SidecarCrash: often(500*time.Millisecond, 10*time.Second),
		Replicas: 1 + rng.IntN(2),
	}
	if rng.IntN(4) == 0 {
		f.Skew = time.Duration(rng.Float64() * float64(7*time.Second))
	}
	if rng.IntN(4) == 0 {
		f.StoreHangs = often(10*time.Second, 60*time.Second)
	}
	f.BulkReadCut, f.StockSidecar = some(0.05), rng.IntN(8) == 0
	return f
}
