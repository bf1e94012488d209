// Package domain holds the rules of an order: which transitions its saga may take, and what each of them changes. It is
// pure: every transition is a function of the order and its arguments.
package domain

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"caravan/internal/document"
	"caravan/internal/money"
	"caravan/services/orders/contract"
)

// Order is the aggregate; one JSON document.
type Order struct {
	document.Root
	ID     string          `json:"id"`
	UserID string          `json:"userId"`
	Status contract.Status `json:"status"`
	// Reason says why the order was rejected, cancelled or refunded.
	Reason string `json:"reason,omitempty"`
	// Key is the Idempotency-Key it was placed under. The id of the order follows from it and the user.
	Key string `json:"key"`
	// Fingerprint identifies the request that placed the order, so that another body with the same Idempotency-Key is
	// noticed.
	Fingerprint   string       `json:"fingerprint"`
	Lines         []Line       `json:"lines"`
	ExpectedTotal *money.Money `json:"expectedTotal,omitempty"`
	Total         money.Money  `json:"total,omitzero"`
	Refunded      money.Money  `json:"refunded"`
	PlacedAt      time.Time    `json:"placedAt"`
	UpdatedAt     time.Time    `json:"updatedAt"`
	// Deadline is when an order before the pivot is cancelled.
	Deadline time.Time `json:"deadline"`
	// End is what a cancelling order becomes: cancelled or rejected.
	End contract.Status `json:"end,omitempty"`
	// Waiting is set while a step gets no answer.
	Waiting *Waiting `json:"waiting,omitempty"`
	// Refunds are all requested refunds, in order. The last may be under way.
	Refunds []Refund `json:"refunds,omitempty"`
	// Retries are the operation ids of the newest retries by staff.
	Retries []string `json:"retries,omitempty"`
}

// Line is one SKU of the order. Name and prices are known once it is reserved.
type Line struct {
	SKU       string      `json:"sku"`
	Name      string      `json:"name,omitempty"`
	Quantity  int64       `json:"quantity"`
	UnitPrice money.Money `json:"unitPrice,omitzero"`
	LineTotal money.Money `json:"lineTotal,omitzero"`
}

// Waiting says what an order waits for.
type Waiting struct {
	// Step is the step that gets no answer.
	Step string `json:"step"`
	// Reason says why. It is written for staff.
	Reason string `json:"reason"`
	// Attempts counts the failed attempts of this step.
	Attempts int `json:"attempts"`
	// Since is when the first attempt failed. NextAttemptAt is when the next is due.
	Since         time.Time `json:"since"`
	NextAttemptAt time.Time `json:"nextAttemptAt"`
}

// Intervention is a request of a member of staff about an order.
type Intervention struct {
	// Operation identifies the request, so that its repeat is recognised.
	Operation string
	// By is the member of staff. Note is the reason they gave.
	By, Note string
}

// retriesKept is how many retries an order remembers, to recognise their repeats.
const retriesKept = 8

// Refund is one refund of a confirmed order.
type Refund struct {
	ID          string      `json:"id"`
	Amount      money.Money `json:"amount"`
	Reason      string      `json:"reason"`
	RequestedBy string      `json:"requestedBy"`
	Fingerprint string      `json:"fingerprint"`
	Done        bool        `json:"done"`
}

// Reasons that the saga itself gives.
const (
	ReasonOutOfStock        = "out_of_stock"
	ReasonUnknownProduct    = "unknown_product"
	ReasonPriceChanged      = "price_changed"
	ReasonCurrencyMismatch  = "currency_mismatch"
	ReasonInsufficientFunds = "insufficient_funds"
	ReasonDeadline          = "deadline"
	ReasonCustomer          = "cancelled_by_customer"
	ReasonStaff             = "cancelled_by_staff"
)

// Errors of refused requests.
var (
	// ErrFingerprint: the operation id was used with another request.
	ErrFingerprint = errors.New("operation id was used with another request")
	// ErrEnded: the order has ended in a way that does not fit the request.
	ErrEnded = errors.New("order has already ended")
	// ErrNotRefundable: only a confirmed order can be refunded.
	ErrNotRefundable = errors.New("order is not confirmed")
	// ErrRefundUnderWay: another refund has to end first.
	ErrRefundUnderWay = errors.New("another refund is under way")
	// ErrRefundAmount: the amount is not between 1 and what is left to refund.
	ErrRefundAmount = errors.New("amount is not between 1 and what is left to refund")
	// ErrTooManyRefunds: an order takes at most MaxRefunds refunds.
	ErrTooManyRefunds = errors.New("too many refunds")
	// ErrTransition: the saga asked for a step that the state does not allow. It is a programming error.
	ErrTransition = errors.New("illegal transition")
)

