package audit

import (
	"fmt"
	"maps"
	"slices"

	"caravan/internal/audit"
	"caravan/services/payments/contract"
	"caravan/services/payments/domain"
)

// checks is the audit of one document.
type checks struct {
	into *audit.Results
	key  string
}

func (c checks) check(holds bool, invariant, format string, args ...any) {
	c.into.Check(holds, invariant, c.key, format, args...)
}

// CheckAccount checks the document of an account.
func CheckAccount(into *audit.Results, a *domain.Account) {
	c := checks{into, domain.AccountPrefix + a.UserID}
	c.zeroSum(a.Books)
	c.postings(a.Archived.Books, a.Books, a.Posted-int64(len(a.Postings))+1, a.Postings)
	c.holds(a.Holds, a.Postings)
	var held int64
	for _, h := range a.Holds {
		if h.State == domain.Authorized {
			held += h.Amount
		}
	}
	c.check(held == a.Held, contract.InvariantHeld, "held is %d, the active holds add up to %d", a.Held, held)
	c.check(a.Available().Amount >= 0, contract.InvariantAvailable, "balance %d less held %d is negative", a.Books.Balance, a.Held)
	segments := a.Archived.Tree.Leaves
	for _, root := range a.Archived.Trees {
		segments += root.Size
	}
	wrong := a.Archived.Tree.Check()
	c.check(wrong == "", contract.InvariantArchive, "%s", wrong)
	c.check(segments == a.Archived.Count, contract.InvariantArchive, "the account counts %d segments and refers to %d", a.Archived.Count, segments)
}

// CheckSegment checks a segment of the archive of userID that was found at the given place. following are the opening totals
// of the next younger segment or of the account.
func CheckSegment(into *audit.Results, userID string, at domain.Place, s domain.Segment, following domain.Books) {
	c := checks{into, at.Key}
	c.zeroSum(s.Closing)
	c.postings(s.Opening, s.Closing, s.First, s.Postings)
	c.holds(s.Holds, s.Postings)
	c.check(s.Closing.Equal(following), contract.InvariantArchive, "closes with %v, what follows opens with %v", s.Closing, following)
	c.check(s.Number != 1 || s.Opening.Equal(domain.Books{}), contract.InvariantArchive, "the first segment opens with %v", s.Opening)
	c.check(at.Intact(userID, s), contract.InvariantArchive, "its content is not what was archived")
	for _, id := range slices.Sorted(maps.Keys(s.Holds)) {
		c.check(s.Holds[id].Finished(), contract.InvariantArchive, "order %s was archived while its hold was active", id)
	}
}

// Booked is the operations that postings of one account have booked, with the sequence of the posting.
type Booked map[string]int64

// Check checks that no posting books an operation that another one has booked.
func (b Booked) Check(into *audit.Results, userID string, postings []domain.Posting) {
	for _, p := range postings {
		operation := fmt.Sprintf("%s %q of order %q", p.Kind, p.Operation, p.OrderID) // a refund's id is unique within its order
		before, twice := b[operation]
		into.Check(!twice, contract.InvariantOperation, domain.AccountPrefix+userID, "the postings %d and %d book the %s", before, p.Sequence, operation)
		b[operation] = p.Sequence
	}
}

// zeroSum checks the double entry.
func (c checks) zeroSum(b domain.Books) {
	sum := b.Sum()
	c.check(sum == 0, contract.InvariantZeroSum, "balance %d and counter-accounts %v add up to %d", b.Balance, b.Counters, sum)
}

// postings checks that consecutive postings lead from one total to the other.
func (c checks) postings(opening, closing domain.Books, first int64, postings []domain.Posting) {
	total := opening
	for i, p := range postings {
		c.check(p.Sequence == first+int64(i), contract.InvariantPostings, "posting %d is at the place of %d", p.Sequence, first+int64(i))
		total = total.Post(p)
	}
	c.check(total.Equal(closing), contract.InvariantBalance, "the postings lead to %v, the books say %v", total, closing)
}

// holds checks every hold by itself and against the postings in the same document.
func (c checks) holds(holds map[string]domain.Hold, postings []domain.Posting) {
	for _, id := range slices.Sorted(maps.Keys(holds)) {
		c.hold(id, holds[id])
	}
	for _, p := range postings {
		h, here := holds[p.OrderID]
		if !here {
			continue
		}
		switch p.Kind {
		case domain.KindCapture:
			c.check(h.State == domain.Captured && h.Captured == -p.Amount && h.Posting == p.Sequence, contract.InvariantOrderPosting,
				"order %s: posting %d captured %d, the order says %s %d by posting %d", p.OrderID, p.Sequence, -p.Amount, h.State, h.Captured, h.Posting)
		case domain.KindRefund:
			c.check(h.Refunds[p.Operation] == p.Amount, contract.InvariantOrderPosting,
				"order %s: posting %d refunded %d, the order says %d", p.OrderID, p.Sequence, p.Amount, h.Refunds[p.Operation])
		}
	}
	c.captured(holds, postings)
}

// captured checks the posting of each captured order whose sequence is among these postings.
func (c checks) captured(holds map[string]domain.Hold, postings []domain.Posting) {
	if len(postings) == 0 {
		return
	}
	first := postings[0].Sequence
	for _, id := range slices.Sorted(maps.Keys(holds)) {
		h := holds[id]
		at := h.Posting - first
		if h.State != domain.Captured || at < 0 || at >= int64(len(postings)) {
			continue
		}
		p := postings[at]
		c.check(p.Kind == domain.KindCapture && p.OrderID == id, contract.InvariantOrderPosting, "order %s: posting %d is not its capture", id, h.Posting)
	}
}

// hold checks the amounts of one order.
func (c checks) hold(id string, h domain.Hold) {
	c.check(h.Captured >= 0 && h.Captured <= h.Amount && (h.State == domain.Captured || h.Captured == 0), contract.InvariantHold,
		"order %s: %s with %d authorized and %d captured", id, h.State, h.Amount, h.Captured)
	c.check(h.Reason != contract.RefusedFunds || h.State == domain.Voided && h.Amount == 0 && (h.Wanted > h.Available || h.Wanted == 0), contract.InvariantRefusal,
		"order %s: %s as it asked for %d of %d available", id, h.State, h.Wanted, h.Available)
	var sum int64
	for _, amount := range h.Refunds {
		sum += amount
	}
	c.check(sum == h.Refunded && h.Refunded >= 0 && h.Refunded <= h.Captured, contract.InvariantRefunds,
		"order %s: %d captured, %d refunded, refunds add up to %d", id, h.Captured, h.Refunded, sum)
}
