package app

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"caravan/services/orders/contract"
	"caravan/services/orders/domain"
	payments "caravan/services/payments/contract"
	products "caravan/services/products/contract"
)

// Products is what the saga needs of the products service.
type Products interface {
	Reserve(context.Context, products.Reserve) (products.Reserved, error)
	Commit(context.Context, products.Commit) (products.Committed, error)
	Release(context.Context, products.Release) (products.Released, error)
}

// Payments is what the saga needs of the payments service.
type Payments interface {
	Authorize(context.Context, payments.Authorize) (payments.Authorized, error)
	Capture(context.Context, payments.Capture) (payments.Captured, error)
	Void(context.Context, payments.Void) (payments.Voided, error)
	Refund(context.Context, payments.Refund) (payments.Refunded, error)
}

// Participants are the services that take part in the saga.
type Participants struct {
	Products Products
	Payments Payments
}

// Saga is the order saga: what to do in which state, and how to undo it.
type Saga []Step

// Step is what the saga does while an order is in the state When.
type Step struct {
	When contract.Status
	Name string
	// Do sends a command to a participant and returns the transition that follows from its answer. An error means that there
	// is no answer: the order waits, and Do runs again. Do is safe to repeat and to run twice at once.
	Do func(context.Context, domain.Order) (Transition, error)
	// Undo takes back what Do may have done. It commutes with Do: after an Undo, a Do that comes late has no effect.
	Undo func(context.Context, domain.Order) error
	// Durable steps are written at once. The others may be written with the next durable step: after a crash they are
	// repeated and get the same answers.
	Durable bool
}

// Transition changes the order according to the answer to a step.
type Transition func(o *domain.Order, now time.Time) error

// Checkout declares the saga. Before the pivot, all steps are undone after a failure, in reverse order. After it, the order
// only goes forward.
func (p Participants) Checkout() Saga {
	return Saga{
		{When: contract.Placed, Name: "reserve", Do: p.reserveAndAuthorize, Undo: p.release},
		{When: contract.Reserved, Name: "authorize", Do: p.authorize, Undo: p.void},
		{When: contract.Authorized, Name: "pivot", Do: pivot, Durable: true},
		{When: contract.Capturing, Name: "capture", Do: p.captureAndCommit, Durable: true},
		{When: contract.Refunding, Name: "refund", Do: p.refund, Durable: true},
	}
}

// reserveAndAuthorize sends both commands at once if the customer has named the total: products refuses any other one, so the
// amount to hold is known. Without a total, or if the amount was not held, the next step authorizes.
func (p Participants) reserveAndAuthorize(ctx context.Context, o domain.Order) (Transition, error) {
	if o.ExpectedTotal == nil {
		return p.reserve(ctx, o)
	}
	early, cancel := context.WithCancel(ctx)
	defer cancel()
	authorized := false
	var authorizing sync.WaitGroup
	authorizing.Go(func() {
		answer, err := p.Payments.Authorize(early, payments.Authorize{
			OrderID: o.ID, UserID: o.UserID, Amount: *o.ExpectedTotal, PlacedAt: o.PlacedAt, Early: true,
		})
		authorized = err == nil && answer.Outcome == payments.OutcomeAuthorized
	})
	reserved, err := p.reserve(ctx, o)
	if err != nil {
		cancel() // the order waits for products; a repeat of both gets the same answers
	}
	authorizing.Wait()
	if err != nil || !authorized {
		return reserved, err
	}
	return func(o *domain.Order, now time.Time) error {
		if err := reserved(o, now); err != nil || o.Status != contract.Reserved || o.Total != *o.ExpectedTotal {
			return err
		}
		return o.Authorize(now)
	}, nil
}

func (p Participants) reserve(ctx context.Context, o domain.Order) (Transition, error) {
	lines := make([]products.Line, len(o.Lines))
	for i, l := range o.Lines {
		lines[i] = products.Line{SKU: l.SKU, Quantity: l.Quantity}
	}
	answer, err := p.Products.Reserve(ctx, products.Reserve{OrderID: o.ID, Lines: lines, PlacedAt: o.PlacedAt, ExpectedTotal: o.ExpectedTotal})
	if err != nil {
		return nil, err
	}
	switch answer.Outcome {
	case products.OutcomeReserved:
		return func(o *domain.Order, now time.Time) error {
			return o.Reserve(pricedLines(answer.Lines), answer.Total, now)
		}, nil
	case products.OutcomeOutOfStock:
		return abandon(contract.Rejected, domain.ReasonOutOfStock), nil
	case products.OutcomeUnknownProduct:
		return abandon(contract.Rejected, domain.ReasonUnknownProduct), nil
	case products.OutcomePriceChanged:
		return abandon(contract.Rejected, domain.ReasonPriceChanged), nil
	case products.OutcomeCurrencyMismatch:
		return abandon(contract.Rejected, domain.ReasonCurrencyMismatch), nil
	case products.OutcomeReleased:
		return abandon(contract.Cancelled, domain.ReasonDeadline), nil
	}
	return nil, fmt.Errorf("products answered reserve with outcome %q", answer.Outcome)
}

