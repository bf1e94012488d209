package domain

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"caravan/internal/document"
	"caravan/internal/id"
)

// DeliveryState is the state of a delivery.
type DeliveryState string

// The states of a delivery. The last four are ends, from which only staff take it.
const (
	// DeliveryWaiting: it is sent at its next attempt.
	DeliveryWaiting DeliveryState = "waiting"
	// DeliveryClaimed: one attempt may send it, until its claim ends.
	DeliveryClaimed DeliveryState = "claimed"
	// DeliverySent: the other side has taken it.
	DeliverySent DeliveryState = "sent"
	// DeliveryFailed: the other side refused it for ever, or all attempts failed.
	DeliveryFailed DeliveryState = "failed"
	// DeliverySuperseded: a later status of the same subject took its place.
	DeliverySuperseded DeliveryState = "superseded"
	// DeliverySuppressed: the person does not want it, or it came too late to be of use.
	DeliverySuppressed DeliveryState = "suppressed"
)

// DeliveryStates are all states.
func DeliveryStates() []DeliveryState {
	return []DeliveryState{DeliveryWaiting, DeliveryClaimed, DeliverySent, DeliveryFailed, DeliverySuperseded, DeliverySuppressed}
}

// Reasons of suppressed deliveries that the audit knows.
const (
	// ReasonTooOld: the event was older than DeliveryRules.MaxAge when it was handled.
	ReasonTooOld = "too old"
	// ReasonSwitchedOff: the person does not want messages of this kind by this channel.
	ReasonSwitchedOff = "switched off by the user"
)

// Ended reports whether nothing more happens to a delivery in this state by itself.
func (s DeliveryState) Ended() bool { return s != DeliveryWaiting && s != DeliveryClaimed }

var (
	// ErrNotDue says that a delivery may not be claimed: it has ended, its time has not come, or another attempt has it.
	ErrNotDue = errors.New("the delivery is not due")
	// ErrNoDelivery says that a thread has no such delivery.
	ErrNoDelivery = errors.New("no such delivery")
	// ErrUnderWay says that staff cannot send a delivery again, as an attempt is sending it.
	ErrUnderWay = errors.New("the delivery is being sent")
)

// DeliveryRules are the limits of deliveries.
type DeliveryRules struct {
	// Attempts is how often sending may fail before the delivery has failed.
	Attempts int
	// Skew is more than clocks of replicas differ. Another replica may take over a claim only so long after its end.
	Skew time.Duration
	// Fold is the shortest time between two messages of one kind about one subject. What comes in between waits, and the
	// latest takes the place of the others.
	Fold time.Duration
	// MaxAge is the age from which on an event leads to no message.
	MaxAge time.Duration
}

// Claim is the right of one attempt to send a delivery until a time.
type Claim struct {
	By    string    `json:"by"`
	Until time.Time `json:"until"`
}

// FailedAttempt is an attempt that failed, in the history of a delivery.
type FailedAttempt struct {
	At    time.Time `json:"at"`
	Error string    `json:"error"`
}

// deliveryHistory bounds the failed attempts that a delivery remembers.
const deliveryHistory = 5

// deliveryRepeats bounds the requests of staff that a delivery remembers.
const deliveryRepeats = 8

// Delivery is the message about one event to one person by one channel. It contains no personal data.
type Delivery struct {
	EventID    string    `json:"event"`
	Type       string    `json:"type"`
	Kind       string    `json:"kind"`
	Rank       int       `json:"rank,omitempty"`
	OccurredAt time.Time `json:"occurredAt"`
	CreatedAt  time.Time `json:"createdAt"`
	Data       Data      `json:"data"`

	State DeliveryState `json:"state"`
	// Claim is that of the last attempt.
	Claim Claim `json:"claim,omitzero"`
	// NextAttemptAt is when a waiting delivery is due.
	NextAttemptAt time.Time `json:"nextAttemptAt,omitzero"`
	// Attempts counts the attempts since it was created or sent again by staff; Postponed those of them that found a service
	// missing which they need before they send, or quiet hours. The latter do not count as failures.
	Attempts  int `json:"attempts,omitempty"`
	Postponed int `json:"postponed,omitempty"`
	// Reason says why it waits or how it ended. History has the last failures, oldest first.
	Reason  string          `json:"reason,omitempty"`
	History []FailedAttempt `json:"history,omitempty"`
	// SentAt is when it was sent last, and Sends how often.
	SentAt time.Time `json:"sentAt,omitzero"`
	Sends  int       `json:"sends,omitempty"`
	// Unknown: the claim of an attempt ended without a result, or sending failed, so it may have been sent.
	Unknown bool `json:"unknown,omitempty"`
	// Served are the devices that got a push message while it failed for others.
	Served []string `json:"served,omitempty"`
	// By is the event whose delivery superseded it.
	By string `json:"supersededBy,omitempty"`
	// Resends counts the requests of staff to send it again, and Operations are the last of them.
	Resends    int      `json:"resends,omitempty"`
	Operations []string `json:"operations,omitempty"`
}