// PastPivotError says that an order can no longer be cancelled, only refunded.
type PastPivotError struct{ OrderID string }

// Error implements error.
func (e *PastPivotError) Error() string { return "order " + e.OrderID + " can no longer be cancelled" }

// MaxRefunds bounds the refunds of one order.
const MaxRefunds = 50

// Place makes a new order in an empty document, or recognises a repeat. deadline is how long it may try before the pivot.
func (o *Order) Place(id, userID, key, fingerprint string, lines []Line, expected *money.Money, now time.Time, deadline time.Duration) error {
	if o.Exists() {
		if o.Fingerprint != fingerprint {
			return ErrFingerprint
		}
		return document.ErrUnchanged
	}
	o.ID, o.UserID, o.Key, o.Fingerprint = id, userID, key, fingerprint
	o.Lines, o.ExpectedTotal = lines, expected
	o.PlacedAt, o.Deadline = now, now.Add(deadline)
	o.enter(contract.Placed, contract.EventPlaced, now)
	return nil
}

// Reserve records the locked prices.
func (o *Order) Reserve(lines []Line, total money.Money, now time.Time) error {
	if err := o.require(contract.Placed); err != nil {
		return err
	}
	o.Lines, o.Total = lines, total
	o.Refunded = money.Money{Currency: total.Currency}
	o.enter(contract.Reserved, contract.EventReserved, now)
	return nil
}

// Authorize records that the total is held.
func (o *Order) Authorize(now time.Time) error {
	if err := o.require(contract.Reserved); err != nil {
		return err
	}
	o.enter(contract.Authorized, contract.EventAuthorized, now)
	return nil
}

// Pivot decides that the order will be fulfilled: from here it goes forward only.
func (o *Order) Pivot(now time.Time) error {
	if err := o.require(contract.Authorized); err != nil {
		return err
	}
	o.enter(contract.Capturing, contract.EventCapturing, now)
	return nil
}

// Confirm ends the saga in success.
func (o *Order) Confirm(now time.Time) error {
	if err := o.require(contract.Capturing); err != nil {
		return err
	}
	o.enter(contract.Confirmed, contract.EventConfirmed, now)
	return nil
}

// Abandon starts the compensation of an order before the pivot. The order will end as cancelled or rejected, with the given
// reason.
func (o *Order) Abandon(end contract.Status, reason string, now time.Time) error {
	return o.abandon(end, reason, Intervention{}, now)
}

func (o *Order) abandon(end contract.Status, reason string, i Intervention, now time.Time) error {
	switch o.Status {
	case contract.Placed, contract.Reserved, contract.Authorized:
	case contract.Cancelling:
		return document.ErrUnchanged
	default:
		return fmt.Errorf("%w: abandoning an order that is %s", ErrTransition, o.Status)
	}
	o.End, o.Reason = end, reason
	o.move(contract.Cancelling, contract.EventCancelling, i, now)
	return nil
}

// Compensated ends an abandoned order after everything it held was given back.
func (o *Order) Compensated(now time.Time) error {
	if err := o.require(contract.Cancelling); err != nil {
		return err
	}
	event := contract.EventCancelled
	if o.End == contract.Rejected {
		event = contract.EventRejected
	}
	o.enter(o.End, event, now)
	return nil
}

// Cancel ends the order for its customer. It is allowed before the pivot. Errors: ErrEnded, *PastPivotError.
func (o *Order) Cancel(now time.Time) error {
	return o.cancel(ReasonCustomer, Intervention{}, now)
}

// CancelBy is Cancel by a member of staff.
func (o *Order) CancelBy(i Intervention, now time.Time) error {
	return o.cancel(ReasonStaff, i, now)
}

func (o *Order) cancel(reason string, i Intervention, now time.Time) error {
	switch o.Status {
	case contract.Placed, contract.Reserved, contract.Authorized:
		return o.abandon(contract.Cancelled, reason, i, now)
	case contract.Cancelling, contract.Cancelled:
		return document.ErrUnchanged
	case contract.Rejected:
		return ErrEnded
	}
	return &PastPivotError{o.ID}
}

