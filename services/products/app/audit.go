package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"caravan/internal/audit"
	"caravan/internal/document"
	"caravan/internal/event"
	"caravan/internal/feed"
	"caravan/internal/page"
	"caravan/services/products/contract"
	"caravan/services/products/domain"
)

const (
	// auditHolds is about how many holds one page reports; the answer has to stay well below the sidecar's 4 MiB.
	auditHolds = 2000
	// auditLeaves is how many archive leaves are checked for one page.
	auditLeaves = 32
	// auditSegments is how many timeline segments are read for one page.
	auditSegments = 64
	// auditStocks is how many stocks one page visits.
	auditStocks = 50
)

// Audit checks the stocks of all SKUs, recomputing every sum from the holds and corrections themselves, and the events
// of products and stocks against the feed. The names of its invariants are in the contract.
type Audit struct {
	shop     *Shop
	coverage *feed.Coverage
}

// NewAudit makes the use case; coverage is that of the index of the shop's documents.
func NewAudit(shop *Shop, coverage *feed.Coverage) *Audit { return &Audit{shop, coverage} }

// invariants are all that a page checks.
var invariants = append([]string{
	contract.InvariantStock, contract.InvariantSold, contract.InvariantHold, contract.InvariantArchive,
	contract.InvariantHistory, contract.InvariantProduct,
}, feed.TrailInvariants...)

// stage is a part of the audit of one SKU. They follow each other in this order.
type stage int

const (
	atHead     stage = iota // the documents of the SKU themselves
	atArchive               // leaf after leaf of the finished holds
	atHistory               // segment after segment of the stock's events, and then those in its head
	atTimeline              // segment after segment of the product's events
	atEnd                   // on to the next SKU
)

// auditPlace is the content of a cursor.
type auditPlace struct {
	SKU   string `json:"sku"`
	Stage stage  `json:"s"`
	// Number is the next leaf or segment of the stage.
	Number int64 `json:"n,omitempty"`
	// Levels is how far the history was followed.
	Levels domain.Levels `json:"l,omitzero"`
}

// next goes on to a later stage.
func (at *auditPlace) next(s stage) { at.Stage, at.Number = s, 0 }

// Page checks one part; an empty cursor starts.
func (a *Audit) Page(ctx context.Context, cursor string) (contract.AuditPage, error) {
	at := auditPlace{Stage: atEnd}
	if err := page.Decode(cursor, &at); err != nil {
		return contract.AuditPage{}, err
	}
	p := a.begin()
	if cursor == "" {
		a.coverage.Restart()
	}
	complete, err := a.coverage.Extend(ctx)
	if err != nil {
		return contract.AuditPage{}, fmt.Errorf("auditing: %w", err)
	}
	for visited := 0; complete && p.room() && visited < auditStocks; visited++ {
		if at.Stage == atEnd {
			skus, err := a.following(ctx, at.SKU)
			if err != nil {
				return contract.AuditPage{}, err
			}
			if len(skus) == 0 {
				return p.AuditPage, nil
			}
			at = auditPlace{SKU: skus[0]}
		}
		if err := p.sku(ctx, &at); err != nil {
			return contract.AuditPage{}, fmt.Errorf("auditing %s: %w", at.SKU, err)
		}
	}
	p.Next = page.Encode(at)
	return p.AuditPage, nil
}

func (a *Audit) begin() *auditPage {
	documents := a.shop.documents
	memo := document.NewMemo(documents.store)
	return &auditPage{
		AuditPage: contract.AuditPage{Page: audit.NewPage(invariants...)},
		documents: documents, archive: memo,
		trail:  feed.Trail{Store: memo, Source: contract.App, Coverage: a.coverage},
		leaves: auditLeaves, segments: auditSegments, now: a.shop.clock.Now(), openWithin: a.shop.settings.OpenWithin,
	}
}

// following is the SKU after another, if there is one.
func (a *Audit) following(ctx context.Context, sku string) ([]string, error) {
	seen, err := a.shop.documents.Catalogue(ctx)
	if err != nil {
		return nil, err
	}
	return seen.SKUs(sku, 1), nil
}

// auditPage is a page while it is filled.
type auditPage struct {
	contract.AuditPage
	documents *Documents
	archive   document.Store // remembers what the page has read
	trail     feed.Trail
	// leaves and segments are what may still be read.
	leaves, segments int
	// now is when the page was begun. A product without a stock is a finding once it is older than openWithin.
	now        time.Time
	openWithin time.Duration
}

