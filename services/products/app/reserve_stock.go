package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"caravan/internal/id"
	"caravan/internal/money"
	"caravan/services/products/contract"
	"caravan/services/products/domain"
)

// ReserveStock holds stock for orders.
type ReserveStock struct {
	Shop *Shop
	// Currency is the only one that the shop sells in, an ISO 4217 code.
	Currency string
	// TTL is how long a reservation is kept without asking for its order.
	TTL time.Duration
}

// Do holds all lines of an order with their prices, or none.
//
// Several SKUs are several documents, and two drivers may reserve one order at the same time. So one document decides: the
// order's anchor, which is the stock of its first SKU. The other lines are held first, all at once. Then the hold on the
// anchor completes the reservation. A driver that has to refuse writes a tombstone on the anchor instead. Only one of the
// two can be written, so every driver gives the same answer. The other lines are given back only after a tombstone.
func (u ReserveStock) Do(ctx context.Context, command contract.Reserve) (contract.Reserved, error) {
	for _, line := range command.Lines {
		if !id.ValidSKU(line.SKU) { // it can never exist, so there is nothing to decide
			return contract.Reserved{Outcome: contract.OutcomeUnknownProduct, SKU: line.SKU}, nil
		}
	}
	if expected := command.ExpectedTotal; expected != nil && expected.Currency != u.Currency { // the same
		return contract.Reserved{Outcome: contract.OutcomeCurrencyMismatch}, nil
	}
	r, refused, err := u.reservation(ctx, command)
	if err != nil {
		return contract.Reserved{}, err
	}
	if refused.reason == "" {
		if refused, err = u.holdOthers(ctx, r); err != nil {
			return contract.Reserved{}, err
		}
	}
	anchor, err := u.decide(ctx, r, refused)
	if errors.Is(err, domain.ErrNoProduct) {
		// There is no anchor to write on. There never will be one for this order, because it is older than the product.
		return contract.Reserved{Outcome: contract.OutcomeUnknownProduct, SKU: r.anchor().SKU}, nil
	}
	if err != nil {
		return contract.Reserved{}, err
	}
	if anchor.State == domain.Released {
		return u.refused(ctx, r, anchor)
	}
	return u.reserved(ctx, r, anchor)
}

// reservation is one command while it is carried out.
type reservation struct {
	command contract.Reserve
	order   domain.Order
	lines   []contract.Line // by SKU; the first is the anchor
	quote   quote
	holds   map[string]domain.Hold
}

func (r *reservation) anchor() contract.Line   { return r.lines[0] }
func (r *reservation) others() []contract.Line { return r.lines[1:] }

// refusal is a reason not to reserve, and the SKU that it is about. The zero value is none.
type refusal struct {
	reason domain.Reason
	sku    string
}

// reservation prices the lines with products from the cache. Before it refuses the order, it reads the store.
func (u ReserveStock) reservation(ctx context.Context, command contract.Reserve) (*reservation, refusal, error) {
	r := &reservation{
		command: command, order: domain.Order{ID: command.OrderID, PlacedAt: command.PlacedAt},
		lines: slices.Clone(command.Lines), holds: make(map[string]domain.Hold, len(command.Lines)),
	}
	slices.SortFunc(r.lines, func(a, b contract.Line) int { return strings.Compare(a.SKU, b.SKU) })
	for _, read := range []func(context.Context, []contract.Line) (quote, error){u.quoteFromMemory, u.quoteFromStore} {
		var err error
		if r.quote, err = read(ctx, r.lines); err != nil {
			return nil, refusal{}, err
		}
		if r.quote.unknown == "" && !r.quote.differs(command.ExpectedTotal) {
			return r, refusal{}, nil
		}
	}
	if r.quote.unknown != "" {
		return r, refusal{domain.UnknownProduct, r.quote.unknown}, nil
	}
	return r, refusal{domain.PriceChanged, r.anchor().SKU}, nil
}

