package domain

import (
	"slices"
	"time"

	"caravan/internal/document"
)

// Result is how an attempt ended. Exactly one of Sent, Refused, Suppressed, Postponed and Failed is set.
type Result struct {
	Sent bool
	// Refused: it can never be sent. Suppressed: the person does not want it.
	Refused, Suppressed bool
	// Failed: sending failed and may succeed later. Postponed: it was not tried, as a service that it needs did not answer, or as
	// the person has quiet hours.
	Failed, Postponed bool
	// Reason says why, without personal data.
	Reason string
	// Next is when to try again after Failed and Postponed.
	Next time.Time
	// Served are the devices that have the message after Failed; another attempt leaves them out.
	Served []string
}

// Conclude records the result of the attempt with a claim. Only that of the attempt which holds the claim counts, and that of one
// which has sent, to the person or to some devices: what was sent cannot be undone.
func (t *Thread) Conclude(place int, by string, r Result, rules DeliveryRules, now time.Time) error {
	if place >= len(t.Deliveries) {
		return ErrNoDelivery
	}
	now = now.UTC().Truncate(time.Millisecond)
	d := &t.Deliveries[place]
	holds := d.State == DeliveryClaimed && d.Claim.By == by
	switch {
	case r.Sent && d.State == DeliverySent && d.Claim.By == by: // a repeat
		return document.ErrUnchanged
	case r.Sent:
		d.sent(by, now)
		t.supersede()
		return nil
	case d.State.Ended():
		return document.ErrUnchanged
	}
	served := d.serve(r.Served)
	if !holds {
		if served {
			return nil
		}
		return document.ErrUnchanged
	}
	d.NextAttemptAt, d.Reason = time.Time{}, r.Reason
	switch {
	case r.Suppressed:
		d.State = DeliverySuppressed
	case r.Refused:
		d.fail(r.Reason, now)
		d.State = DeliveryFailed
	case r.Postponed:
		d.State, d.NextAttemptAt = DeliveryWaiting, r.Next
		d.Attempts--
		d.Postponed++
	case r.Failed:
		d.Unknown = true // the other side may have taken it before the failure
		d.fail(r.Reason, now)
		d.State, d.NextAttemptAt = DeliveryWaiting, r.Next
		if d.Attempts >= rules.Attempts {
			d.State, d.NextAttemptAt = DeliveryFailed, time.Time{}
		}
	}
	t.supersede()
	return nil
}

// sent records that an attempt has sent the delivery.
func (d *Delivery) sent(by string, now time.Time) {
	d.State, d.SentAt, d.Reason, d.By, d.NextAttemptAt, d.Served = DeliverySent, now, "", "", time.Time{}, nil
	d.Claim.By = by
	d.Sends++
}

// serve records devices that have the message. It reports whether one of them is new.
func (d *Delivery) serve(devices []string) bool {
	all := slices.Concat(d.Served, devices)
	slices.Sort(all)
	before := len(d.Served)
	if all = slices.Compact(all); len(all) == before {
		return false
	}
	d.Served = all
	return true
}

func (d *Delivery) fail(reason string, now time.Time) {
	d.History = append(slices.Clone(d.History), FailedAttempt{At: now, Error: reason})
	if surplus := len(d.History) - deliveryHistory; surplus > 0 {
		d.History = slices.Delete(d.History, 0, surplus)
	}
}

// Resend makes a delivery due at once, as staff ask for it under an operation id. A later status does not supersede it any
// more; the wishes of the person still count. Errors: ErrNoDelivery, ErrUnderWay.
func (t *Thread) Resend(place int, operation string, now time.Time) error {
	if place >= len(t.Deliveries) {
		return ErrNoDelivery
	}
	d := &t.Deliveries[place]
	switch {
	case slices.Contains(d.Operations, operation):
		return document.ErrUnchanged
	case d.State == DeliveryClaimed:
		return ErrUnderWay
	}
	now = now.UTC().Truncate(time.Millisecond)
	d.Operations = append(slices.Clone(d.Operations), operation)
	if surplus := len(d.Operations) - deliveryRepeats; surplus > 0 {
		d.Operations = slices.Delete(d.Operations, 0, surplus)
	}
	d.State, d.NextAttemptAt, d.Attempts, d.Postponed, d.Reason, d.By, d.Served = DeliveryWaiting, now, 0, 0, "", "", nil
	d.Resends++
	t.Emit(EventDeliveryAdded, now, deliveryAdded{Deliveries: len(t.Deliveries)})
	return nil
}

// Ended reports whether nothing more happens to the thread by itself.
func (t *Thread) Ended() bool {
	return !slices.ContainsFunc(t.Deliveries, func(d Delivery) bool { return !d.State.Ended() })
}
