package contract

import (
	"time"

	"caravan/internal/audit"
)

// The invariants that the audit of products checks.
const (
	// InvariantStock: what was received less what was committed is on hand, and the reserved holds add up to what is
	// reserved, which is between 0 and what is on hand.
	InvariantStock = "stock-conserved"
	// InvariantSold: the committed holds, archived ones included, add up to what was committed.
	InvariantSold = "no-unit-sold-twice"
	// InvariantHold: an order holds a SKU at most once, wherever the holds are, and in a known state.
	InvariantHold = "one-hold-per-order"
	// InvariantArchive: the archive of finished holds has no gap and is what its references say.
	InvariantArchive = "stock-archive-complete"
	// InvariantHistory: the corrections of a stock, one after the other, lead from its initial to its present level, and
	// each led to a level that there can have been.
	InvariantHistory = "stock-history-adds-up"
	// InvariantProduct: there is one stock for each product, except for one that is being created.
	InvariantProduct = "one-stock-per-product"
	// InvariantWatchers: who watches a product knows its price or a lower one, some time after it became cheaper.
	InvariantWatchers = "watchers-are-reached"
)

// AuditPage is one page of the audit. Its counts are products, productsYoung (without a stock yet), holds, and units
// onHand, reserved, committed and received.
type AuditPage struct {
	audit.Page
	// Holds are the holds of orders on this page, for a cross check by orders. While customers order, a hold may appear on
	// two pages, because it moves to the archive. None is left out.
	Holds []OrderHold `json:"holds,omitempty"`
}

// The states of an [OrderHold].
const (
	HoldReserved  = "reserved"
	HoldCommitted = "committed"
	HoldReleased  = "released"
)

// OrderHold is what one order has of one SKU. A released hold without quantity never held a unit.
type OrderHold struct {
	SKU     string `json:"sku"`
	OrderID string `json:"orderId"`
	State   string `json:"state"`
	// Reason says why a hold is released: one of the refusals OutcomeOutOfStock, OutcomePriceChanged and
	// OutcomeUnknownProduct, or any other text.
	Reason string `json:"reason,omitempty"`
	// BeforeStock says that the order may have asked before there was a stock. It was refused without a hold then.
	BeforeStock bool  `json:"beforeStock,omitempty"`
	Quantity    int64 `json:"quantity"`
	// UnitPrice is the locked price in minor units of Currency.
	UnitPrice int64  `json:"unitPrice"`
	Currency  string `json:"currency"`
}

// PathHolds takes [HoldsRequest] and answers [Holds].
const PathHolds = "/internal/audit-holds"

// MaxHoldsOrders bounds the orders of one [HoldsRequest].
const MaxHoldsOrders = 100

// HoldsRequest asks what orders hold.
type HoldsRequest struct {
	Orders []OrderLines `json:"orders" validate:"max=100,dive"`
}

// OrderLines names an order and the SKUs of its lines. PlacedAt must be the same as in the commands about the order.
type OrderLines struct {
	OrderID  string    `json:"orderId" validate:"required,max=64"`
	PlacedAt time.Time `json:"placedAt" validate:"time"`
	SKUs     []string  `json:"skus" validate:"max=50"`
}

// Holds are the holds of the orders asked for; what they do not hold is absent.
type Holds struct {
	Holds []OrderHold `json:"holds"`
}