// holdOthers holds every line but the anchor, and checks the total of the locked prices: an earlier attempt may have locked
// some before a price changed.
func (u ReserveStock) holdOthers(ctx context.Context, r *reservation) (refusal, error) {
	others := r.others()
	holds := make([]domain.Hold, len(others))
	group, groupCtx := errgroup.WithContext(ctx)
	for i, line := range others {
		group.Go(func() (err error) {
			holds[i], err = u.hold(groupCtx, r, line)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return refusal{}, err
	}
	for i, line := range others {
		r.holds[line.SKU] = holds[i]
		if holds[i].State == domain.Released {
			return refusal{holds[i].Reason, line.SKU}, nil
		}
	}
	answer, err := r.priced()
	if err != nil {
		return refusal{}, err
	}
	if expected := r.command.ExpectedTotal; expected != nil && *expected != answer.Total {
		return refusal{domain.PriceChanged, r.anchor().SKU}, nil
	}
	return refusal{}, nil
}

// hold reserves one line.
func (u ReserveStock) hold(ctx context.Context, r *reservation, line contract.Line) (domain.Hold, error) {
	var hold domain.Hold
	claim := domain.Claim{
		Order: r.order, Quantity: line.Quantity, UnitPrice: r.quote.units[line.SKU].Amount,
		ExpiresAt: u.Shop.clock.Now().Add(u.TTL),
	}
	stock, err := u.Shop.documents.stock(ctx, line.SKU, r.order, func(d *domain.Stock, past *domain.Past) (changed bool, err error) {
		hold, changed, err = d.Reserve(claim, past)
		return changed, err
	})
	if err != nil {
		return domain.Hold{}, fmt.Errorf("reserving %s: %w", line.SKU, err)
	}
	u.Shop.cache.putLevel(stock)
	return hold, nil
}

// decide writes the hold or the tombstone of the anchor, and returns the hold that is stored then.
func (u ReserveStock) decide(ctx context.Context, r *reservation, refused refusal) (domain.Hold, error) {
	if refused.reason == "" {
		hold, err := u.hold(ctx, r, r.anchor())
		if err == nil {
			r.holds[r.anchor().SKU] = hold
		}
		return hold, err
	}
	var hold domain.Hold
	_, err := u.Shop.documents.stock(ctx, r.anchor().SKU, r.order, func(d *domain.Stock, past *domain.Past) (changed bool, err error) {
		hold, changed, err = d.Refuse(r.order, refused.reason, refused.sku, past)
		return changed, err
	})
	if err != nil {
		return domain.Hold{}, fmt.Errorf("refusing the reservation: %w", err)
	}
	r.holds[r.anchor().SKU] = hold
	return hold, nil
}

// refused releases the other lines and gives the answer that the anchor contains.
func (u ReserveStock) refused(ctx context.Context, r *reservation, anchor domain.Hold) (contract.Reserved, error) {
	if _, err := u.Shop.endAll(ctx, r.order, skusOf(r.others()), release(anchor.Reason)); err != nil {
		return contract.Reserved{}, err
	}
	sku := anchor.RefusedSKU
	if sku == "" {
		sku = r.anchor().SKU
	}
	switch anchor.Reason {
	case domain.OutOfStock:
		return contract.Reserved{Outcome: contract.OutcomeOutOfStock, SKU: sku}, nil
	case domain.UnknownProduct:
		return contract.Reserved{Outcome: contract.OutcomeUnknownProduct, SKU: sku}, nil
	case domain.PriceChanged:
		answer := contract.Reserved{Outcome: contract.OutcomePriceChanged}
		if r.quote.unknown == "" {
			answer.Lines, answer.Total = inOrder(r.command.Lines, r.quote.lines), r.quote.total
		}
		return answer, nil
	default:
		return contract.Reserved{Outcome: contract.OutcomeReleased}, nil
	}
}

// reserved answers a completed reservation with the prices that it locked. If another driver completed it, the other lines
// are held too, and holding them again returns their prices.
func (u ReserveStock) reserved(ctx context.Context, r *reservation, anchor domain.Hold) (contract.Reserved, error) {
	for _, line := range r.others() {
		if _, known := r.holds[line.SKU]; known && r.holds[line.SKU].State != domain.Released {
			continue
		}
		hold, err := u.hold(ctx, r, line)
		if err != nil {
			return contract.Reserved{}, err
		}
		if hold.State == domain.Released { // the order was released in the meantime
			return contract.Reserved{Outcome: contract.OutcomeReleased}, nil
		}
		r.holds[line.SKU] = hold
	}
	if anchor.Quantity != r.anchor().Quantity {
		return contract.Reserved{}, domain.ErrOtherQuantity
	}
	return r.priced()
}

// priced is the answer of a successful reservation: locked prices where there are holds, else those of the quote.
func (r *reservation) priced() (contract.Reserved, error) {
	lines := make(map[string]contract.PricedLine, len(r.lines))
	total := money.New(0, r.quote.currency)
	for _, line := range r.lines {
		unit := r.quote.units[line.SKU]
		if hold, held := r.holds[line.SKU]; held {
			unit = money.New(hold.UnitPrice, r.quote.currency)
		}
		priced, err := priceLine(line, r.quote.names[line.SKU], unit)
		if err != nil {
			return contract.Reserved{}, err
		}
		if total, err = total.Add(priced.LineTotal); err != nil {
			return contract.Reserved{}, fmt.Errorf("adding up the order: %w", err)
		}
		lines[line.SKU] = priced
	}
	return contract.Reserved{Outcome: contract.OutcomeReserved, Lines: inOrder(r.command.Lines, lines), Total: total}, nil
}

// inOrder lists priced lines in the order of the command.
func inOrder(lines []contract.Line, priced map[string]contract.PricedLine) []contract.PricedLine {
	ordered := make([]contract.PricedLine, len(lines))
	for i, line := range lines {
		ordered[i] = priced[line.SKU]
	}
	return ordered
}

func skusOf(lines []contract.Line) []string {
	skus := make([]string, len(lines))
	for i, line := range lines {
		skus[i] = line.SKU
	}
	return skus
}
