package document

import (
	"context"
	"fmt"
	"hash/fnv"
	"math"
	"strconv"

	"caravan/internal/page"
)

// Chain is a list per owner that never grows into one large document. A head holds the newest entries, and immutable
// segments hold the older ones. A page costs the same with ten entries as with a million.
type Chain[E any] struct {
	heads *Repository[chainHead[E], *chainHead[E]]
	store Store
	size  int
}

// chainHead holds the newest entries, oldest first. Segment k holds the entries with index k*size to (k+1)*size-1.
type chainHead[E any] struct {
	Root
	Segments int             `json:"segments,omitempty"`
	Entries  []chainEntry[E] `json:"entries"`
}

type chainEntry[E any] struct {
	ID    string `json:"id"`
	Value E      `json:"value"`
}

// NewChain makes a Chain whose documents start with prefix and whose segments hold size entries each. It takes clock
// and ids from opts. It does not use the other fields, because a chain emits no events.
func NewChain[E any](store Store, prefix string, size int, opts Options) *Chain[E] {
	heads := NewRepository[chainHead[E]](store, Options{Prefix: prefix, Clock: opts.Clock, IDs: opts.IDs, Timeout: opts.Timeout})
	return &Chain[E]{heads: heads, store: store, size: size}
}

// Shard spreads keys over a number of lists: it returns the owner of the list that a key is in.
func Shard(key string, lists uint32) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key)) // a hash never fails
	return strconv.FormatUint(uint64(h.Sum32()%lists), 10)
}

// Prepend puts an entry in front of an owner's list. It does not add an entryID again that is among the newest entries
// (at least size of them).
func (c *Chain[E]) Prepend(ctx context.Context, owner, entryID string, value E) error {
	_, err := c.heads.Update(ctx, owner, func(h *chainHead[E]) error {
		for _, e := range h.Entries {
			if e.ID == entryID {
				return ErrUnchanged
			}
		}
		h.Entries = append(h.Entries, chainEntry[E]{ID: entryID, Value: value})
		if len(h.Entries) >= 2*c.size {
			h.Archive(c.segmentKey(owner, h.Segments), h.Entries[:c.size])
			h.Segments++
			h.Entries = append([]chainEntry[E](nil), h.Entries[c.size:]...)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("prepending to list: %w", err)
	}
	return nil
}

// position is the content of a cursor: entries below Before are still to come. It counts from the oldest entry, so it
// stays valid while new entries arrive.
type position struct {
	Before int `json:"b"`
}

// CursorBefore returns the cursor of a page that begins the given number of entries before the end of another page;
// next is the next cursor of that page. The result stays valid while entries arrive. A count from the newest entry
// would not.
func CursorBefore(next string, entries int) (string, error) {
	at := position{} // of the end of the list
	if err := page.Decode(next, &at); err != nil {
		return "", err
	}
	at.Before += entries
	if at.Before == 0 {
		return "", nil
	}
	return page.Encode(at), nil
}

// Page returns up to limit entries of an owner, newest first, and the cursor of the next page or "". It begins at
// cursor; an empty cursor is the newest entry.
func (c *Chain[E]) Page(ctx context.Context, owner, cursor string, limit int) ([]E, string, error) {
	at := position{Before: math.MaxInt}
	if err := page.Decode(cursor, &at); err != nil {
		return nil, "", err
	}
	heads, err := c.heads.GetMany(ctx, owner)
	if err != nil {
		return nil, "", fmt.Errorf("reading list: %w", err)
	}
	head, ok := heads[owner]
	if !ok {
		return nil, "", nil
	}
	archived := head.Segments * c.size
	at.Before = min(max(at.Before, 0), archived+len(head.Entries))
	var values []E
	for at.Before > 0 && len(values) < limit {
		entries, first := head.Entries, archived
		if at.Before <= archived {
			segment := (at.Before - 1) / c.size
			if entries, err = c.segment(ctx, owner, head, segment); err != nil {
				return nil, "", err
			}
			first = segment * c.size
		}
		for at.Before > first && len(values) < limit {
			at.Before--
			values = append(values, entries[at.Before-first].Value)
		}
	}
	if at.Before == 0 {
		return values, "", nil
	}
	return values, page.Encode(at), nil
}

func (c *Chain[E]) segment(ctx context.Context, owner string, head *chainHead[E], n int) ([]chainEntry[E], error) {
	var entries []chainEntry[E]
	found, err := ReadArchive(ctx, c.store, &head.Root, c.segmentKey(owner, n), &entries)
	if err != nil {
		return nil, err
	}
	if !found || len(entries) != c.size {
		return nil, fmt.Errorf("list segment %s is missing or incomplete", c.segmentKey(owner, n))
	}
	return entries, nil
}

func (c *Chain[E]) segmentKey(owner string, n int) string {
	return c.heads.Key(owner) + "/" + strconv.Itoa(n)
}
