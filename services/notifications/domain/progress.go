package domain

import (
	"slices"
	"time"

	orders "caravan/services/orders/contract"
)

// heldMost is how many statuses of one order wait for an earlier one. With more they are sent as they are.
const heldMost = 32

// Progress puts the statuses of one order in the order of their sequence numbers. Events may arrive in any order. So a status before
// which another one may be missing waits for it, for a short time. A status that comes later than that is left out, because the
// newest one must stay the last. The zero value is ready for use.
type Progress struct {
	sent    int64  // the highest number that was passed on
	known   uint64 // bit n is set if the number sent-n was passed on, or came too late
	held    []OrderStatus
	release time.Time // when the held ones are passed on in any case
}

// Take takes a status at a time and returns those that are to be passed on now, in order. late says that this one came too late and
// is left out. A status that comes again is ignored.
func (p *Progress) Take(s OrderStatus, now time.Time, hold time.Duration) (pass []OrderStatus, late bool) {
	if s.Sequence <= p.sent {
		return nil, p.remember(p.sent - s.Sequence)
	}
	i, again := slices.BinarySearchFunc(p.held, s.Sequence, func(h OrderStatus, sequence int64) int { return int(h.Sequence - sequence) })
	if again {
		return nil, false
	}
	if len(p.held) == 0 {
		p.release = now.Add(hold)
	}
	p.held = slices.Insert(p.held, i, s)
	return p.Due(now), false
}

// remember notes the number that is n below the highest one. It reports whether it is new.
func (p *Progress) remember(n int64) bool {
	if n >= 64 || p.known>>n&1 == 1 {
		return false
	}
	p.known |= 1 << n
	return true
}

// Due returns the statuses that are to be passed on at a time: those without a gap, and all if their time is over.
func (p *Progress) Due(now time.Time) []OrderStatus {
	over := !p.release.After(now) || len(p.held) > heldMost
	n := 0
	for n < len(p.held) && (over || p.follows(p.held[n])) {
		p.known = p.known<<(p.held[n].Sequence-p.sent) | 1
		p.sent = p.held[n].Sequence
		n++
	}
	pass := slices.Clone(p.held[:n])
	p.held = slices.Delete(p.held, 0, n)
	return pass
}

// follows reports whether no status is missing before this one. Orders publishes only the ends of orders (orders.Published), so that
// most numbers are not seen. Nothing that matters precedes the first end of an order. A refund, of all or of a part, has two numbers, of
// which the second one is published. One that staff retried has more, and waits.
func (p *Progress) follows(s OrderStatus) bool {
	switch {
	case s.Sequence == p.sent+1:
		return true
	case s.Refund:
		return p.sent > 0 && s.Sequence == p.sent+2
	}
	return p.sent <= 1 && slices.Contains([]string{string(orders.Confirmed), string(orders.Rejected), string(orders.Cancelled)}, s.Status)
}

// Waiting returns when Due has to be called, and false if nothing waits.
func (p *Progress) Waiting() (time.Time, bool) { return p.release, len(p.held) > 0 }
