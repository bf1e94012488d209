package domain

import (
	"slices"
	"time"

	"caravan/internal/event"
	orders "caravan/services/orders/contract"
	payments "caravan/services/payments/contract"
	products "caravan/services/products/contract"
	users "caravan/services/users/contract"
)

// Channel is a way to reach a user.
type Channel string

// The channels.
const (
	// InApp is the inbox of the app. An entry is stored whatever the user prefers, as the inbox is the record that the audit
	// compares with the events. A user who switches the channel off for a kind does not see its entries.
	InApp Channel = "in-app"
	Email Channel = "email"
	Push  Channel = "push"
)

// Channels are all channels.
func Channels() []Channel { return []Channel{InApp, Email, Push} }

// Urgencies of a push message (RFC 8030, 5.3).
const (
	UrgencyLow    = "low"    // the device may sleep
	UrgencyNormal = "normal" // a chat message, or this
	UrgencyHigh   = "high"   // also on low battery
)

// Kind is one row of the table of kinds.
type Kind struct {
	// Name is stable: it is part of the API, of stored preferences and of metrics, and the name of the templates.
	Name string
	// Events are the types of the events that lead to it.
	Events []string
	// Channels are those by default. Optional are those that a user can switch on.
	Channels, Optional []Channel
	// Security kinds cannot be switched off in the channels that they have by default.
	Security bool
	// Link is the purpose of the token that mails of this kind have in a link, or "".
	Link string
	// Permission is that of the users to whom it goes, for a kind that is for staff and whose events name no user.
	Permission string
	// Rank orders the statuses of one subject: a message replaces one of a lower rank that is not sent yet, and is not sent after
	// one of a higher rank. 0 means that it has nothing to do with others.
	Rank int
	// Urgency and TTL are for push (RFC 8030): how soon a device must show it, and how long the push service keeps it.
	Urgency string
	TTL     time.Duration

	read reader
}

// reader reads the payload of an event into a notice.
type reader func(*Notice, event.Event) error

