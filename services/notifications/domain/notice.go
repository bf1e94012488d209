// Package domain has the rules of notifications: which events users are notified of, with which text, and how an inbox stores
// each event exactly once, however often it is delivered.
package domain

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"caravan/internal/event"
	"caravan/internal/id"
	"caravan/internal/money"
	"caravan/services/notifications/contract"
	orders "caravan/services/orders/contract"
	payments "caravan/services/payments/contract"
	products "caravan/services/products/contract"
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

// Notice is one event for one user, or for an Audience.
type Notice struct {
	// UserID is empty with an Audience.
	UserID string
	// Audience is nil for a notice to one user.
	Audience *Audience
	// EventID is the stable id of the event; with the user it identifies the notice.
	EventID string
	// Type is the type of the event and selects the kind.
	Type string
	// OccurredAt is the event's own time, in whole milliseconds.
	OccurredAt time.Time
	Data       Data
}

// Data has the values in the text of a notice: ids, amounts, reason codes and names of products, never personal data.
type Data struct {
	OrderID string `json:"orderId,omitempty"`
	// SKU and Product are the id and the name of a product, and Available is how many units can be sold.
	SKU       string `json:"sku,omitempty"`
	Product   string `json:"product,omitempty"`
	Available int64  `json:"available,omitzero"`
	// Was is the price before Amount.
	Was money.Money `json:"was,omitzero"`
	// Amount is what moved: the total of a confirmed order, the sum of its refunds, the movement of a wallet, or a new price.
	Amount money.Money `json:"amount,omitzero"`
	// Total is the order's total where it differs in meaning from Amount.
	Total money.Money `json:"total,omitzero"`
	// Reason is the code by which an order was rejected or cancelled.
	Reason string `json:"reason,omitempty"`
	// RequestID is the request for a mail with a token, by which the token is asked for. It is in no text.
	RequestID string `json:"requestId,omitempty"`
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
	k, known := KindOf(e.Type)
	if !known {
		return Notice{}, fmt.Errorf("%s: %w", e.Type, without(e.Type))
	}
	if k.Permission != "" {
		n.Audience = &Audience{Permission: k.Permission}
	}
	err := k.read(&n, e)
	if err == nil {
		err = n.checkUsers()
	}
	if err != nil {
		return Notice{}, fmt.Errorf("%s: %w: %w", e.Type, ErrPayload, err)
	}
	return n, nil
}

// checkUsers checks whom a notice is for.
func (n Notice) checkUsers() error {
	switch {
	case n.Audience == nil && !userIDs.MatchString(n.UserID):
		return errors.New("userId is missing or not an id")
	case n.Audience == nil || n.Audience.Permission != "":
		return nil
	case len(n.Audience.Users) == 0 || len(n.Audience.Users) > MaxAudience:
		return fmt.Errorf("userIds has %d users and not 1 to %d", len(n.Audience.Users), MaxAudience)
	case slices.ContainsFunc(n.Audience.Users, func(userID string) bool { return !userIDs.MatchString(userID) }):
		return errors.New("userIds contains what is not an id")
	}
	return nil
}

// without says why an event of a type has no notice.
func without(typ string) error {
	if silent(typ) {
		return ErrSilent
	}
	if _, known := KindOf(unversioned(typ) + knownVersion); known {
		return ErrUnknownVersion
	}
	return ErrUnknownType
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
	case orders.EventReserved, orders.EventAuthorized, orders.EventCapturing, orders.EventCancelling,
		orders.EventRefunding, orders.EventRetried, payments.EventCaptured, payments.EventDepositPending, users.EventRolesChanged,
		users.EventSessionsRevoked, products.EventCreated, products.EventChanged, products.EventStockCorrected:
		return true
	}
	return false
}

// Notifiable reports whether events of a type have an entry in the inbox of their user.
func Notifiable(typ string) bool { return contract.Notifiable(typ) }

// readAccount reads a fact about an account. The text needs no more than the kind.
func (n *Notice) readAccount(e event.Event) error {
	var fact struct {
		UserID string `json:"userId"`
	}
	if err := e.Decode(&fact); err != nil {
		return err
	}
	n.UserID = fact.UserID
	return nil
}

func (n *Notice) readMailRequested(e event.Event) error {
	var fact users.MailRequested
	if err := e.Decode(&fact); err != nil {
		return err
	}
	if !userIDs.MatchString(fact.RequestID) {
		return errors.New("requestId is missing or not an id")
	}
	n.UserID, n.Data.RequestID = fact.UserID, fact.RequestID
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

func (n *Notice) readPriceDrop(e event.Event) error {
	var fact products.PriceDropped
	if err := e.Decode(&fact); err != nil {
		return err
	}
	n.Audience = &Audience{Users: fact.UserIDs}
	n.Data.SKU, n.Data.Product, n.Data.Was, n.Data.Amount = fact.SKU, fact.Name, fact.Old, fact.New
	return errors.Join(sku(fact.SKU), amount("old", fact.Old), amount("new", fact.New))
}

func (n *Notice) readStockLow(e event.Event) error {
	var fact products.StockLow
	if err := e.Decode(&fact); err != nil {
		return err
	}
	n.Data.SKU, n.Data.Available = fact.SKU, fact.Available
	if fact.Available < 0 {
		return errors.New("available is negative")
	}
	return sku(fact.SKU)
}

// sku checks the id of a product.
func sku(s string) error {
	if !id.ValidSKU(s) {
		return errors.New("sku is missing or not a SKU")
	}
	return nil
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
