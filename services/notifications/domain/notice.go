// Package domain has the rules of notifications: which events users are notified of, with which text, and how an inbox stores
// each event exactly once, however often it is delivered.
package domain

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"caravan/internal/event"
	"caravan/internal/money"
	"caravan/services/notifications/contract"
	orders "caravan/services/orders/contract"
	payments "caravan/services/payments/contract"
	users "caravan/services/users/contract"
)

var (
	// ErrSilent is returned for an event of a known type without a notification.
	ErrSilent = errors.New("the event has no notification")
	// ErrUnknownType is returned for an event of a type that this version does not know.
	ErrUnknownType = errors.New("unknown event type")
	// ErrUnknownVersion is returned for an event of a known type in a version that this program does not know. A later
	// program can handle it.
	ErrUnknownVersion = errors.New("unknown version of a known event type")
	// ErrPayload is returned for an event whose payload does not match its contract. It never will.
	ErrPayload = errors.New("malformed payload")
)

// Notice is one event for one user.
type Notice struct {
	UserID string
	// EventID is the stable id of the event; with the user it identifies the notice.
	EventID string
	// Type is the type of the event and selects the text.
	Type string
	// OccurredAt is the event's own time, in whole milliseconds.
	OccurredAt time.Time
	Data       Data
}

// Data has the values in the text of a notice: ids, amounts and reason codes, never personal data.
type Data struct {
	OrderID string `json:"orderId,omitempty"`
	// Amount is what moved: the total of a confirmed order, the sum of its refunds, or the movement of a wallet.
	Amount money.Money `json:"amount,omitzero"`
	// Total is the order's total where it differs in meaning from Amount.
	Total money.Money `json:"total,omitzero"`
	// Reason is the code by which an order was rejected or cancelled.
	Reason string `json:"reason,omitempty"`
}

var (
	// userIDs become parts of keys, so their form is strict.
	userIDs = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	// reasons are codes; anything else may be text that a person wrote, and is not passed on.
	reasons = regexp.MustCompile(`^[a-z][a-z0-9_]{0,47}$`)
)

// Read returns the notice of an event. It returns ErrSilent or ErrUnknownType for an event without one, and ErrPayload or
// ErrUnknownVersion when the event cannot be read.
func Read(e event.Event) (Notice, error) {
	n := Notice{EventID: e.ID, Type: e.Type, OccurredAt: e.Time.UTC().Truncate(time.Millisecond)}
	var err error
	switch e.Type {
	case users.EventRegistered:
		err = n.readRegistered(e)
	case orders.EventConfirmed, orders.EventRejected, orders.EventCancelled, orders.EventRefunded:
		err = n.readOrder(e)
	case payments.EventDeposited, payments.EventRefunded:
		err = n.readPayment(e)
	default:
		if silent(e.Type) {
			return Notice{}, ErrSilent
		}
		if Notifiable(unversioned(e.Type) + knownVersion) {
			return Notice{}, fmt.Errorf("%s: %w", e.Type, ErrUnknownVersion)
		}
		return Notice{}, fmt.Errorf("%s: %w", e.Type, ErrUnknownType)
	}
	if err == nil && !userIDs.MatchString(n.UserID) {
		err = errors.New("userId is missing or not an id")
	}
	if err != nil {
		return Notice{}, fmt.Errorf("%s: %w: %w", e.Type, ErrPayload, err)
	}
	return n, nil
}

// knownVersion ends every event type that this program knows.
const knownVersion = ".v1"

// unversioned is an event type without its version.
func unversioned(typ string) string {
	if i := strings.LastIndex(typ, ".v"); i >= 0 {
		return typ[:i]
	}
	return typ
}

// silent reports whether an event type is known and of no interest to users: intermediate steps, and facts that another notice
// contains, such as the capture of the price of a confirmed order.
func silent(typ string) bool {
	switch typ {
	case orders.EventPlaced, orders.EventReserved, orders.EventAuthorized, orders.EventCapturing, orders.EventCancelling,
		orders.EventRefunding, orders.EventRetried, payments.EventCaptured, payments.EventDepositPending, users.EventRolesChanged,
		users.EventSessionsRevoked:
		return true
	}
	return false
}

// Notifiable reports whether users are notified of events of a type.
func Notifiable(typ string) bool { return contract.Notifiable(typ) }

func (n *Notice) readRegistered(e event.Event) error {
	var fact users.Registered
	if err := e.Decode(&fact); err != nil {
		return err
	}
	n.UserID = fact.UserID
	return nil
}

func (n *Notice) readOrder(e event.Event) error {
	var fact orders.Fact
	if err := e.Decode(&fact); err != nil {
		return err
	}
	if fact.OrderID == "" || fact.OrderID != e.Subject {
		return errors.New("orderId is not the subject of the event")
	}
	n.UserID = fact.UserID
	n.Data.OrderID = fact.OrderID
	switch e.Type {
	case orders.EventConfirmed:
		n.Data.Amount = fact.Total
		return amount("total", fact.Total)
	case orders.EventRefunded:
		n.Data.Amount, n.Data.Total = fact.Refunded, fact.Total
		return errors.Join(amount("refunded", fact.Refunded), amount("total", fact.Total))
	default:
		// These reasons are codes of the saga. Only the reason of a refund is text that staff wrote.
		if reasons.MatchString(fact.Reason) {
			n.Data.Reason = fact.Reason
		}
		return nil
	}
}

func (n *Notice) readPayment(e event.Event) error {
	var fact payments.Moved
	if err := e.Decode(&fact); err != nil {
		return err
	}
	n.UserID = fact.UserID
	n.Data.OrderID, n.Data.Amount = fact.OrderID, fact.Amount
	return amount("amount", fact.Amount)
}

// amount checks money that a notice must contain.
func amount(name string, m money.Money) error {
	if err := m.Validate(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if m.Amount < 0 {
		return fmt.Errorf("%s is negative", name)
	}
	return nil
}