// RequestRefund starts a refund. An amount of zero means all that is left. A repeat is recognised by the id.
func (o *Order) RequestRefund(r Refund, now time.Time) error {
	for _, known := range o.Refunds {
		if known.ID != r.ID {
			continue
		}
		if known.Fingerprint != r.Fingerprint {
			return ErrFingerprint
		}
		return document.ErrUnchanged
	}
	switch {
	case o.Status == contract.Refunding:
		return ErrRefundUnderWay
	case o.Status == contract.Refunded:
		return ErrRefundAmount
	case o.Status != contract.Confirmed:
		return ErrNotRefundable
	case len(o.Refunds) >= MaxRefunds:
		return ErrTooManyRefunds
	}
	left, err := o.Total.Sub(o.Refunded)
	if err != nil {
		return fmt.Errorf("what is left to refund: %w", err)
	}
	if r.Amount.Amount == 0 {
		r.Amount = left
	}
	if r.Amount.Currency != left.Currency || r.Amount.Amount < 1 || r.Amount.Amount > left.Amount {
		return ErrRefundAmount
	}
	o.Refunds = append(o.Refunds, r)
	o.Reason = r.Reason
	o.enter(contract.Refunding, contract.EventRefunding, now)
	return nil
}

// PendingRefund is the refund that a refunding order carries out.
func (o *Order) PendingRefund() Refund { return o.Refunds[len(o.Refunds)-1] }

// FinishRefund records that the pending refund has reached the wallet. The order is then refunded as a whole, or confirmed
// with a part refunded.
func (o *Order) FinishRefund(now time.Time) error {
	if err := o.require(contract.Refunding); err != nil {
		return err
	}
	pending := &o.Refunds[len(o.Refunds)-1]
	sum, err := o.Refunded.Add(pending.Amount)
	if err != nil {
		return fmt.Errorf("adding refund: %w", err)
	}
	pending.Done = true
	o.Refunded = sum
	status := contract.Confirmed
	if o.Refunded == o.Total {
		status = contract.Refunded
	}
	o.enter(status, contract.EventRefunded, now)
	return nil
}

// Wait records that a step got no answer, and that its next attempt is due at next.
func (o *Order) Wait(step, reason string, now, next time.Time) error {
	if o.Status.Terminal() {
		return document.ErrUnchanged
	}
	w := Waiting{Step: step, Reason: reason, Attempts: 1, Since: now, NextAttemptAt: next}
	if o.Waiting != nil && o.Waiting.Step == step {
		w.Attempts, w.Since = o.Waiting.Attempts+1, o.Waiting.Since
	}
	o.Waiting = &w
	o.UpdatedAt = now
	return nil
}

// Retry makes the next attempt of a waiting order due now. An order that does not wait, or is due already, stays as it is.
// Errors: ErrEnded.
func (o *Order) Retry(i Intervention, now time.Time) error {
	switch {
	case slices.Contains(o.Retries, i.Operation):
		return document.ErrUnchanged
	case o.Status.Terminal():
		return ErrEnded
	case o.Waiting == nil || !o.Waiting.NextAttemptAt.After(now):
		return document.ErrUnchanged
	}
	o.Waiting.NextAttemptAt = now
	o.UpdatedAt = now
	o.Retries = append(o.Retries, i.Operation)
	if surplus := len(o.Retries) - retriesKept; surplus > 0 {
		o.Retries = slices.Clone(o.Retries[surplus:])
	}
	o.Emit(contract.EventRetried, now, o.fact(i))
	return nil
}

// PastPivot reports whether an order has not ended and can only go forward: a sale that has to be completed, or money that
// has to be given back.
func (o *Order) PastPivot() bool {
	return o.Status == contract.Capturing || o.Status == contract.Refunding
}

// Overdue reports whether an order before the pivot has passed its deadline.
func (o *Order) Overdue(now time.Time) bool {
	switch o.Status {
	case contract.Placed, contract.Reserved, contract.Authorized:
		return now.After(o.Deadline)
	}
	return false
}

// SKUs are the SKUs of the lines.
func (o *Order) SKUs() []string {
	skus := make([]string, len(o.Lines))
	for i, l := range o.Lines {
		skus[i] = l.SKU
	}
	return skus
}

func (o *Order) require(s contract.Status) error {
	if o.Status != s {
		return fmt.Errorf("%w: order is %s, not %s", ErrTransition, o.Status, s)
	}
	return nil
}

// enter moves to a state and writes the event of it.
func (o *Order) enter(s contract.Status, event string, now time.Time) {
	o.move(s, event, Intervention{}, now)
}

// move is enter with the member of staff who caused it, if any.
func (o *Order) move(s contract.Status, event string, i Intervention, now time.Time) {
	o.Status, o.UpdatedAt, o.Waiting = s, now, nil
	o.Emit(event, now, o.fact(i))
}

func (o *Order) fact(i Intervention) contract.Fact {
	return contract.Fact{
		OrderID: o.ID, UserID: o.UserID, Status: o.Status, Reason: o.Reason, Total: o.Total, Refunded: o.Refunded, By: i.By, Note: i.Note,
	}
}
