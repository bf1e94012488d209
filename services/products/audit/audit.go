// Package audit is what the audit asks of products: the stocks with their archives and corrections, the events of products
// and stocks, and what orders hold.
package audit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"caravan/internal/audit"
	"caravan/internal/clock"
	"caravan/internal/document"
	"caravan/internal/event"
	"caravan/internal/feed"
	"caravan/internal/page"
	"caravan/services/products/app"
	"caravan/services/products/contract"
	"caravan/services/products/domain"
)

const (
	// maxHolds is about how many holds one page reports. The answer has to stay well below the sidecar's 4 MiB.
	maxHolds = 2000
	// maxLeaves is how many archive leaves are checked for one page.
	maxLeaves = 32
	// maxSegments is how many timeline segments are read for one page.
	maxSegments = 64
	// maxStocks is how many stocks one page visits.
	maxStocks = 50
	// maxTogether is how many stocks are read at once.
	maxTogether = 16
	// maxBuckets is about how many buckets of watchers are read for one page.
	maxBuckets = 256
)

// Audit checks the stocks of all SKUs, recomputing every sum from the holds and corrections themselves, and the events
// of products and stocks against the feed. The names of its invariants are in the contract.
type Audit struct {
	Documents *app.Documents
	Trail     feed.Trail
	Clock     clock.Clock
	// OpenWithin is how long after a product was created its stock exists at the latest, and how long after it became cheaper its
	// watchers are informed, whatever crashed in between.
	OpenWithin time.Duration
}

// invariants are those that a page checks beside those of its trail.
var invariants = []string{
	contract.InvariantStock, contract.InvariantSold, contract.InvariantHold, contract.InvariantArchive,
	contract.InvariantHistory, contract.InvariantProduct, contract.InvariantWatchers,
}

// stage is a part of the audit of one SKU. They follow each other in this order.
type stage int

const (
	atHead     stage = iota // the documents of the SKU themselves
	atArchive               // leaf after leaf of the finished holds
	atHistory               // segment after segment of the stock's events, and then those in its head
	atTimeline              // segment after segment of the product's events
	atEnd                   // on to the next SKU
)

// place is a place in the audit, the content of a cursor.
type place struct {
	SKU   string `json:"sku"`
	Stage stage  `json:"s"`
	// Number is the next leaf or segment of the stage.
	Number int64 `json:"n,omitempty"`
	// Levels is how far the history was followed.
	Levels domain.Levels `json:"l,omitzero"`
}

// next goes on to a later stage.
func (at *place) next(s stage) { at.Stage, at.Number = s, 0 }

// Page checks one part; an empty cursor starts.
func (a Audit) Page(ctx context.Context, asked audit.Request) (contract.AuditPage, error) {
	at := place{Stage: atEnd}
	begun, ready, err := a.Trail.Begin(ctx, asked.Cursor, &at, invariants...)
	if err != nil || !ready {
		return contract.AuditPage{Page: begun}, err
	}
	catalogue, err := a.Documents.Catalogue(ctx)
	if err != nil {
		return contract.AuditPage{}, err
	}
	memo := document.NewMemo(a.Documents.Store)
	p := &auditPage{
		AuditPage: contract.AuditPage{Page: begun}, documents: a.Documents, archive: memo, trail: a.Trail,
		leaves: maxLeaves, segments: maxSegments, buckets: maxBuckets, now: a.Clock.Now(), openWithin: a.OpenWithin,
	}
	p.trail.Store = memo
	for visited := 0; p.room() && visited < maxStocks; visited++ {
		if at.Stage == atEnd {
			next := catalogue.SKUs(at.SKU, maxTogether)
			if len(next) == 0 {
				return p.AuditPage, nil
			}
			at = place{SKU: next[0]}
			if err := p.readAhead(ctx, next); err != nil {
				return contract.AuditPage{}, fmt.Errorf("auditing: %w", err)
			}
		}
		if err := p.sku(ctx, &at); err != nil {
			return contract.AuditPage{}, fmt.Errorf("auditing %s: %w", at.SKU, err)
		}
	}
	p.Next = page.Encode(at)
	return p.AuditPage, nil
}

// auditPage is a page while it is filled.
type auditPage struct {
	contract.AuditPage
	documents *app.Documents
	archive   document.Store // remembers what the page has read
	trail     feed.Trail
	// leaves, segments and buckets are what may still be read.
	leaves, segments, buckets int
	// now is when the page was begun. A product without a stock is a finding once it is older than openWithin.
	now        time.Time
	openWithin time.Duration
	// ahead are the SKUs whose documents were read last, and the documents.
	ahead    []string
	stocks   map[string]*domain.Stock
	products map[string]*domain.Product
}

func (p *auditPage) room() bool {
	return p.leaves > 0 && p.segments > 0 && p.buckets > 0 && len(p.Holds) < maxHolds
}

