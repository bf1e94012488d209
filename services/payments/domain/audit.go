package domain

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Names of the invariants, as findings carry them.
const (
	InvariantZeroSum      = "ledger-zero-sum"
	InvariantBalance      = "balance-is-sum-of-postings"
	InvariantHeld         = "held-is-sum-of-holds"
	InvariantAvailable    = "available-not-negative"
	InvariantHold         = "captured-within-authorized"
	InvariantRefunds      = "refunds-within-captured"
	InvariantPostings     = "postings-without-gap"
	InvariantOrderPosting = "order-agrees-with-postings"
	InvariantArchive      = "archive-complete"
	InvariantDeposit      = "deposit-agrees-with-bank"
)

// Finding is one violated invariant.
type Finding struct {
	Invariant string
	// Key is the document or order it was found at.
	Key    string
	Detail string
}

// findings collects what is wrong with one document.
type findings struct {
	key  string
	list []Finding
}

func (f *findings) add(invariant, format string, args ...any) {
	f.list = append(f.list, Finding{Invariant: invariant, Key: f.key, Detail: fmt.Sprintf(format, args...)})
}

// AuditAccount checks the head of an account by itself.
func AuditAccount(a *Account) []Finding {
	f := &findings{key: AccountPrefix + a.UserID}
	f.zeroSum(a.Books)
	f.postings(a.Archived.Books, a.Books, a.Posted-int64(len(a.Postings))+1, a.Postings)
	f.holds(a.Holds, a.Postings)
	var held int64
	for _, h := range a.Holds {
		if h.State == Authorized {
			held += h.Amount
		}
	}
	if held != a.Held {
		f.add(InvariantHeld, "held is %d, the active holds add up to %d", a.Held, held)
	}
	if a.Available().Amount < 0 {
		f.add(InvariantAvailable, "balance %d less held %d is negative", a.Books.Balance, a.Held)
	}
	var segments int64
	for _, tree := range a.Archived.Trees {
		segments += tree.Size
	}
	if segments != a.Archived.Count {
		f.add(InvariantArchive, "the head counts %d segments and points to %d", a.Archived.Count, segments)
	}
	return f.list
}

// AuditSegment checks one segment of the archive of userID, which lies under key. following are the totals from which
// the next younger segment, or the head, goes on.
func AuditSegment(userID, key string, s Segment, following Books) []Finding {
	f := &findings{key: key}
	f.zeroSum(s.Closing)
	f.postings(s.Opening, s.Closing, s.First, s.Postings)
	f.holds(s.Holds, s.Postings)
	if !s.Closing.Equal(following) {
		f.add(InvariantArchive, "closes with %v, what follows opens with %v", s.Closing, following)
	}
	if s.Number == 1 && !s.Opening.Equal(Books{}) {
		f.add(InvariantArchive, "the first segment opens with %v", s.Opening)
	}
	if key != segmentKey(userID, s) {
		f.add(InvariantArchive, "its content is not what was archived")
	}
	for _, id := range slices.Sorted(maps.Keys(s.Holds)) {
		if !s.Holds[id].finished() {
			f.add(InvariantArchive, "order %s was archived while its hold was active", id)
		}
	}
	return f.list
}

// zeroSum checks the double entry.
func (f *findings) zeroSum(b Books) {
	if sum := b.Sum(); sum != 0 {
		f.add(InvariantZeroSum, "balance %d and counter-accounts %v add up to %d", b.Balance, b.Counters, sum)
	}
}

// postings checks that a run of postings leads from one total to the other.
func (f *findings) postings(opening, closing Books, first int64, postings []Posting) {
	total := opening
	for i, p := range postings {
		if p.Sequence != first+int64(i) {
			f.add(InvariantPostings, "posting %d is at the place of %d", p.Sequence, first+int64(i))
		}
		total = total.post(p)
	}
	if !total.Equal(closing) {
		f.add(InvariantBalance, "the postings lead to %v, the books say %v", total, closing)
	}
}

// holds checks every hold by itself and against the postings that lie in the same document.
func (f *findings) holds(holds map[string]Hold, postings []Posting) {
	for _, id := range slices.Sorted(maps.Keys(holds)) {
		f.hold(id, holds[id])
	}
	for _, p := range postings {
		h, here := holds[p.OrderID]
		if p.Kind == KindDeposit || !here {
			continue
		}
		switch {
		case p.Kind == KindCapture && (h.State != Captured || h.Captured != -p.Amount || h.Posting != p.Sequence):
			f.add(InvariantOrderPosting, "order %s: posting %d captured %d, the order says %s %d by posting %d",
				p.OrderID, p.Sequence, -p.Amount, h.State, h.Captured, h.Posting)
		case p.Kind == KindRefund && h.Refunds[p.Operation] != p.Amount:
			f.add(InvariantOrderPosting, "order %s: posting %d refunded %d, the order says %d",
				p.OrderID, p.Sequence, p.Amount, h.Refunds[p.Operation])
		}
	}
	f.captured(holds, postings)
}

// captured checks that the posting of each captured order is there, if its place is among these postings.
func (f *findings) captured(holds map[string]Hold, postings []Posting) {
	if len(postings) == 0 {
		return
	}
	first := postings[0].Sequence
	for _, id := range slices.Sorted(maps.Keys(holds)) {
		h := holds[id]
		at := h.Posting - first
		if h.State != Captured || at < 0 || at >= int64(len(postings)) {
			continue
		}
		if p := postings[at]; p.Kind != KindCapture || p.OrderID != id {
			f.add(InvariantOrderPosting, "order %s: posting %d is not its capture", id, h.Posting)
		}
	}
}

// hold checks the amounts of one order.
func (f *findings) hold(id string, h Hold) {
	if h.Captured < 0 || h.Captured > h.Amount || (h.State != Captured && h.Captured != 0) {
		f.add(InvariantHold, "order %s: %s with %d authorized and %d captured", id, h.State, h.Amount, h.Captured)
	}
	var sum int64
	for _, amount := range h.Refunds {
		sum += amount
	}
	if sum != h.Refunded || h.Refunded < 0 || h.Refunded > h.Captured {
		f.add(InvariantRefunds, "order %s: %d captured, %d refunded, refunds add up to %d", id, h.Captured, h.Refunded, sum)
	}
}

// String writes the totals in a stable order.
func (b Books) String() string {
	parts := []string{fmt.Sprintf("balance %d", b.Balance)}
	for _, name := range slices.Sorted(maps.Keys(b.Counters)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, b.Counters[name]))
	}
	return strings.Join(parts, ", ")
}
