package domain

import (
	"time"

	"caravan/internal/document"
)

// Bounds of a stock document. A write costs what the document weighs, so the head keeps few finished holds: a repeated
// command about an older order finds its answer in the archive.
const (
	// KeepFinished is how many finished holds the head keeps at least.
	KeepFinished = 16
	// KeepWindow is how far back, counted from the newest order, the head keeps finished holds beyond that number: an
	// order that comes a little later than others of its time is still found without the archive.
	KeepWindow = time.Second
	// MaxFinished is about how many finished holds the head keeps at most; it may be a batch more.
	MaxFinished = 128
	// ArchiveBatch is how many finished holds move to the archive at once.
	ArchiveBatch = 32
	// MaxActiveHolds bounds the open reservations of one SKU.
	MaxActiveHolds = 2000
	// KeepCorrections is how many corrections with a key the head remembers.
	KeepCorrections = 32
)

// Stock is how many units of one SKU there are and who holds them. The document is stock/<sku>. At every revision
//
//	received - committed = onHand, reserved = the sum of the reserved holds, 0 <= reserved <= onHand
//
// where received is the sum of all staff corrections. The operations are idempotent by order id, and release commutes
// with reserve: whatever order they come in, the end is the same.
type Stock struct {
	document.Root
	SKU string `json:"sku"`
	// Currency is that of all unit prices in the holds.
	Currency string `json:"currency"`
	// CreatedAt is in microseconds since 1970. An order placed earlier can never hold this stock, which makes it safe
	// to release an order on a SKU that does not exist yet without leaving a tombstone.
	CreatedAt int64 `json:"createdAt"`
	OnHand    int64 `json:"onHand"`
	Reserved  int64 `json:"reserved"`
	Received  int64 `json:"received"`
	Committed int64 `json:"committed"`
	// NextExpiry is the earliest deadline of a reserved hold in microseconds since 1970; 0 without one.
	NextExpiry int64 `json:"nextExpiry,omitempty"`
	// Low: it was reported that few units can be sold, see CheckLow.
	Low   bool  `json:"low,omitzero"`
	Holds Holds `json:"holds,omitempty"`
	// Archived finds the finished holds that have left Holds.
	Archived Archive `json:"archived,omitzero"`
	// Corrections are the latest with a key, oldest first; older ones have a document each.
	Corrections         []Correction `json:"corrections,omitempty"`
	CorrectionsArchived int64        `json:"correctionsArchived,omitempty"`
}

// Level is the stock of a SKU in three numbers.
type Level struct {
	OnHand   int64 `json:"onHand"`
	Reserved int64 `json:"reserved"`
}

// Available is how many units can be reserved.
func (l Level) Available() int64 { return l.OnHand - l.Reserved }

// Level is the present level.
func (s *Stock) Level() Level { return Level{OnHand: s.OnHand, Reserved: s.Reserved} }

// Open makes the stock document of a product with its initial stock. It changes nothing when the stock is open.
func (s *Stock) Open(p *Product) bool {
	if s.Exists() {
		return false
	}
	s.SKU, s.Currency, s.CreatedAt = p.SKU, p.Price.Currency, micros(p.CreatedAt)
	s.OnHand, s.Received = p.InitialStock, p.InitialStock
	return true
}

// micros is the form of times in stock documents: small, and the same after any number of encodings.
func micros(t time.Time) int64 { return t.UnixMicro() }