func (p *auditPage) room() bool {
	return p.leaves > 0 && p.segments > 0 && len(p.Holds) < auditHolds
}

// sku takes a SKU from stage to stage, as far as the page goes.
func (p *auditPage) sku(ctx context.Context, at *auditPlace) error {
	// A stock is written after its product, so it is read before it: whoever has a stock finds its product.
	stocks, err := p.documents.stocks.GetMany(ctx, at.SKU)
	if err != nil {
		return err
	}
	products, err := p.documents.products.GetMany(ctx, at.SKU)
	if err != nil {
		return err
	}
	product, stock := products[at.SKU], stocks[at.SKU]
	for at.Stage < atEnd && p.room() {
		switch at.Stage {
		case atHead:
			err = p.head(ctx, at, product, stock)
		case atArchive:
			err = p.leavesFrom(ctx, at, stock)
		case atHistory:
			err = p.history(ctx, at, stock)
		case atTimeline:
			err = p.timeline(ctx, at, product)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// head checks the documents of a SKU.
func (p *auditPage) head(ctx context.Context, at *auditPlace, product *domain.Product, stock *domain.Stock) error {
	if product == nil && stock == nil { // listed, then never created
		at.next(atEnd)
		return nil
	}
	if stock == nil && p.now.Sub(product.CreatedAt) <= p.openWithin {
		p.Counts["productsYoung"]++ // it is being created
		at.next(atEnd)
		return nil
	}
	both := product != nil && stock != nil
	p.Check(both, contract.InvariantProduct, "product/"+at.SKU, "product: %t, stock: %t", product != nil, stock != nil)
	p.Counts["products"]++
	if !both {
		at.next(atEnd)
		return nil
	}
	at.Levels.Received = product.InitialStock
	p.Counts["onHand"] += stock.OnHand
	p.Counts["reserved"] += stock.Reserved
	p.Counts["committed"] += stock.Committed
	p.Counts["received"] += stock.Received
	domain.AuditStock(&p.Results, stock)
	p.report(stock, stock.Holds)
	at.next(atArchive)
	return p.doubles(ctx, stock, stock.Holds, stock.Archived.Leaves)
}

func (p *auditPage) report(stock *domain.Stock, holds []domain.Hold) {
	for _, h := range holds {
		p.Holds = append(p.Holds, holdOf(stock, h))
	}
	p.Counts["holds"] += int64(len(holds))
}

func holdOf(stock *domain.Stock, h domain.Hold) contract.OrderHold {
	return contract.OrderHold{
		SKU: stock.SKU, OrderID: h.OrderID, State: string(h.State), Reason: string(h.Reason), BeforeStock: stock.MayPrecede(h), Quantity: h.Quantity, UnitPrice: h.UnitPrice, Currency: stock.Currency,
	}
}

// leavesFrom checks leaves of the archive, and the nodes on the way.
func (p *auditPage) leavesFrom(ctx context.Context, at *auditPlace, stock *domain.Stock) error {
	from, read := at.Number, 0
	walk := archiveOf(p.archive, stock)
	walk.Within = func(r domain.ArchiveRef, level int) bool { return r.First+document.LeavesBelow(level) > from }
	walk.Node = func(r domain.ArchiveRef, level int, node document.TreeNode[domain.Span]) {
		domain.AuditNode(&p.Results, stock.SKU, node, r, level)
	}
	var failed error
	err := document.Leaves(ctx, &stock.Archived.Tree, walk, func(r domain.ArchiveRef, leaf domain.Leaf) bool {
		domain.AuditLeaf(&p.Results, at.SKU, leaf, r)
		p.report(stock, leaf.Holds)
		failed = p.doubles(ctx, stock, leaf.Holds, r.First)
		read++
		return failed == nil && read < auditLeaves
	})
	if errors.Is(err, document.ErrArchive) {
		p.Check(false, contract.InvariantArchive, "stock/"+at.SKU, "%v", err)
		at.next(atHistory)
		return nil
	}
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	p.leaves -= read
	if at.Number += int64(read); read == 0 || at.Number >= stock.Archived.Leaves {
		at.next(atHistory)
	}
	return nil
}

// doubles checks that no order of some holds is in a leaf before the given one too.
func (p *auditPage) doubles(ctx context.Context, stock *domain.Stock, holds []domain.Hold, before int64) error {
	walk := archiveOf(p.archive, stock)
	walk.Within = func(r domain.ArchiveRef, _ int) bool {
		return r.First < before && slices.ContainsFunc(holds, func(h domain.Hold) bool { return r.Summary.Covers(h.PlacedAt) })
	}
	err := document.Leaves(ctx, &stock.Archived.Tree, walk, func(r domain.ArchiveRef, leaf domain.Leaf) bool {
		domain.AuditDoubles(&p.Results, stock.SKU, holds, leaf, r)
		return true
	})
	if errors.Is(err, document.ErrArchive) {
		return nil // which the audit of the archive reports
	}
	return err
}

// history follows the corrections of a stock, as its events tell of them, from its initial to its present level.
func (p *auditPage) history(ctx context.Context, at *auditPlace, stock *domain.Stock) error {
	key := "stock/" + at.SKU
	for ; at.Number < stock.TimelineSegments && p.segments > 0; at.Number++ {
		events, err := p.trail.Segment(ctx, &p.Results, key, key, &stock.Root, at.Number)
		if err != nil {
			return err
		}
		p.segments--
		p.follow(at, key, events)
	}
	if at.Number < stock.TimelineSegments {
		return nil
	}
	p.follow(at, key, p.trail.Head(&p.Results, key, key, &stock.Root))
	at.Levels.Arrive(&p.Results, stock)
	at.next(atTimeline)
	return nil
}

func (p *auditPage) follow(at *auditPlace, key string, events []event.Event) {
	for _, e := range events {
		var fact contract.StockCorrected
		if e.Type != contract.EventStockCorrected || !p.Check(e.Decode(&fact) == nil, contract.InvariantHistory, key, "event %s cannot be read", e.ID) {
			continue
		}
		at.Levels.Follow(&p.Results, key, fact.Change, fact.OnHand, e.Time)
	}
}

// timeline checks the events of a product.
func (p *auditPage) timeline(ctx context.Context, at *auditPlace, product *domain.Product) error {
	key := "product/" + at.SKU
	if at.Number == 0 {
		p.trail.Head(&p.Results, key, at.SKU, &product.Root)
	}
	for ; at.Number < product.TimelineSegments && p.segments > 0; at.Number++ {
		if _, err := p.trail.Segment(ctx, &p.Results, key, at.SKU, &product.Root, at.Number); err != nil {
			return err
		}
		p.segments--
	}
	if at.Number >= product.TimelineSegments {
		at.next(atEnd)
	}
	return nil
}

// Holds answers what orders hold, in the head or in the archive of each SKU.
func (a *Audit) Holds(ctx context.Context, asked contract.HoldsRequest) (contract.Holds, error) {
	bySKU := make(map[string][]domain.Order)
	for _, o := range asked.Orders {
		for _, sku := range o.SKUs {
			bySKU[sku] = append(bySKU[sku], domain.Order{ID: o.OrderID, PlacedAt: o.PlacedAt})
		}
	}
	documents := *a.shop.documents
	documents.store = document.NewMemo(documents.store) // neighbouring orders lie in the same leaves
	found := contract.Holds{Holds: []contract.OrderHold{}}
	for part := range slices.Chunk(slices.Sorted(maps.Keys(bySKU)), holdsStocks) {
		stocks, err := documents.stocks.GetMany(ctx, part...)
		if err != nil {
			return contract.Holds{}, fmt.Errorf("reading stocks: %w", err)
		}
		for sku, stock := range stocks {
			for _, o := range bySKU[sku] {
				h, err := documents.hold(ctx, stock, o)
				if err != nil {
					return contract.Holds{}, fmt.Errorf("looking for the hold of order %s on %s: %w", o.ID, sku, err)
				}
				if h != nil {
					found.Holds = append(found.Holds, holdOf(stock, *h))
				}
			}
		}
	}
	return found, nil
}

// hold finds the hold of an order in a stock or its archive; it is nil if there is none. A damaged archive has none: its
// own audit reports it.
func (d *Documents) hold(ctx context.Context, stock *domain.Stock, o domain.Order) (*domain.Hold, error) {
	if i := slices.IndexFunc(stock.Holds, func(h domain.Hold) bool { return h.OrderID == o.ID }); i >= 0 {
		return &stock.Holds[i], nil
	}
	h, err := d.archived(ctx, stock, o)
	if errors.Is(err, document.ErrArchive) {
		return nil, nil
	}
	return h, err
}

// holdsStocks is how many stocks are read at once to answer Holds.
const holdsStocks = 16
