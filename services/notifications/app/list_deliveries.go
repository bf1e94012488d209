package app

import (
	"context"
	"fmt"
	"time"

	"caravan/internal/clock"
	"caravan/internal/feed"
	"caravan/internal/page"
	"caravan/services/notifications/domain"
)

// ListDeliveries lists the deliveries to all users, for staff.
type ListDeliveries struct {
	// Threads is nil if there is no channel but the inbox; then there are no deliveries.
	Threads *Threads
	Reader  *feed.Reader
	Sweep   *feed.Sweep
	Clock   clock.Clock
}

// DeliveryFilter selects the deliveries that match all of its members. An empty member matches any.
type DeliveryFilter struct {
	Status  domain.DeliveryState
	Channel domain.Channel
	Kind    string
	UserID  string
	// Since is the time from which on they were added.
	Since time.Time
}

func (f DeliveryFilter) matches(l ListedDelivery) bool {
	return (f.Status == "" || f.Status == l.State) && (f.Channel == "" || f.Channel == l.Channel) &&
		(f.Kind == "" || f.Kind == l.Kind) && (f.UserID == "" || f.UserID == l.UserID) && !l.CreatedAt.Before(f.Since)
}

// ListedDelivery is a delivery with its id and what it has in common with the others of its thread.
type ListedDelivery struct {
	domain.Delivery
	ID      string
	UserID  string
	Channel domain.Channel
}

// The limits of one request. A feed may have few matching deliveries for a long time.
const (
	// listThreads bounds the keys that are looked at, and listChunk is about how many are read at once.
	listThreads = 2000
	listChunk   = 100
	listTime    = 5 * time.Second
)

// deliveryPosition is where a list goes on: behind so many keys from a place in the feed, and so many deliveries of the next
// thread. It is the content of a cursor.
type deliveryPosition struct {
	Feed   string `json:"f"`
	Keys   int    `json:"k,omitempty"`
	Places int    `json:"p,omitempty"`
}

// Do returns the deliveries that match a filter, oldest first, by reading the service's feed from a cursor, and the cursor of the
// next page or "". A page has up to limit deliveries. It may have fewer although more follow. One that has not ended may be on a
// later page again, as the sweep enters it again and again.
func (u ListDeliveries) Do(ctx context.Context, f DeliveryFilter, cursor string, limit int) ([]ListedDelivery, string, error) {
	if u.Threads == nil {
		return nil, "", nil
	}
	at, err := u.start(ctx, f, cursor)
	if err != nil {
		return nil, "", err
	}
	l := deliveryList{ListDeliveries: u, filter: f, limit: limit, seen: make(map[string]bool)}
	began := u.Clock.Now()
	for scanned := 0; scanned < listThreads && len(l.found) < limit && u.Clock.Now().Sub(began) < listTime; {
		from, err := feed.ParseCursor(at.Feed)
		if err != nil {
			return nil, "", err
		}
		keys, err := u.Reader.Keys(ctx, from, listChunk, -u.Reader.Ahead())
		if err != nil {
			return nil, "", fmt.Errorf("reading the feed of deliveries: %w", err)
		}
		next, full, err := l.take(ctx, keys, at)
		if err != nil {
			return nil, "", err
		}
		scanned += next.Keys - at.Keys
		if full {
			return l.found, page.Encode(next), nil
		}
		if keys.End {
			return l.found, "", nil
		}
		at = deliveryPosition{Feed: keys.Next.String()}
	}
	return l.found, page.Encode(at), nil
}

// start is where a list begins. All deliveries that have not ended are behind the cursor of the sweep.
func (u ListDeliveries) start(ctx context.Context, f DeliveryFilter, cursor string) (at deliveryPosition, err error) {
	if cursor != "" {
		err = page.Decode(cursor, &at)
		at.Keys, at.Places = max(at.Keys, 0), max(at.Places, 0)
		return at, err
	}
	var from feed.Cursor
	if f.Status != "" && !f.Status.Ended() {
		if from, err = u.Sweep.Behind(ctx); err != nil {
			return at, err
		}
	}
	if !f.Since.IsZero() {
		since, err := u.Reader.At(ctx, f.Since)
		if err != nil {
			return at, fmt.Errorf("reading the feed of deliveries: %w", err)
		}
		if from.Before(since) {
			from = since
		}
	}
	if from != (feed.Cursor{}) {
		at.Feed = from.String()
	}
	return at, nil
}

// deliveryList collects one page.
type deliveryList struct {
	ListDeliveries
	filter DeliveryFilter
	limit  int
	seen   map[string]bool
	found  []ListedDelivery
}

// take looks at the threads under keys of the feed from a position on. It returns where it stopped, and whether the page is full.
func (l *deliveryList) take(ctx context.Context, keys feed.Keys, at deliveryPosition) (next deliveryPosition, full bool, err error) {
	var flat []string
	for _, b := range keys.Buckets {
		flat = append(flat, b.Keys...)
	}
	at.Keys = min(at.Keys, len(flat))
	threads, err := l.Threads.GetMany(ctx, ThreadIDs(flat[at.Keys:])...)
	if err != nil {
		return at, false, fmt.Errorf("reading deliveries: %w", err)
	}
	byKey := make(map[string]string, len(threads))
	for threadID := range threads {
		byKey[ThreadPrefix+threadID] = threadID
	}
	for ; at.Keys < len(flat); at.Keys, at.Places = at.Keys+1, 0 {
		threadID, known := byKey[flat[at.Keys]]
		if !known || l.seen[threadID] {
			continue
		}
		t := threads[threadID]
		for ; at.Places < len(t.Deliveries); at.Places++ {
			if len(l.found) == l.limit {
				return at, true, nil
			}
			item := ListedDelivery{t.Deliveries[at.Places], domain.DeliveryID(threadID, at.Places), t.UserID, t.Channel}
			if l.filter.matches(item) {
				l.found = append(l.found, item)
			}
		}
		l.seen[threadID] = true
	}
	return at, false, nil
}