func pricedLines(priced []products.PricedLine) []domain.Line {
	lines := make([]domain.Line, len(priced))
	for i, l := range priced {
		lines[i] = domain.Line{SKU: l.SKU, Name: l.Name, Quantity: l.Quantity, UnitPrice: l.UnitPrice, LineTotal: l.LineTotal}
	}
	return lines
}

func (p Participants) release(ctx context.Context, o domain.Order) error {
	answer, err := p.Products.Release(ctx, products.Release{OrderID: o.ID, SKUs: o.SKUs(), PlacedAt: o.PlacedAt})
	if err != nil {
		return err
	}
	if answer.Outcome != products.OutcomeReleased {
		return fmt.Errorf("products answered release with outcome %q", answer.Outcome)
	}
	return nil
}

func (p Participants) authorize(ctx context.Context, o domain.Order) (Transition, error) {
	answer, err := p.Payments.Authorize(ctx, payments.Authorize{OrderID: o.ID, UserID: o.UserID, Amount: o.Total, PlacedAt: o.PlacedAt})
	if err != nil {
		return nil, err
	}
	switch answer.Outcome {
	case payments.OutcomeAuthorized:
		return (*domain.Order).Authorize, nil
	case payments.OutcomeInsufficientFunds:
		return abandon(contract.Rejected, domain.ReasonInsufficientFunds), nil
	case payments.OutcomeVoided:
		return abandon(contract.Cancelled, domain.ReasonDeadline), nil
	}
	return nil, fmt.Errorf("payments answered authorize with outcome %q", answer.Outcome)
}

func (p Participants) void(ctx context.Context, o domain.Order) error {
	answer, err := p.Payments.Void(ctx, payments.Void{OrderID: o.ID, UserID: o.UserID, PlacedAt: o.PlacedAt})
	if err != nil {
		return err
	}
	if answer.Outcome != payments.OutcomeVoided {
		return fmt.Errorf("payments answered void with outcome %q", answer.Outcome)
	}
	return nil
}

// pivot sends no command. The decision is the write of the order itself, which competes with a cancellation for the same
// revision.
func pivot(context.Context, domain.Order) (Transition, error) {
	return (*domain.Order).Pivot, nil
}

// captureAndCommit sends both commands at once: past the pivot neither service may refuse, so neither has to wait for the
// other.
func (p Participants) captureAndCommit(ctx context.Context, o domain.Order) (Transition, error) {
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() error {
		answer, err := p.Payments.Capture(ctx, payments.Capture{OrderID: o.ID, UserID: o.UserID, PlacedAt: o.PlacedAt})
		if err == nil && answer.Outcome != payments.OutcomeCaptured {
			err = fmt.Errorf("payments answered capture with outcome %q", answer.Outcome)
		}
		return err
	})
	both.Go(func() error {
		answer, err := p.Products.Commit(ctx, products.Commit{OrderID: o.ID, SKUs: o.SKUs(), PlacedAt: o.PlacedAt})
		if err == nil && answer.Outcome != products.OutcomeCommitted {
			err = fmt.Errorf("products answered commit with outcome %q", answer.Outcome)
		}
		return err
	})
	if err := both.Wait(); err != nil {
		return nil, err
	}
	return (*domain.Order).Confirm, nil
}

func (p Participants) refund(ctx context.Context, o domain.Order) (Transition, error) {
	r := o.PendingRefund()
	answer, err := p.Payments.Refund(ctx, payments.Refund{RefundID: r.ID, OrderID: o.ID, UserID: o.UserID, Amount: r.Amount, PlacedAt: o.PlacedAt})
	if err != nil {
		return nil, err
	}
	if answer.Outcome != payments.OutcomeRefunded {
		return nil, fmt.Errorf("payments answered refund with outcome %q", answer.Outcome)
	}
	return (*domain.Order).FinishRefund, nil
}

// abandon is the transition to compensation.
func abandon(end contract.Status, reason string) Transition {
	return func(o *domain.Order, now time.Time) error { return o.Abandon(end, reason, now) }
}

// step finds what to do in a state.
func (s Saga) step(when contract.Status) (Step, bool) {
	for _, step := range s {
		if step.When == when {
			return step, true
		}
	}
	return Step{}, false
}

// next names the step that comes in a state.
func (s Saga) next(when contract.Status) string {
	if step, ok := s.step(when); ok {
		return step.Name
	}
	return "undo" // cancelling is the only state without a step of its own
}

// Steps names all steps at which an order can wait.
func (s Saga) Steps() []string {
	names := []string{s.next(contract.Cancelling)}
	for _, step := range s {
		names = append(names, step.Name)
		if step.Undo != nil {
			names = append(names, undo+step.Name)
		}
	}
	slices.Sort(names)
	return names
}

// undo is the prefix of the name of a step that is being undone.
const undo = "undo "

// compensate undoes all steps, the last one first. With an error it returns the step that could not be undone.
func (s Saga) compensate(ctx context.Context, o domain.Order) (string, error) {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i].Undo == nil {
			continue
		}
		if err := s[i].Undo(ctx, o); err != nil {
			return undo + s[i].Name, err
		}
	}
	return "", nil
}
