package contract

// Audit asks for one page of the audit; an empty cursor starts it.
type Audit struct {
	Cursor string `json:"cursor,omitempty"`
}

// AuditPage is one page of findings. Counts of all pages are added by their name: accounts, segments, postings, orders,
// charges, pendingDeposits (charged, not booked yet), ledgerSum (always 0), and in minor units of each currency
// balance.EUR, held.EUR, charged.EUR (by the bank's report) and the counter-accounts bank:test.EUR, merchant:sales.EUR.
// At rest charged.EUR and bank:test.EUR add up to 0.
type AuditPage struct {
	Findings []Finding        `json:"findings"`
	Counts   map[string]int64 `json:"counts"`
	// Orders tells what happened to the money of each order met on this page, for a cross check by orders. An order that
	// was refunded long after it was captured may be met again, in an older version: the first one counts.
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
