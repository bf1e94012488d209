// Package contract is what other services may import of products: the commands of the order saga with their typed
// outcomes, the events products publishes, and a client that batches commands through the sidecar.
//
// Every command is idempotent by order id, and the compensations commute with what they undo: releasing an order that
// never reserved writes a tombstone, and a reserve that arrives after it answers OutcomeReleased and changes nothing.
package contract

import (
	"time"

	"caravan/internal/money"
)

// App is the Dapr app id of the products service, and the name of its topic.
const App = "products"

// Paths of the internal commands. They are fixed, with no id in them, because Dapr keys its circuit breakers by
// "app:method path".
const (
	// PathReserve takes [Reserve] and answers [Reserved].
	PathReserve = "/internal/reserve"
	// PathCommit takes [Commit] and answers [Committed].
	PathCommit = "/internal/commit"
	// PathRelease takes [Release] and answers [Released].
	PathRelease = "/internal/release"
	// PathAudit takes an audit.Request and answers [AuditPage].
	PathAudit = "/internal/audit"
)

// Outcomes of the internal commands. A refusal for a business reason is one of these in a 200 answer, never an error.
const (
	// OutcomeReserved says that every line is held and its price locked.
	OutcomeReserved = "reserved"
	// OutcomeOutOfStock says that the SKU named in the answer has too few units; nothing is held.
	OutcomeOutOfStock = "out_of_stock"
	// OutcomeUnknownProduct says that the SKU named in the answer does not exist or is not for sale; nothing is held.
	OutcomeUnknownProduct = "unknown_product"
	// OutcomePriceChanged says that the total differs from the expected one; nothing is held, and Total is today's.
	OutcomePriceChanged = "price_changed"
	// OutcomeCurrencyMismatch says that the expected total is not in the shop's currency; nothing is held.
	OutcomeCurrencyMismatch = "currency_mismatch"
	// OutcomeReleased says that the order holds nothing and never will again.
	OutcomeReleased = "released"
	// OutcomeCommitted says that the units have left the stock for good.
	OutcomeCommitted = "committed"
)

// Problem slugs of refused commands.
const (
	// SlugOtherQuantity (422): the order holds another quantity of a SKU than the one asked for.
	SlugOtherQuantity = "operation-id-reused"
	// SlugTooManyHolds (503): a SKU has as many open reservations as it can. A repeat succeeds when some have ended.
	SlugTooManyHolds = "too-many-holds"
)

// Limits of one order, checked again here although orders checks them first.
const (
	// MaxLines is the greatest number of different SKUs in one order.
	MaxLines = 50
	// MaxQuantity is the greatest quantity of one SKU in one order.
	MaxQuantity = 1_000_000
)

// Line asks for Quantity units (1..[MaxQuantity]) of a SKU. A text that cannot be a SKU is an unknown product.
type Line struct {
	SKU      string `json:"sku"`
	Quantity int64  `json:"quantity" validate:"min=1,max=1000000"`
}

// Reserve asks to hold all lines of an order, or none. PlacedAt is the time at which the order was placed; it must be
// the same in each command about the order, because archived holds are found by it.
type Reserve struct {
	OrderID  string    `json:"orderId" validate:"plainid"`
	Lines    []Line    `json:"lines" validate:"min=1,max=50,unique=SKU,dive"`
	PlacedAt time.Time `json:"placedAt" validate:"time"`
	// ExpectedTotal, when set, is the total the customer agreed to. Another currency is an outcome.
	ExpectedTotal *money.Money `json:"expectedTotal,omitempty" validate:"-"`
}

// Reserved answers [Reserve]. Outcome is [OutcomeReserved], [OutcomeOutOfStock], [OutcomeUnknownProduct],
// [OutcomePriceChanged], [OutcomeCurrencyMismatch] or [OutcomeReleased].
type Reserved struct {
	Outcome string `json:"outcome"`
	// SKU names the line that was refused.
	SKU string `json:"sku,omitempty"`
	// Lines are the priced lines in the order asked for; set when reserved or when the price changed.
	Lines []PricedLine `json:"lines,omitempty"`
	// Total is the sum of the line totals; set with Lines.
	Total money.Money `json:"total,omitzero"`
}

// PricedLine is a line with the price that was locked for it.
type PricedLine struct {
	SKU       string      `json:"sku"`
	Name      string      `json:"name"`
	Quantity  int64       `json:"quantity"`
	UnitPrice money.Money `json:"unitPrice"`
	LineTotal money.Money `json:"lineTotal"`
}

// Commit asks to take the held units of an order out of the stock.
type Commit struct {
	OrderID  string    `json:"orderId" validate:"plainid"`
	SKUs     []string  `json:"skus" validate:"min=1,max=50,unique"`
	PlacedAt time.Time `json:"placedAt" validate:"time"`
}

// Release asks to give the held units of an order back. Unknown holds become tombstones.
type Release struct {
	OrderID  string    `json:"orderId" validate:"plainid"`
	SKUs     []string  `json:"skus" validate:"min=1,max=50,unique"`
	PlacedAt time.Time `json:"placedAt" validate:"time"`
}

// Result answers [Commit] and [Release].
type Result struct {
	Outcome string `json:"outcome"`
}

// The answers of the commands that end a reservation.
type (
	// Committed has [OutcomeCommitted], or [OutcomeReleased] when the holds were gone.
	Committed = Result
	// Released has [OutcomeReleased], or [OutcomeCommitted] when the units were gone for good.
	Released = Result
)
