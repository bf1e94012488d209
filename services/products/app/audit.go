package app

import (
	"context"
	"errors"
	"fmt"

	"caravan/internal/page"
	"caravan/services/products/contract"
	"caravan/services/products/domain"
)

const (
	// auditHolds is about how many holds one page reports; the answer has to stay well below the sidecar's 4 MiB.
	auditHolds = 2000
	// auditLeaves is how many archive leaves are read for one page.
	auditLeaves = 32
	// auditStocks is how many stocks one page visits.
	auditStocks = 50
)

// auditCursor is the place of the next page: within the archive of a SKU, or after it.
type auditCursor struct {
	SKU string `json:"sku"`
	// Leaf is the next archive leaf of SKU, or -1 when SKU is done.
	Leaf int64 `json:"leaf"`
}

// Audit checks the invariants of all stocks, a page at a time, recomputing every sum from the holds themselves:
//
//	I1  received - committed = onHand, reserved = the sum of reserved holds, 0 <= reserved <= onHand
//	I2  committed = the sum of committed holds including the archive, and no order holds one SKU twice
func (s *Shop) Audit(ctx context.Context, command contract.Audit) (contract.AuditPage, error) {
	at := auditCursor{Leaf: -1}
	if err := page.Decode(command.Cursor, &at); err != nil {
		return contract.AuditPage{}, err
	}
	seen, err := s.directory.all(ctx)
	if err != nil {
		return contract.AuditPage{}, err
	}
	a := &audit{documents: s.documents, page: contract.AuditPage{Findings: []contract.Finding{}, Counts: make(map[string]int64)}}
	if command.Cursor != "" && at.Leaf >= 0 {
		if at.Leaf, err = a.archive(ctx, at.SKU, at.Leaf); err != nil {
			return contract.AuditPage{}, err
		}
	}
	for visited := 0; at.Leaf < 0 && visited < auditStocks && len(a.page.Holds) < auditHolds; visited++ {
		skus := seen.catalogue.SKUs(at.SKU, 1)
		if len(skus) == 0 {
			return a.page, nil
		}
		at.SKU = skus[0]
		if at.Leaf, err = a.head(ctx, at.SKU); err != nil {
			return contract.AuditPage{}, err
		}
	}
	a.page.Next = page.Encode(at)
	return a.page, nil
}

// audit gathers one page.
type audit struct {
	documents *Documents
	page      contract.AuditPage
}

func (a *audit) find(invariant, key, format string, args ...any) {
	a.page.Findings = append(a.page.Findings, contract.Finding{Invariant: invariant, Key: key, Detail: fmt.Sprintf(format, args...)})
}

func (a *audit) report(sku string, holds []domain.Hold) {
	for _, h := range holds {
		a.page.Holds = append(a.page.Holds, contract.OrderHold{SKU: sku, OrderID: h.OrderID, State: string(h.State), Quantity: h.Quantity})
	}
	a.page.Counts["holds"] += int64(len(holds))
}

// head checks a stock document and tells at which archive leaf to go on, -1 if there is none.
func (a *audit) head(ctx context.Context, sku string) (leaf int64, err error) {
	products, err := a.documents.products.GetMany(ctx, sku)
	if err != nil {
		return -1, fmt.Errorf("auditing %s: %w", sku, err)
	}
	stocks, err := a.documents.stocks.GetMany(ctx, sku)
	if err != nil {
		return -1, fmt.Errorf("auditing %s: %w", sku, err)
	}
	product, stock := products[sku], stocks[sku]
	switch {
	case product == nil && stock == nil: // listed, then never created
		return -1, nil
	case product == nil:
		a.find("I1", "stock/"+sku, "there is stock without a product")
	case stock == nil:
		a.find("I1", "product/"+sku, "there is a product without stock")
		a.page.Counts["products"]++
		return -1, nil
	}
	a.page.Counts["products"]++
	a.page.Counts["onHand"] += stock.OnHand
	a.page.Counts["reserved"] += stock.Reserved
	a.page.Counts["committed"] += stock.Committed
	a.page.Counts["received"] += stock.Received
	for _, f := range stock.Audit() {
		a.find(f.Invariant, "stock/"+sku, "%s", f.Detail)
	}
	a.report(sku, stock.Holds)
	if stock.Archived.Leaves == 0 {
		return -1, nil
	}
	return 0, nil
}

// archive checks leaves of a SKU from a number on and tells where to go on, -1 when it has seen them all.
func (a *audit) archive(ctx context.Context, sku string, from int64) (next int64, err error) {
	stock, err := a.documents.stocks.Get(ctx, sku)
	if err != nil {
		return -1, fmt.Errorf("auditing the archive of %s: %w", sku, err)
	}
	refs, err := a.leaves(ctx, stock, from)
	var leaves []domain.Leaf
	if err == nil {
		leaves, err = load[domain.Leaf](ctx, a.documents.store, stock, refs, 0)
	}
	if errors.Is(err, errArchive) {
		a.find("I2", "stock/"+sku, "%v", err)
		return -1, nil
	}
	if err != nil || len(refs) == 0 {
		return -1, err
	}
	for i, leaf := range leaves {
		if holds, units := leaf.Sums(); holds != refs[i].Holds || units != refs[i].Units {
			a.find("I2", refs[i].Key(sku, 0), "holds %d of %d units, its reference says %d of %d", holds, units, refs[i].Holds, refs[i].Units)
		}
		a.report(sku, leaf.Holds)
	}
	next = from + int64(len(refs))
	if next >= stock.Archived.Leaves {
		next = -1
	}
	return next, nil
}

// leaves gives the references of up to auditLeaves leaves from a number on, checking the sums of the nodes on the way.
func (a *audit) leaves(ctx context.Context, stock *domain.Stock, from int64) ([]domain.Ref, error) {
	var found []domain.Ref
	var descend func(ref domain.Ref, level int) error
	descend = func(ref domain.Ref, level int) error {
		if len(found) >= auditLeaves || ref.First+domain.LeavesOf(level) <= from {
			return nil
		}
		if level == 0 {
			found = append(found, ref)
			return nil
		}
		nodes, err := load[domain.Node](ctx, a.documents.store, stock, []domain.Ref{ref}, level)
		if err != nil {
			return fmt.Errorf("auditing the archive of %s: %w", stock.SKU, err)
		}
		if holds, units := nodes[0].Sums(); holds != ref.Holds || units != ref.Units {
			a.find("I2", ref.Key(stock.SKU, level), "holds %d of %d units, its reference says %d of %d", holds, units, ref.Holds, ref.Units)
		}
		for _, child := range nodes[0].Refs {
			if err := descend(child, level-1); err != nil {
				return err
			}
		}
		return nil
	}
	refs, levels := stock.Archived.Top()
	for i, ref := range refs {
		if err := descend(ref, levels[i]); err != nil {
			return nil, err
		}
	}
	return found, nil
}