// kinds is the table of kinds. A new kind is a row here, a template for each language in templates/, and a golden file that
// `go test ./services/notifications/domain -update` writes. If it has InApp, its event types are also in [contract.InboxTypes].
//
// A channel is on by default when the user would miss the message in it. Push reaches only devices that the user subscribed.
var kinds = []Kind{
	{
		Name: "welcome", Events: []string{users.EventRegistered}, read: (*Notice).readAccount,
		Channels: []Channel{InApp, Email}, Optional: []Channel{Push},
		Urgency: UrgencyLow, TTL: 3 * day,
	},
	{
		// The text without the link is of no use, so the two kinds with a link exist as mails only.
		Name: "verify-email", Events: []string{users.EventVerificationRequested}, read: (*Notice).readMailRequested,
		Channels: []Channel{Email}, Security: true, Link: users.PurposeVerification,
	},
	{
		Name: "password-reset", Events: []string{users.EventPasswordResetRequested}, read: (*Notice).readMailRequested,
		Channels: []Channel{Email}, Security: true, Link: users.PurposePasswordReset,
	},
	{
		Name: "password-changed", Events: []string{users.EventPasswordChanged}, read: (*Notice).readAccount,
		Channels: []Channel{InApp, Email}, Optional: []Channel{Push}, Security: true,
		Urgency: UrgencyHigh, TTL: day,
	},
	{
		Name: "new-sign-in", Events: []string{users.EventSignedIn}, read: (*Notice).readAccount,
		Channels: []Channel{InApp, Email}, Optional: []Channel{Push}, Security: true,
		Urgency: UrgencyHigh, TTL: day,
	},
	{
		// The acknowledgement that a shop owes by mail (in the EU: directive 2000/31/EC, article 11). Nearly every order has ended
		// before it could be sent, and the mail about the end says the same and more, so this one goes only to customers whose
		// order waits. It is in no inbox: that would be one more write for each order, and an entry that is out of date within a
		// second. For the same reason orders does not publish the event; it comes with the pull of the feed, about a minute later.
		Name: "order-placed", Events: []string{orders.EventPlaced}, read: (*Notice).readOrder,
		Channels: []Channel{Email}, Optional: []Channel{Push},
		Rank: 1, Urgency: UrgencyLow, TTL: time.Hour,
	},
	{
		Name: "order-confirmed", Events: []string{orders.EventConfirmed}, read: (*Notice).readOrder,
		Channels: []Channel{InApp, Email, Push},
		Rank:     2, Urgency: UrgencyNormal, TTL: day,
	},
	{
		Name: "order-rejected", Events: []string{orders.EventRejected}, read: (*Notice).readOrder,
		Channels: []Channel{InApp, Email, Push},
		Rank:     2, Urgency: UrgencyHigh, TTL: day,
	},
	{
		Name: "order-cancelled", Events: []string{orders.EventCancelled}, read: (*Notice).readOrder,
		Channels: []Channel{InApp, Email, Push},
		Rank:     2, Urgency: UrgencyHigh, TTL: day,
	},
	{
		// Several refunds of one order have one rank: each says how much was refunded so far.
		Name: "order-refunded", Events: []string{orders.EventRefunded}, read: (*Notice).readOrder,
		Channels: []Channel{InApp, Email, Push},
		Rank:     3, Urgency: UrgencyNormal, TTL: 3 * day,
	},
	{
		// The mail is the receipt. The user has the app open, so a push would only repeat what is on the screen.
		Name: "deposit-received", Events: []string{payments.EventDeposited}, read: (*Notice).readPayment,
		Channels: []Channel{InApp, Email}, Optional: []Channel{Push},
		Urgency: UrgencyNormal, TTL: day,
	},
	{
		// Who deposits is told at once if the bank declines. This is for an answer that came later, when nobody looks any more.
		Name: "deposit-declined", Events: []string{payments.EventDepositDeclined}, read: (*Notice).readPayment,
		Channels: []Channel{InApp, Email}, Optional: []Channel{Push},
		Urgency: UrgencyHigh, TTL: day,
	},
	{
		// Money that goes back belongs to a refund, about which order-refunded informs by mail and push.
		Name: "payment-refunded", Events: []string{payments.EventRefunded}, read: (*Notice).readPayment,
		Channels: []Channel{InApp}, Optional: []Channel{Email, Push},
		Urgency: UrgencyNormal, TTL: 3 * day,
	},
	{
		// An order that is declined is rejected in the same moment, and order-rejected informs by mail and push and says why. So this
		// is only the entry that explains it to who looks for the money. A user may switch the others on; the rank is that of a status
		// before the rejection, so that a message which has not left by then is not sent.
		Name: "payment-declined", Events: []string{payments.EventDeclined}, read: (*Notice).readPayment,
		Channels: []Channel{InApp}, Optional: []Channel{Email, Push},
		Rank: 1, Urgency: UrgencyHigh, TTL: day,
	},
	{
		// Who watches a product has asked for this, so that it comes by mail too. It is not urgent: a price lasts.
		Name: "price-drop", Events: []string{products.EventPriceDropped}, read: (*Notice).readPriceDrop,
		Channels: []Channel{InApp, Email, Push},
		Urgency:  UrgencyLow, TTL: day,
	},
	{
		// To all staff who receive stock. Mail is for those who do not have the app open all day; the entry is what they work from.
		Name: "low-stock", Events: []string{products.EventStockLow}, read: (*Notice).readStockLow,
		Permission: users.PermissionInventoryAdjust,
		Channels:   []Channel{InApp, Email}, Optional: []Channel{Push},
		Urgency: UrgencyNormal, TTL: day,
	},
}

const day = 24 * time.Hour

// otherKind has the text of an entry whose event type this version does not know, for example after a rollback.
var otherKind = Kind{Name: "other"}

var kindsByEvent = func() map[string]Kind {
	byEvent := make(map[string]Kind)
	for _, k := range kinds {
		for _, typ := range k.Events {
			byEvent[typ] = k
		}
	}
	return byEvent
}()

// Kinds are all kinds, in the order in which people see them.
func Kinds() []Kind { return slices.Clone(kinds) }

// KindOf is the kind to which events of a type lead. Most types lead to none.
func KindOf(eventType string) (Kind, bool) {
	k, ok := kindsByEvent[eventType]
	return k, ok
}

// KindNamed is the kind of a name.
func KindNamed(name string) (Kind, bool) {
	i := slices.IndexFunc(kinds, func(k Kind) bool { return k.Name == name })
	if i < 0 {
		return Kind{}, false
	}
	return kinds[i], true
}

// ByDefault reports whether a user who set nothing gets messages of the kind in a channel.
func (k Kind) ByDefault(c Channel) bool { return slices.Contains(k.Channels, c) }

// Offers reports whether messages of the kind exist in a channel.
func (k Kind) Offers(c Channel) bool { return k.ByDefault(c) || slices.Contains(k.Optional, c) }

// Fixed reports whether a user cannot switch the kind off in a channel.
func (k Kind) Fixed(c Channel) bool { return k.Security && k.ByDefault(c) }
