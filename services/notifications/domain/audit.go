package domain

import (
	"slices"
	"strings"
	"time"

	"caravan/internal/audit"
	"caravan/services/notifications/contract"
	orders "caravan/services/orders/contract"
)

const (
	// youngestTooOld is the least DeliveryRules.MaxAge that a program may have. The audit does not know the present one to have
	// applied in the past.
	youngestTooOld = time.Minute
	// eventSkew is more than the clocks of two services differ, plus the age of an event when it is handled.
	eventSkew = time.Minute
)

// AuditThread checks a thread of deliveries by itself. key is that of its document, and skew is more than clocks of replicas differ.
func AuditThread(into *audit.Results, key, threadID string, t *Thread, skew time.Duration) {
	once := make(map[string]bool, len(t.Deliveries))
	for i, d := range t.Deliveries {
		id := DeliveryID(threadID, i)
		of := Notice{UserID: t.UserID, EventID: d.EventID, Data: d.Data}
		into.Check(ThreadID(t.Channel, of) == threadID && threadSubject(of) == t.Subject, contract.InvariantThread, id,
			"%s to %s about %s by %s is in the thread of another person or subject", d.EventID, t.UserID, t.Subject, t.Channel)
		source, rest, _ := strings.Cut(d.EventID, "/")
		into.Check(source != orders.App || d.Data.OrderID == "" || strings.HasPrefix(rest, d.Data.OrderID+"/"), contract.InvariantThread, id,
			"%s is about order %s", d.EventID, d.Data.OrderID)
		into.Check(!once[d.EventID], contract.InvariantOneMessage, id, "%s has two messages", d.EventID)
		once[d.EventID] = true
		auditState(into, id, &d)
		auditTimes(into, id, &d, skew)
		auditSends(into, id, &d)
		t.auditOrder(into, threadID, i, skew)
	}
	into.Check(len(t.Deliveries) > 0, contract.InvariantThread, key, "the thread has no message")
}

// auditState checks that the members of a delivery agree with its state.
func auditState(into *audit.Results, id string, d *Delivery) {
	agrees := slices.Contains(DeliveryStates(), d.State)
	switch d.State {
	case DeliveryWaiting:
		agrees = !d.NextAttemptAt.IsZero()
	case DeliveryClaimed:
		agrees = d.Claim.By != "" && !d.Claim.Until.IsZero() && d.Attempts > 0 && d.NextAttemptAt.IsZero()
	case DeliverySent:
		agrees = d.Sends > 0 && d.Claim.By != ""
	case DeliveryFailed:
		agrees = d.Attempts > 0 && len(d.History) > 0
	case DeliverySuperseded:
		agrees = d.By != "" && d.Rank > 0
	case DeliverySuppressed:
		agrees = d.Reason != ""
	}
	if d.State.Ended() && d.State != DeliverySuppressed { // one that was too old never had its turn
		agrees = agrees && d.NextAttemptAt.IsZero()
	}
	agrees = agrees && d.Attempts >= 0 && d.Postponed >= 0 && (d.Sends > 0) != d.SentAt.IsZero()
	into.Check(agrees, contract.InvariantMessageState, id, "is %s after %d attempts and %d sends: claim %q, next attempt %s, by %q, %q",
		d.State, d.Attempts, d.Sends, d.Claim.By, d.NextAttemptAt.Format(time.RFC3339), d.By, d.Reason)
}

// auditTimes checks the order of the times of a delivery.
func auditTimes(into *audit.Results, id string, d *Delivery, skew time.Duration) {
	ordered := !d.OccurredAt.After(d.CreatedAt.Add(eventSkew)) && (d.SentAt.IsZero() || !d.SentAt.Before(d.CreatedAt.Add(-skew)))
	for _, failed := range d.History {
		ordered = ordered && !failed.At.Before(d.CreatedAt.Add(-skew))
	}
	into.Check(ordered, contract.InvariantMessageState, id, "occurred at %s, was added at %s and sent at %s",
		d.OccurredAt.Format(time.RFC3339), d.CreatedAt.Format(time.RFC3339), d.SentAt.Format(time.RFC3339))
	if d.State == DeliverySuppressed && d.Reason == ReasonTooOld && d.Attempts == 0 { // an attempt may find it too old later
		into.Check(d.CreatedAt.Sub(d.OccurredAt) >= youngestTooOld, contract.InvariantWishes, id, "was too old after %s",
			d.CreatedAt.Sub(d.OccurredAt))
	}
}

