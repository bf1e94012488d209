package domain

import (
	"hash/fnv"
	"slices"
	"time"

	"caravan/internal/document"
	"caravan/internal/money"
)

// Bounds of watches.
const (
	// WatchBuckets is how many documents have the watchers of one product. A user is in the bucket of a hash of the user's id.
	WatchBuckets = 64
	// MaxWatchers bounds one bucket, so that a product has at most about thirty thousand watchers.
	MaxWatchers = 500
)

// WatchBucket is the bucket in which a user is, from 0.
func WatchBucket(userID string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(userID)) // a hash never fails
	return int(h.Sum32() % WatchBuckets)
}

// Watchers are the users of one bucket who watch a product. The document is watchers/<sku>/<bucket>. It knows nothing of users but
// their ids. A user watches the product only if the user's Watchlist has it, too: a crash between the two documents leaves nothing
// that counts.
type Watchers struct {
	document.Root
	Users []Watcher `json:"users"`
}

// Watcher is one of them.
type Watcher struct {
	UserID string `json:"user"`
	// Price is the last price that the user was informed of, or the one when the user began to watch, in minor units. The user hears
	// of a lower one only.
	Price int64 `json:"price"`
}

// Add adds a user who has seen a price. One who watches already keeps the known price: document.ErrUnchanged. Error:
// [ErrTooManyWatchers].
func (w *Watchers) Add(userID string, price int64) error {
	switch {
	case w.Of(userID) != nil:
		return document.ErrUnchanged
	case len(w.Users) >= MaxWatchers:
		return ErrTooManyWatchers
	}
	w.Users = append(w.Users, Watcher{UserID: userID, Price: price})
	return nil
}

// Remove removes a user, or returns document.ErrUnchanged.
func (w *Watchers) Remove(userID string) error {
	before := len(w.Users)
	w.Users = slices.DeleteFunc(w.Users, func(o Watcher) bool { return o.UserID == userID })
	if len(w.Users) == before {
		return document.ErrUnchanged
	}
	return nil
}

// Of returns the entry of a user, or nil.
func (w *Watchers) Of(userID string) *Watcher {
	i := slices.IndexFunc(w.Users, func(o Watcher) bool { return o.UserID == userID })
	if i < 0 {
		return nil
	}
	return &w.Users[i]
}

// Above are the users who know a higher price only.
func (w *Watchers) Above(price int64) []string {
	var users []string
	for _, o := range w.Users {
		if o.Price > price {
			users = append(users, o.UserID)
		}
	}
	return users
}

// Inform records that those of the users who know a higher price only are informed of this one, and returns them.
func (w *Watchers) Inform(userIDs map[string]bool, price int64) []string {
	var informed []string
	for i := range w.Users {
		if o := &w.Users[i]; o.Price > price && userIDs[o.UserID] {
			o.Price = price
			informed = append(informed, o.UserID)
		}
	}
	return informed
}

// Watchlist has the products that one user watches. The document is watchlist/<user>.
type Watchlist struct {
	document.Root
	Watches []Watch `json:"watches"` // oldest first
}

// Watch is one of them.
type Watch struct {
	SKU   string    `json:"sku"`
	Since time.Time `json:"since"`
}

// Add adds a product, or returns document.ErrUnchanged. Error: [ErrTooManyWatches] if there are most already.
func (l *Watchlist) Add(sku string, most int, now time.Time) error {
	switch {
	case l.Has(sku):
		return document.ErrUnchanged
	case len(l.Watches) >= most:
		return ErrTooManyWatches
	}
	l.Watches = append(l.Watches, Watch{SKU: sku, Since: now.UTC().Truncate(time.Millisecond)})
	return nil
}

// Remove removes a product, or returns document.ErrUnchanged.
func (l *Watchlist) Remove(sku string) error {
	before := len(l.Watches)
	l.Watches = slices.DeleteFunc(l.Watches, func(w Watch) bool { return w.SKU == sku })
	if len(l.Watches) == before {
		return document.ErrUnchanged
	}
	return nil
}

// Has reports whether the list has a product.
func (l *Watchlist) Has(sku string) bool {
	return slices.ContainsFunc(l.Watches, func(w Watch) bool { return w.SKU == sku })
}

// WatchedIn reports whether a bucket of the product may have watchers.
func (p *Product) WatchedIn(bucket int) bool { return p.Watched&(1<<bucket) != 0 }

// Watch records that a bucket is about to get watchers, or returns document.ErrUnchanged. Error: [ErrNoProduct].
func (p *Product) Watch(bucket int, now time.Time) error {
	switch {
	case !p.Exists():
		return ErrNoProduct
	case p.WatchedIn(bucket):
		return document.ErrUnchanged
	case p.Watched == 0:
		p.Known = p.CurrentPrice(now)
	}
	p.Watched |= 1 << bucket
	return nil
}

// Dropped returns the price that watchers know and the present one, if that is lower and the product can be bought.
func (p *Product) Dropped(now time.Time) (old, present money.Money, dropped bool) {
	present = p.CurrentPrice(now)
	return p.Known, present, p.Watched != 0 && p.Status == Active && present.Amount < p.Known.Amount
}

// Informed records that watchers are informed of a price. It returns document.ErrUnchanged if the price is another one by now.
func (p *Product) Informed(price money.Money, now time.Time) error {
	if p.CurrentPrice(now) != price || p.Known == price {
		return document.ErrUnchanged
	}
	p.Known = price
	return nil
}

// Risen records that the price is higher than the one that watchers know, so that its next fall counts. It returns
// document.ErrUnchanged if it is not.
func (p *Product) Risen(now time.Time) error {
	if present := p.CurrentPrice(now); p.Watched != 0 && present.Amount > p.Known.Amount {
		p.Known = present
		return nil
	}
	return document.ErrUnchanged
}
