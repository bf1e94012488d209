package sim

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Phase says whether a program crashes before or after an effect.
type Phase int

// The two sides of a call to the outside.
const (
	Before Phase = iota // the call is not sent
	After               // the call took effect, but nobody gets its answer
)

// CrashPoint is the n-th call to the outside of any program, from 1.
type CrashPoint struct {
	Boundary int
	Phase    Phase
}

// String is the name of the point.
func (p CrashPoint) String() string {
	return fmt.Sprintf("%s #%d", [...]string{"before", "after"}[p.Phase], p.Boundary)
}

// Faults say how a world fails. Numbers are probabilities per occasion, unless the comment says otherwise.
type Faults struct {
	// Kind is the store that is simulated.
	Kind Kind
	// Slow calls take up to four seconds in each direction.
	Slow float64
	// ReadFails, WriteFails: the store refuses a call, without effect.
	ReadFails, WriteFails float64
	// BulkReadCut: the connections to the store break during a read of many keys, and for a moment after it.
	BulkReadCut float64
	// StockSidecar: the sidecars are Dapr's own. On SQLite and PostgreSQL, when a read of many keys breaks off, they
	// report some existing keys as absent, without an error (components-contrib v1.18.0: BulkGet does not check
	// rows.Err). They mark no absent keys. Our own sidecar reports the error.
	StockSidecar bool
	// WriteReplyLost: a write is stored and reported as failed.
	WriteReplyLost float64
	// WriteLate: a write is reported as failed, and happens up to 20 s later.
	WriteLate float64
	// StoreDown is the mean time between outages of one service's store; 0 for none.
	StoreDown time.Duration
	// StoreHangs is the mean time between hangs of one service's store, in which it answers nothing; 0 for none.
	StoreHangs time.Duration
	// CallLost, CallReplyLost: a call between services, or its answer, is lost.
	CallLost, CallReplyLost float64
	// CallTwice: a call is delivered a second time, up to 5 s later.
	CallTwice float64
	// PublishLost: a publish is answered with success, but lost.
	PublishLost float64
	// PublishFails: a publish is answered with an error; half of them are stored.
	PublishFails float64
	// Redelivered: a message is delivered again, up to a minute later.
	Redelivered float64
	// Delayed: a message is delayed for up to a minute, so that others overtake it.
	Delayed float64
	// BrokerDown is the mean time between outages of the broker; 0 for none.
	BrokerDown time.Duration
	// Deaf: a sidecar starts without its subscriptions. In half of the cases its metadata shows them nevertheless.
	Deaf float64
	// Crash and SidecarCrash are the mean times between crashes of any program or sidecar; 0 for none.
	Crash, SidecarCrash time.Duration
	// CrashAt crashes the program that calls the outside at these points.
	CrashAt []CrashPoint
	// Outage is one dependency that is unavailable for a while.
	Outage Outage
	// Replicas is how many replicas each service has.
	Replicas int
	// Skew is the largest error of a program's clock.
	Skew time.Duration
	// Email: notifications sends e-mails.
	Email bool
	// Push: notifications sends push messages to devices that are subscribed.
	Push bool
	// MailFails: the mail server refuses an e-mail for now. MailReplyLost: it takes one, and the answer is lost.
	MailFails, MailReplyLost float64
	// PushFails: the push service refuses a message for now. PushReplyLost: it takes one, and the answer is lost.
	PushFails, PushReplyLost float64
	// Sabotage is a broken rule, which the run must notice.
	Sabotage Sabotage
}

// Drawn is a random selection of faults. Not all occur in every run, because faults that hide each other prove less
// (swarm testing, Groce et al. 2012).
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
	f.Email, f.MailFails, f.MailReplyLost = rng.IntN(3) == 0, some(0.3), some(0.2)
	return f
}

// drawPush draws those of push messages.
func (f *Faults) drawPush(rng *rand.Rand) {
	f.Push, f.PushFails, f.PushReplyLost = rng.IntN(3) == 0, 0.3*rng.Float64(), 0.2*rng.Float64()
}
