package contract

// Audit asks for one page of the audit; an empty cursor starts it.
type Audit struct {
	Cursor string `json:"cursor,omitempty"`
}

// AuditPage is one page of findings. Counts of all pages are added by their name.
type AuditPage struct {
	Findings []Finding        `json:"findings"`
	Counts   map[string]int64 `json:"counts"`
	// Orders tells what happened to the money of each order met on this page, for a cross check by orders.
	Orders []OrderMoney `json:"orders,omitempty"`
	// Next is empty on the last page.
	Next string `json:"next,omitempty"`
}

// Finding is one violated invariant.
type Finding struct {
	Invariant string `json:"invariant"`
	Key       string `json:"key"`
	Detail    string `json:"detail"`
}

// OrderMoney is what an order did to a wallet; amounts are minor units of Currency.
type OrderMoney struct {
	OrderID string `json:"orderId"`
	UserID  string `json:"userId"`
	// State is authorized, captured or voided.
	State      string `json:"state"`
	Currency   string `json:"currency"`
	Authorized int64  `json:"authorized"`
	Captured   int64  `json:"captured"`
	Refunded   int64  `json:"refunded"`
}
