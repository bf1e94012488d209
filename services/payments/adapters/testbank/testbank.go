// Package testbank simulates the bank that deposits come from, with documents of its own. As a real bank does, it is idempotent
// by operation id, answers the outcome of an operation later, keeps a report of all charges, and can take money without
// answering.
package testbank

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"caravan/internal/clock"
	"caravan/internal/document"
	"caravan/internal/id"
	"caravan/internal/page"
	"caravan/services/payments/app"
)

// Sources that the bank knows.
const (
	// SourceOK pays at once.
	SourceOK = "tok_ok"
	// SourceDeclined is declined by the payer's bank.
	SourceDeclined = "tok_declined"
	// SourceTimeout pays, but the first call gets no answer. A later question for the outcome is answered.
	SourceTimeout = "tok_timeout"
	// SourceTimeoutDeclined is declined, and the first call gets no answer.
	SourceTimeoutDeclined = "tok_timeout_declined"
)

// Reasons of declines.
const (
	ReasonDeclined = "declined_by_issuer"
	ReasonUnknown  = "unknown_source"
)

const (
	prefix        = "testbank/charge/"
	reportPrefix  = "testbank/report/"
	reportShards  = 8
	reportSegment = 50
)

var (
	// ErrNoAnswer is returned when the bank does not answer. The charge may have happened.
	ErrNoAnswer = errors.New("the bank did not answer in time")
	// ErrReused is returned when an operation id was used before for another charge.
	ErrReused = errors.New("the bank knows this operation with another amount or source")
)

// Bank is the simulator. It implements app.Bank.
type Bank struct {
	charges *document.Repository[charge, *charge]
	report  *document.Chain[line]
	clock   clock.Clock
	ids     id.Source
	silence time.Duration
}

// charge is the record of one operation.
type charge struct {
	document.Root
	app.Charged
	// Line is the id of the line in the report that belongs to this charge.
	Line string    `json:"line"`
	At   time.Time `json:"at"`
}

// line is a line of the report. It is written before its charge, and is only valid if the charge refers to it.
type line struct {
	ID          string `json:"id"`
	OperationID string `json:"operationId"`
}

// New makes the bank over its documents in store. silence is how long callers of SourceTimeout and SourceTimeoutDeclined wait.
func New(store document.Store, clk clock.Clock, ids id.Source, silence time.Duration) *Bank {
	opts := document.Options{Prefix: prefix, Clock: clk, IDs: ids}
	return &Bank{
		charges: document.NewRepository[charge](store, opts),
		report:  document.NewChain[line](store, reportPrefix, reportSegment, opts),
		clock:   clk, ids: ids, silence: silence,
	}
}

// errFirst is returned when there is no record of an operation yet.
var errFirst = errors.New("first call of this operation")

// Charge implements app.Bank.
func (b *Bank) Charge(ctx context.Context, c app.Charge) (app.Answer, error) {
	known, err := b.charges.Update(ctx, c.OperationID, func(doc *charge) error { return doc.repeat(c) })
	if err == nil {
		return known.Answer, nil
	}
	if !errors.Is(err, errFirst) {
		return app.Answer{}, fmt.Errorf("charging: %w", err)
	}
	recorded, err := b.record(ctx, c)
	if err != nil {
		return app.Answer{}, fmt.Errorf("charging: %w", err)
	}
	if c.Source == SourceTimeout || c.Source == SourceTimeoutDeclined {
		if err := b.clock.Sleep(ctx, b.silence); err != nil {
			return app.Answer{}, fmt.Errorf("%w: %w", ErrNoAnswer, err)
		}
		return app.Answer{}, ErrNoAnswer
	}
	return recorded.Answer, nil
}

// repeat checks whether c was charged before.
func (doc *charge) repeat(c app.Charge) error {
	switch {
	case doc.OperationID == "":
		return errFirst
	case doc.Charge != c:
		return ErrReused
	}
	return document.ErrUnchanged
}

// record decides a charge and stores it. The line of the report is written first, so that the report is complete.
func (b *Bank) record(ctx context.Context, c app.Charge) (*charge, error) {
	entry, now := b.ids.New(), b.clock.Now()
	if err := b.report.Prepend(ctx, document.Shard(c.OperationID, reportShards), entry, line{ID: entry, OperationID: c.OperationID}); err != nil {
		return nil, fmt.Errorf("reporting: %w", err)
	}
	return b.charges.Update(ctx, c.OperationID, func(doc *charge) error {
		if err := doc.repeat(c); !errors.Is(err, errFirst) {
			return err
		}
		doc.Charged = app.Charged{Charge: c, Answer: decide(c.Source)}
		doc.Line, doc.At = entry, now
		return nil
	})
}

func decide(source string) app.Answer {
	switch source {
	case SourceOK, SourceTimeout:
		return app.Answer{Paid: true}
	case SourceDeclined, SourceTimeoutDeclined:
		return app.Answer{Reason: ReasonDeclined}
	}
	return app.Answer{Reason: ReasonUnknown}
}

// Outcome implements app.Bank.
func (b *Bank) Outcome(ctx context.Context, operationID string) (app.Answer, error) {
	doc, err := b.charges.Get(ctx, operationID)
	if errors.Is(err, document.ErrNotFound) {
		return app.Answer{}, app.ErrUnknownCharge
	}
	if err != nil {
		return app.Answer{}, fmt.Errorf("asking for the outcome: %w", err)
	}
	return doc.Answer, nil
}

// place is the content of a cursor of the report.
type place struct {
	Shard int    `json:"s"`
	Chain string `json:"c,omitempty"`
}

// Report implements app.Bank. A page may be empty although more follow.
func (b *Bank) Report(ctx context.Context, cursor string, limit int) ([]app.Charged, string, error) {
	var at place
	if err := page.Decode(cursor, &at); err != nil {
		return nil, "", err
	}
	charges, next, err := document.Listed(ctx, b.report, strconv.Itoa(at.Shard), at.Chain, limit, b.charges,
		func(l line) string { return l.OperationID }, func(c *charge, l line) bool { return c.Line == l.ID })
	if err != nil {
		return nil, "", fmt.Errorf("reading the report: %w", err)
	}
	var charged []app.Charged
	for _, c := range charges {
		if c != nil {
			charged = append(charged, c.Charged)
		}
	}
	if at.Chain = next; next == "" {
		at.Shard++
	}
	if at.Shard >= reportShards {
		return charged, "", nil
	}
	return charged, page.Encode(at), nil
}