// Thread has the deliveries to one person by one channel about one subject, such as an order: what decides whether a status is
// still worth sending is in one document, so that one write decides it. An event without such a subject has a thread of its own.
// An order has few events, so a thread is short.
type Thread struct {
	document.Root
	UserID  string  `json:"userId"`
	Channel Channel `json:"channel"`
	Subject string  `json:"subject"`
	// Deliveries only grow at the end: the place of a delivery is a part of its id.
	Deliveries []Delivery `json:"deliveries"`
}

// ThreadID is the id of the thread of a notice by a channel.
func ThreadID(channel Channel, n Notice) string {
	return id.Derive("delivery", string(channel), n.UserID, threadSubject(n))
}

func threadSubject(n Notice) string {
	if n.Data.OrderID != "" {
		return "order/" + n.Data.OrderID
	}
	return "event/" + n.EventID
}

// DeliveryID is the id of the delivery at a place (from 0) of a thread.
func DeliveryID(threadID string, place int) string { return threadID + "." + strconv.Itoa(place) }

// ParseDeliveryID is the reverse of DeliveryID.
func ParseDeliveryID(deliveryID string) (threadID string, place int, ok bool) {
	threadID, text, _ := strings.Cut(deliveryID, ".")
	place, err := strconv.Atoi(text)
	return threadID, place, err == nil && place >= 0 && id.Valid(threadID) && DeliveryID(threadID, place) == deliveryID
}

// Add adds the deliveries of notices of one subject. What is due at once is claimed if claim is not zero. It leaves out an event
// that the thread has already, and a status that comes after a later one; it returns document.ErrUnchanged if no other is left.
func (t *Thread) Add(channel Channel, notices []Notice, claim Claim, rules DeliveryRules, now time.Time) error {
	now = now.UTC().Truncate(time.Millisecond)
	first := len(t.Deliveries)
	for _, n := range notices {
		kind, known := KindOf(n.Type)
		if !known || t.has(n.EventID) {
			continue
		}
		d := Delivery{
			EventID: n.EventID, Type: n.Type, Kind: kind.Name, Rank: kind.Rank, OccurredAt: n.OccurredAt, CreatedAt: now, Data: n.Data,
			State: DeliveryWaiting, NextAttemptAt: t.after(kind.Name, rules.Fold, now),
		}
		if _, late := t.later(d); late {
			continue // it is not sent, and needs no write
		}
		t.UserID, t.Channel, t.Subject = n.UserID, channel, threadSubject(n)
		t.Deliveries = append(t.Deliveries, d)
	}
	if len(t.Deliveries) == first {
		return document.ErrUnchanged
	}
	for i := first; i < len(t.Deliveries); i++ {
		if d := &t.Deliveries[i]; now.Sub(d.OccurredAt) > rules.MaxAge {
			d.State, d.Reason = DeliverySuppressed, ReasonTooOld
		}
	}
	t.supersede()
	for i := first; i < len(t.Deliveries); i++ {
		if claim != (Claim{}) && t.due(i, rules.Skew, now) {
			t.Deliveries[i].claim(claim)
		}
	}
	t.Emit(EventDeliveryAdded, now, deliveryAdded{Deliveries: len(t.Deliveries)})
	return nil
}

// EventDeliveryAdded is the event of a thread that got a delivery. It is not published: the feed of the service leads the sweep
// to the thread.
const EventDeliveryAdded = "notifications.delivery_added.v1"

type deliveryAdded struct {
	Deliveries int `json:"deliveries"`
}

func (t *Thread) has(eventID string) bool {
	return slices.ContainsFunc(t.Deliveries, func(d Delivery) bool { return d.EventID == eventID })
}

// after is when the next message of a kind may be sent.
func (t *Thread) after(kind string, fold time.Duration, now time.Time) time.Time {
	at := now
	for _, d := range t.Deliveries {
		if d.Kind != kind || d.Rank == 0 {
			continue
		}
		last := d.SentAt
		if d.State == DeliveryClaimed {
			last = now
		}
		if !last.IsZero() && last.Add(fold).After(at) {
			at = last.Add(fold)
		}
	}
	return at
}

