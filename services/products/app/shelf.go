package app

import (
	"context"
	"fmt"
	"sync"
	"time"

	"caravan/internal/clock"
	"caravan/services/products/domain"
)

// shelfSize bounds the products that are kept in memory.
const shelfSize = 20_000

// shelf keeps the products and stock levels that are being read, each at most maxAge old; what this process writes
// shows at once. Readers of one product wait for the same read of the store, and readers of a page share one.
type shelf struct {
	documents *Documents
	clock     clock.Clock
	maxAge    time.Duration

	mu      sync.Mutex
	cards   map[string]*card
	loading map[string]*loading
}

// card is one product on the shelf. Its fields are guarded by the shelf's mutex; what they point to is immutable.
type card struct {
	product  *domain.Product // nil: there is none
	level    domain.Level
	revision int64 // of the stock document
	readAt   time.Time
	failedAt time.Time // of the last read, if that failed
}

// Item is a product with the stock it has.
type Item struct {
	Product *domain.Product
	Level   domain.Level
}

// loading is a read of the store under way.
type loading struct {
	done chan struct{}
	err  error
}

func newShelf(documents *Documents, clk clock.Clock, maxAge time.Duration) *shelf {
	return &shelf{documents: documents, clock: clk, maxAge: maxAge, cards: make(map[string]*card), loading: make(map[string]*loading)}
}

// items gives the products of the SKUs; one that does not exist is absent.
func (s *shelf) items(ctx context.Context, skus ...string) (map[string]Item, error) {
	mine, others := s.claim(skus)
	if mine != nil {
		s.load(ctx, mine.skus, mine.loading)
		if mine.err != nil {
			others = append(others, mine.loading)
		}
	}
	for _, l := range others {
		select {
		case <-l.done:
		case <-ctx.Done():
			return nil, fmt.Errorf("reading products: %w", ctx.Err())
		}
	}
	return s.pick(skus, others)
}

// share is what one reader loads for everybody.
type share struct {
	*loading
	skus []string
}

// claim divides the SKUs that are not fresh into those this reader loads and the loads of others to wait for.
func (s *shelf) claim(skus []string) (*share, []*loading) {
	now := s.clock.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	var mine *share
	var others []*loading
	for _, sku := range skus {
		if c, ok := s.cards[sku]; ok && c.fresh(now, s.maxAge) {
			continue
		}
		if l, ok := s.loading[sku]; ok {
			if mine == nil || l != mine.loading {
				others = append(others, l)
			}
			continue
		}
		if mine == nil {
			mine = &share{loading: &loading{done: make(chan struct{})}}
		}
		mine.skus = append(mine.skus, sku)
		s.loading[sku] = mine.loading
	}
	return mine, others
}

// load reads products and levels. It ends with the first reader's deadline but not with its leaving: others wait too.
func (s *shelf) load(ctx context.Context, skus []string, l *loading) {
	ctx = context.WithoutCancel(ctx)
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	readAt := s.clock.Now()
	products, err := s.documents.products.GetMany(ctx, skus...)
	var levels map[string]*level
	if err == nil {
		levels, err = s.documents.levels.GetMany(ctx, skus...)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sku := range skus {
		delete(s.loading, sku)
		if err != nil {
			if c, ok := s.cards[sku]; ok {
				c.failedAt = readAt
			}
			continue
		}
		c := s.card(sku)
		c.readAt, c.failedAt = readAt, time.Time{}
		c.putProduct(products[sku])
		if stock, ok := levels[sku]; ok {
			c.putLevel(domain.Level{OnHand: stock.OnHand, Reserved: stock.Reserved}, stock.Revision)
		}
	}
	l.err = err
	close(l.done)
}

// pick collects the answers. A load that failed is forgiven where there is a card that is not too old.
func (s *shelf) pick(skus []string, waited []*loading) (map[string]Item, error) {
	now := s.clock.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	items := make(map[string]Item, len(skus))
	for _, sku := range skus {
		c, ok := s.cards[sku]
		if !ok || now.Sub(c.readAt) >= staleIfError {
			for _, l := range waited {
				if l.err != nil {
					return nil, fmt.Errorf("reading product %s: %w", sku, l.err)
				}
			}
		}
		if ok && c.product != nil {
			items[sku] = Item{Product: c.product, Level: c.level}
		}
	}
	return items, nil
}

// card finds or makes the card of a SKU. Callers hold s.mu.
func (s *shelf) card(sku string) *card {
	if c, ok := s.cards[sku]; ok {
		return c
	}
	for other := range s.cards { // any will do: what is in use comes back with its next read
		if len(s.cards) < shelfSize {
			break
		}
		delete(s.cards, other)
	}
	c := &card{}
	s.cards[sku] = c
	return c
}

// fresh reports whether the card need not be read again: it is young, or usable and the store has just failed.
func (c *card) fresh(now time.Time, maxAge time.Duration) bool {
	return now.Sub(c.readAt) < maxAge || now.Sub(c.failedAt) < maxAge && now.Sub(c.readAt) < staleIfError
}

func (c *card) putProduct(p *domain.Product) {
	if p != nil && (c.product == nil || p.Revision >= c.product.Revision) {
		c.product = p
	}
}

func (c *card) putLevel(l domain.Level, revision int64) {
	if revision >= c.revision {
		c.level, c.revision = l, revision
	}
}

// stored shows a product that this process has written.
func (s *shelf) stored(p *domain.Product) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.card(p.SKU).putProduct(p)
}

// counted shows the level of a stock document that this process has written.
func (s *shelf) counted(stock *domain.Stock) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.cards[stock.SKU]; ok {
		c.putLevel(stock.Level(), stock.Revision)
	}
}
