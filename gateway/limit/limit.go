// Package limit counts requests by rate class with the generic cell rate algorithm (GCRA, ITU-T I.371). It stores one
// time per caller. There are no window edges at which twice the quota passes, and the memory is limited without
// refusing new callers.
package limit

import (
	"fmt"
	"hash/maphash"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"caravan/internal/clock"
)

const shardCount = 64 // a power of two; enough that two cores seldom need the same lock

// Policy is one rate class: Quota requests in each Window, which may come all at once.
type Policy struct {
	Name   string
	Quota  int64
	Window time.Duration
}

// Key identifies one caller within a class. It has a fixed size, so that a long subject costs no more than a short one.
type Key [16]byte

// Address returns the key of a client address. An IPv6 client controls a whole /64, so each /64 is one caller. An IPv4
// address mapped into IPv6 counts as the IPv4 address.
func Address(a netip.Addr) Key {
	key := Key(a.As16())
	if a.Is6() && !a.Is4In6() {
		clear(key[8:])
	}
	return key
}

// Limiter counts callers per class. It is safe for concurrent use.
type Limiter struct {
	clock   clock.Clock
	start   time.Time
	classes map[string]*Class
	seeds   [2]maphash.Seed
	shards  [shardCount]shard
}

type shard struct {
	mu       sync.Mutex
	arrivals map[callerKey]int64 // theoretical arrival time, in ns since start
	capacity int
}

type callerKey struct {
	class uint8
	key   Key
}

// New returns a limiter that remembers about callers callers at most. When it is full, it forgets the caller who has
// used the least of its quota.
func New(policies []Policy, callers int, clk clock.Clock) (*Limiter, error) {
	l := &Limiter{clock: clk, start: clk.Now(), classes: make(map[string]*Class), seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
	if len(policies) > 200 || callers < shardCount {
		return nil, fmt.Errorf("rate limits: at most 200 classes and at least %d callers", shardCount)
	}
	for i := range l.shards {
		l.shards[i] = shard{arrivals: make(map[callerKey]int64), capacity: callers / shardCount}
	}
	for i, p := range policies {
		if p.Name == "" || p.Quota < 1 || p.Window < time.Second || p.Window > 24*time.Hour || p.Quota > int64(p.Window) {
			return nil, fmt.Errorf("rate class %q: quota %d in %s is out of range", p.Name, p.Quota, p.Window)
		}
		if l.classes[p.Name] != nil {
			return nil, fmt.Errorf("rate class %q is declared twice", p.Name)
		}
		l.classes[p.Name] = &Class{
			limiter: l, index: uint8(i), window: int64(p.Window), interval: int64(p.Window) / p.Quota,
			item:   strconv.Quote(p.Name),
			policy: []string{fmt.Sprintf("%q;q=%d;w=%d", p.Name, p.Quota, int64(p.Window/time.Second))},
		}
	}
	return l, nil
}

// Class returns the class of a name, or nil if there is none.
func (l *Limiter) Class(name string) *Class { return l.classes[name] }

// Subject returns the key of an authenticated subject. Another process has different keys.
func (l *Limiter) Subject(subject string) Key {
	var key Key
	for i, seed := range l.seeds {
		h := maphash.String(seed, subject)
		for b := range 8 {
			key[i*8+b] = byte(h >> (8 * b))
		}
	}
	return key
}

// Class is one rate class of a limiter.
type Class struct {
	limiter  *Limiter
	index    uint8
	window   int64 // ns
	interval int64 // ns between two requests at the steady rate
	item     string
	policy   []string
}

// Decision is the answer to one request.
type Decision struct {
	Allowed   bool
	Remaining int64         // requests that would be allowed right now
	Reset     time.Duration // until the whole quota is available; if refused, until the next request is allowed
	class     *Class
}

// Take counts one request of a caller and decides whether it is allowed. A refused request costs nothing, so a caller
// who waits for the given time is always admitted.
func (c *Class) Take(key Key) Decision {
	now := int64(c.limiter.clock.Now().Sub(c.limiter.start))
	s := &c.limiter.shards[(key[0]^key[3]^key[7]^key[12]^key[15])%shardCount]
	id := callerKey{class: c.index, key: key}

	s.mu.Lock()
	defer s.mu.Unlock()
	arrival, known := s.arrivals[id]
	next := max(arrival, now) + c.interval
	if wait := next - c.window - now; wait > 0 {
		return Decision{Reset: time.Duration(wait), class: c}
	}
	if !known && len(s.arrivals) >= s.capacity {
		s.forget(now)
	}
	s.arrivals[id] = next
	return Decision{Allowed: true, Remaining: (c.window - (next - now)) / c.interval, Reset: time.Duration(next - now), class: c}
}

// forget makes room. It looks at a few callers in the map's random order and removes those whose quota is complete
// again. If there are none, it removes the one who has used the least.
func (s *shard) forget(now int64) {
	var least callerKey
	smallest, seen, dropped := int64(0), 0, 0
	for id, arrival := range s.arrivals {
		if arrival <= now {
			delete(s.arrivals, id)
			dropped++
		} else if seen == 0 || arrival < smallest {
			least, smallest = id, arrival
			seen++
		}
		if seen+dropped >= 8 {
			break
		}
	}
	if dropped == 0 {
		delete(s.arrivals, least)
	}
}

// Callers returns the number of remembered callers.
func (l *Limiter) Callers() int {
	total := 0
	for i := range l.shards {
		l.shards[i].mu.Lock()
		total += len(l.shards[i].arrivals)
		l.shards[i].mu.Unlock()
	}
	return total
}

// RetryAfter is how long a refused caller has to wait, in whole seconds, rounded up, at least one, because with a
// Retry-After of 0 clients repeat at once. It is 0 for an allowed request.
func (d Decision) RetryAfter() time.Duration {
	if d.Allowed {
		return 0
	}
	return time.Duration(seconds(d.Reset)) * time.Second
}

// Policy returns the value of the RateLimit-Policy field (draft-ietf-httpapi-ratelimit-headers-10): the class with its
// quota q in each window of w seconds. Do not change the slice, because it is shared.
func (d Decision) Policy() []string { return d.class.policy }

// Field returns the value of the RateLimit field: what remains of the quota now (r) and the seconds until it increases
// (t). For a refused request t equals Retry-After.
func (d Decision) Field() string {
	b := make([]byte, 0, 48)
	b = append(b, d.class.item...)
	b = append(b, ";r="...)
	b = strconv.AppendInt(b, d.Remaining, 10)
	b = append(b, ";t="...)
	b = strconv.AppendInt(b, seconds(d.Reset), 10)
	return string(b)
}

func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