// sku audits a SKU stage by stage, as far as the page has room.
func (p *auditPage) sku(ctx context.Context, at *place) error {
	if err := p.readAhead(ctx, []string{at.SKU}); err != nil {
		return err
	}
	product, stock := p.products[at.SKU], p.stocks[at.SKU]
	for at.Stage < atEnd && p.room() {
		var err error
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

// readAhead reads the documents of SKUs, unless the first one was read with others before.
func (p *auditPage) readAhead(ctx context.Context, skus []string) (err error) {
	if slices.Contains(p.ahead, skus[0]) {
		return nil
	}
	p.ahead = skus
	// A stock is written after its product, so it is read before it: a stock that was found has a product.
	if p.stocks, err = p.documents.Stocks.GetMany(ctx, skus...); err != nil {
		return err
	}
	p.products, err = p.documents.Products.GetMany(ctx, skus...)
	return err
}

// head checks the documents of a SKU.
func (p *auditPage) head(ctx context.Context, at *place, product *domain.Product, stock *domain.Stock) error {
	if product == nil && stock == nil { // listed, but never created
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
	if err := p.watchers(ctx, product); err != nil {
		return err
	}
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
		SKU: stock.SKU, OrderID: h.OrderID, State: string(h.State), Reason: string(h.Reason), BeforeStock: stock.MayPrecede(h),
		Quantity: h.Quantity, UnitPrice: h.UnitPrice, Currency: stock.Currency,
	}
}

// leavesFrom checks leaves of the archive, and the nodes on the way.
func (p *auditPage) leavesFrom(ctx context.Context, at *place, stock *domain.Stock) error {
	from, read := at.Number, 0
	walk := app.ArchiveOf(p.archive, stock)
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
		return failed == nil && read < maxLeaves
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

// doubles checks that no order of the holds is also in a leaf before the given one.
func (p *auditPage) doubles(ctx context.Context, stock *domain.Stock, holds []domain.Hold, before int64) error {
	walk := app.ArchiveOf(p.archive, stock)
	walk.Within = func(r domain.ArchiveRef, _ int) bool {
		return r.First < before && slices.ContainsFunc(holds, func(h domain.Hold) bool { return r.Summary.Covers(h.PlacedAt) })
	}
	err := document.Leaves(ctx, &stock.Archived.Tree, walk, func(r domain.ArchiveRef, leaf domain.Leaf) bool {
		domain.AuditDoubles(&p.Results, stock.SKU, holds, leaf, r)
		return true
	})
	if errors.Is(err, document.ErrArchive) {
		return nil // the audit of the archive reports it
	}
	return err
}

// history follows the corrections of a stock, which its events contain, from its initial to its present level.
func (p *auditPage) history(ctx context.Context, at *place, stock *domain.Stock) (err error) {
	key := "stock/" + at.SKU
	follow := func(events []event.Event) { p.follow(at, key, events) }
	at.Number, err = p.trail.Segments(ctx, &p.Results, key, key, &stock.Root, at.Number, &p.segments, follow)
	if err != nil || at.Number < stock.TimelineSegments {
		return err
	}
	follow(p.trail.Head(&p.Results, key, key, &stock.Root))
	at.Levels.Arrive(&p.Results, stock)
	at.next(atTimeline)
	return nil
}

func (p *auditPage) follow(at *place, key string, events []event.Event) {
	for _, e := range events {
		var fact contract.StockCorrected
		if e.Type != contract.EventStockCorrected || !p.Check(e.Decode(&fact) == nil, contract.InvariantHistory, key, "event %s cannot be read", e.ID) {
			continue
		}
		at.Levels.Follow(&p.Results, key, fact.Change, fact.OnHand, e.Time)
	}
}

// timeline checks the events of a product.
func (p *auditPage) timeline(ctx context.Context, at *place, product *domain.Product) (err error) {
	key := "product/" + at.SKU
	if at.Number == 0 {
		p.trail.Head(&p.Results, key, at.SKU, &product.Root)
	}
	at.Number, err = p.trail.Segments(ctx, &p.Results, key, at.SKU, &product.Root, at.Number, &p.segments, nil)
	if err == nil && at.Number >= product.TimelineSegments {
		at.next(atEnd)
	}
	return err
}

// Holds returns what orders hold, in the head or in the archive of each SKU.
func (a Audit) Holds(ctx context.Context, asked contract.HoldsRequest) (contract.Holds, error) {
	bySKU := make(map[string][]domain.Order)
	for _, o := range asked.Orders {
		for _, sku := range o.SKUs {
			bySKU[sku] = append(bySKU[sku], domain.Order{ID: o.OrderID, PlacedAt: o.PlacedAt})
		}
	}
	documents := *a.Documents
	documents.Store = document.NewMemo(documents.Store) // neighbouring orders lie in the same leaves
	found := contract.Holds{Holds: []contract.OrderHold{}}
	for part := range slices.Chunk(slices.Sorted(maps.Keys(bySKU)), maxTogether) {
		stocks, err := documents.Stocks.GetMany(ctx, part...)
		if err != nil {
			return contract.Holds{}, fmt.Errorf("reading stocks: %w", err)
		}
		for sku, stock := range stocks {
			for _, o := range bySKU[sku] {
				h, err := hold(ctx, &documents, stock, o)
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

// hold finds the hold of an order in a stock or its archive. It is nil if there is none, or if the archive is damaged, which
// its own audit reports.
func hold(ctx context.Context, documents *app.Documents, stock *domain.Stock, o domain.Order) (*domain.Hold, error) {
	if i := slices.IndexFunc(stock.Holds, func(h domain.Hold) bool { return h.OrderID == o.ID }); i >= 0 {
		return &stock.Holds[i], nil
	}
	h, err := documents.Archived(ctx, stock, o)
	if errors.Is(err, document.ErrArchive) {
		return nil, nil
	}
	return h, err
}