// auditSends checks how often a message was sent. An attempt sends at most once, and a further attempt begins only if staff ask for
// it, or if the outcome of one before is not known.
func auditSends(into *audit.Results, id string, d *Delivery) {
	may := 1 + d.Resends
	switch {
	case d.Unknown && d.Resends > 0:
		may = d.Sends // how many attempts there were before staff asked is not known any more
	case d.Unknown:
		may = max(may, d.Attempts)
	}
	into.Check(d.Sends <= may, contract.InvariantSentOnce, id, "was sent %d times, with %d attempts and after %d requests of staff",
		d.Sends, d.Attempts, d.Resends)
}

// auditOrder checks the status at a place of a thread against the others of its subject.
func (t *Thread) auditOrder(into *audit.Results, threadID string, place int, skew time.Duration) {
	d, id := t.Deliveries[place], DeliveryID(threadID, place)
	if d.State == DeliverySuperseded {
		into.Check(slices.ContainsFunc(t.Deliveries, func(o Delivery) bool { return o.EventID == d.By && laterStatus(o, d) }),
			contract.InvariantMessageOrder, id, "is superseded by %s, which is no later status of %s", d.By, t.Subject)
	}
	if d.Rank == 0 || d.Resends > 0 {
		return
	}
	for _, later := range t.Deliveries {
		if later.Rank == 0 || !laterStatus(later, d) {
			continue
		}
		into.Check(d.State != DeliveryWaiting || later.State != DeliverySent, contract.InvariantMessageOrder, id,
			"waits although %s was sent", later.EventID)
		if d.timely() && later.timely() {
			into.Check(!d.SentAt.After(later.SentAt.Add(skew)), contract.InvariantMessageOrder, id, "was sent after %s, at %s and %s",
				later.EventID, d.SentAt.Format(time.RFC3339), later.SentAt.Format(time.RFC3339))
		}
	}
}

// timely reports whether a delivery was sent while its claim lasted, so that it is known when. The result of an attempt that was paused
// may be stored later.
func (d *Delivery) timely() bool {
	return d.State == DeliverySent && !d.Unknown && !d.SentAt.After(d.Claim.Until)
}

// Explains reports whether a thread says what became of a notice: it has the delivery of its event, or a later status of the same
// subject, after which the event needs none.
func (t *Thread) Explains(n Notice) bool {
	kind, known := KindOf(n.Type)
	d := Delivery{EventID: n.EventID, Type: n.Type, Kind: kind.Name, Rank: kind.Rank, OccurredAt: n.OccurredAt}
	return known && slices.ContainsFunc(t.Deliveries, func(o Delivery) bool {
		return o.EventID == n.EventID || d.Rank > 0 && o.Rank > 0 && laterStatus(o, d)
	})
}

// AuditWishes checks a thread against what its person wants. What the person wanted in the past is known only if they have changed
// nothing since: then no message was sent that they have switched off, and none was suppressed that they want.
func AuditWishes(into *audit.Results, threadID string, t *Thread, wishes *Preferences) {
	for i, d := range t.Deliveries {
		kind, known := KindOf(d.Type)
		if !known || !wishes.Before(d.CreatedAt) {
			continue
		}
		id := DeliveryID(threadID, i)
		into.Check(!d.switchedOff() || !wishes.Wants(kind, t.Channel), contract.InvariantWishes, id, "is suppressed although %s wants %s by %s",
			t.UserID, kind.Name, t.Channel)
		into.Check(d.Sends == 0 || !wishes.declines(kind, t.Channel), contract.InvariantWishes, id, "was sent although %s has switched off %s by %s",
			t.UserID, kind.Name, t.Channel)
	}
}