// supersede ends each waiting status for which the thread has a later one that is or was to be sent.
func (t *Thread) supersede() {
	for i := range t.Deliveries {
		if d := &t.Deliveries[i]; d.State == DeliveryWaiting {
			t.supersedeOne(d)
		}
	}
}

func (t *Thread) supersedeOne(d *Delivery) bool {
	if d.Rank == 0 || d.Resends > 0 { // staff want it to be sent all the same
		return false
	}
	other, superseded := t.later(*d)
	if superseded {
		d.State, d.By, d.Reason, d.NextAttemptAt = DeliverySuperseded, other.EventID, "", time.Time{}
	}
	return superseded
}

// later is a status after that of d which was sent, may have been sent, or is still to be sent. One that its person has switched off
// counts too: what happened is known to them, or of no interest.
func (t *Thread) later(d Delivery) (Delivery, bool) {
	i := slices.IndexFunc(t.Deliveries, func(other Delivery) bool {
		return d.Rank > 0 && other.Rank > 0 && laterStatus(other, d) &&
			(!other.State.Ended() || other.State == DeliverySent || other.Unknown || other.switchedOff())
	})
	if i < 0 {
		return Delivery{}, false
	}
	return t.Deliveries[i], true
}

func (d *Delivery) switchedOff() bool {
	return d.State == DeliverySuppressed && d.Reason == ReasonSwitchedOff
}

// laterStatus reports whether a is the status of a subject after b. Events of one aggregate have numbers; clocks only decide
// between events of different aggregates.
func laterStatus(a, b Delivery) bool {
	if a.Rank != b.Rank {
		return a.Rank > b.Rank
	}
	aOf, aNumber := eventNumber(a.EventID)
	bOf, bNumber := eventNumber(b.EventID)
	if aOf == bOf {
		return aNumber > bNumber
	}
	return a.OccurredAt.After(b.OccurredAt)
}

// eventNumber splits the id of an event, <source>/<subject>/<sequence>.
func eventNumber(eventID string) (of string, number int64) {
	i := strings.LastIndex(eventID, "/")
	number, err := strconv.ParseInt(eventID[i+1:], 10, 64)
	if i < 0 || err != nil {
		return eventID, 0
	}
	return eventID[:i], number
}

// due reports whether an attempt on the delivery at a place may begin.
func (t *Thread) due(place int, skew time.Duration, now time.Time) bool {
	return !t.Deliveries[place].State.Ended() && !t.DueAt(place, skew).After(now)
}

// DueAt is when the delivery at a place may be claimed next. A status is not claimed while another one of the subject is
// being sent, so that they arrive in their order. For a delivery that has ended the time has no meaning.
func (t *Thread) DueAt(place int, skew time.Duration) time.Time {
	d := t.Deliveries[place]
	at := d.NextAttemptAt
	for i, other := range t.Deliveries {
		if other.State == DeliveryClaimed && (i == place || d.Rank > 0 && other.Rank > 0) {
			if free := other.Claim.Until.Add(skew); free.After(at) {
				at = free
			}
		}
	}
	return at
}

// Holds reports whether the attempt with a claim may send the delivery.
func (d *Delivery) Holds(claim string) bool {
	return claim != "" && d.State == DeliveryClaimed && d.Claim.By == claim
}

func (d *Delivery) claim(c Claim) {
	d.State, d.Claim, d.NextAttemptAt = DeliveryClaimed, c, time.Time{}
	d.Attempts++
}

// Take claims the delivery at a place. held is the claim that the caller has already, or "". Errors: ErrNotDue, ErrNoDelivery.
// A delivery that is superseded meanwhile is ended instead.
func (t *Thread) Take(place int, held string, claim Claim, rules DeliveryRules, now time.Time) error {
	if place >= len(t.Deliveries) {
		return ErrNoDelivery
	}
	d := &t.Deliveries[place]
	switch {
	case d.State == DeliveryClaimed && d.Claim.By == claim.By: // a repeat
		return document.ErrUnchanged
	case d.State == DeliveryClaimed && held != "" && d.Claim.By == held:
		d.Claim = claim
		return nil
	case !t.due(place, rules.Skew, now):
		return ErrNotDue
	}
	if d.State == DeliveryClaimed {
		d.Unknown = true
	}
	if !t.supersedeOne(d) {
		d.claim(claim)
	}
	return nil
}
