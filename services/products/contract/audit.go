package contract

// Audit asks for one page of the audit; an empty cursor starts it.
type Audit struct {
	Cursor string `json:"cursor,omitempty"`
}

// AuditPage is one page of findings. Counts of all pages are added by their name.
type AuditPage struct {
	Findings []Finding        `json:"findings"`
	Counts   map[string]int64 `json:"counts"`
	// Holds are the holds of orders met on this page, for a cross check by orders. While orders are under way a hold
	// may appear on two pages, as it moves to the archive; none is left out.
	Holds []OrderHold `json:"holds,omitempty"`
	// Next is empty on the last page.
	Next string `json:"next,omitempty"`
}

// Finding is one violated invariant.
type Finding struct {
	Invariant string `json:"invariant"`
	Key       string `json:"key"`
	Detail    string `json:"detail"`
}

// The states of an [OrderHold].
const (
	HoldReserved  = "reserved"
	HoldCommitted = "committed"
	HoldReleased  = "released"
)

// OrderHold is what one order has of one SKU. A released hold without quantity never held a unit.
type OrderHold struct {
	SKU      string `json:"sku"`
	OrderID  string `json:"orderId"`
	State    string `json:"state"`
	Quantity int64  `json:"quantity"`
}
