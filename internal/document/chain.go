package document

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strconv"

	"caravan/internal/page"
)

// Chain is a list per owner that never grows into one large document. A head holds the newest entries, and immutable
// segments hold the older ones. A page costs the same with ten entries as with a million.
type Chain[E any] struct {
	heads *Repository[chainHead[E], *chainHead[E]]
	store Store
	size  int
	short int // the size of new segments; 0 for size
}

// chainHead holds the newest entries, oldest first.
type chainHead[E any] struct {
	Root
	Segments segmentCounts   `json:"segments,omitzero"`
	Entries  []chainEntry[E] `json:"entries"`
}

// segmentCounts are how many segments a chain has. They are numbered from 0: first the long ones, of the chain's size, then
// those of its short size. The stored form is a number without short ones, and otherwise [long, short]: a replica of an
// earlier version, which knows only the number, fails to read such a head. It would damage the list otherwise.
type segmentCounts struct{ long, short int }

// MarshalJSON writes the counts.
func (c segmentCounts) MarshalJSON() ([]byte, error) {
	if c.short == 0 {
		return json.Marshal(c.long)
	}
	return json.Marshal([]int{c.long, c.short})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (c *segmentCounts) UnmarshalJSON(data []byte) error {
	*c = segmentCounts{}
	if len(data) == 0 || data[0] != '[' {
		return json.Unmarshal(data, &c.long)
	}
	counts := []*int{&c.long, &c.short}
	return json.Unmarshal(data, &counts)
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

// Shorten makes new segments hold short entries each, and so the head fewer than twice as many. Segments that are stored
// stay as they are. It returns the chain. It is for a list that is written often: each write contains the whole head.
func (c *Chain[E]) Shorten(short int) *Chain[E] {
	c.short = short
	return c
}

// archived is how many entries are in segments.
func (c *Chain[E]) archived(h *chainHead[E]) int {
	return h.Segments.long*c.size + h.Segments.short*c.short
}

// segmentOf is the segment that has the entry at an index below archived: its number, the index of its first entry, and
// its size.
func (c *Chain[E]) segmentOf(h *chainHead[E], index int) (number, first, size int) {
	long := h.Segments.long * c.size
	if index < long {
		number = index / c.size
		return number, number * c.size, c.size
	}
	number = (index - long) / c.short
	return h.Segments.long + number, long + number*c.short, c.short
}

// archive moves the oldest entries of a long head to a segment.
func (c *Chain[E]) archive(owner string, h *chainHead[E]) {
	size, count := c.size, &h.Segments.long
	if c.short > 0 {
		size, count = c.short, &h.Segments.short
	}
	if len(h.Entries) < 2*size {
		return
	}
	h.Archive(c.segmentKey(owner, h.Segments.long+h.Segments.short), h.Entries[:size])
	*count++
	h.Entries = append([]chainEntry[E](nil), h.Entries[size:]...)
}

// Shard spreads keys over a number of lists: it returns the owner of the list that a key is in.
func Shard(key string, lists uint32) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key)) // a hash never fails
	return strconv.FormatUint(uint64(h.Sum32()%lists), 10)
}

// errArchived is returned when the entry may have been added by an earlier attempt and moved to a segment since.
var errArchived = errors.New("the entry may be archived")

// Prepend puts an entry in front of an owner's list. It does not add an entryID again that is in the head, or that an
// earlier attempt of the same call has added.
func (c *Chain[E]) Prepend(ctx context.Context, owner, entryID string, value E) error {
	from := -1 // the length of the list at the first attempt
	for {
		_, err := c.heads.Update(ctx, owner, func(h *chainHead[E]) error {
			if slices.ContainsFunc(h.Entries, func(e chainEntry[E]) bool { return e.ID == entryID }) {
				return ErrUnchanged
			}
			if from < 0 {
				from = c.archived(h) + len(h.Entries)
			}
			if c.archived(h) > from {
				return errArchived
			}
			h.Entries = append(h.Entries, chainEntry[E]{ID: entryID, Value: value})
			c.archive(owner, h)
			return nil
		})
		added := err == nil
		if errors.Is(err, errArchived) {
			added, from, err = c.addedSince(ctx, owner, entryID, from)
		}
		if err != nil {
			return fmt.Errorf("prepending to list: %w", err)
		}
		if added {
			return nil
		}
	}
}

// addedSince reports whether an entry is in the list at the index from or later, and how long the list is.
func (c *Chain[E]) addedSince(ctx context.Context, owner, entryID string, from int) (bool, int, error) {
	head, err := c.heads.Get(ctx, owner)
	if err != nil {
		return false, from, fmt.Errorf("reading list: %w", err)
	}
	archived := c.archived(head)
	entries := slices.Clone(head.Entries)
	for at := from; at < archived; {
		number, first, size := c.segmentOf(head, at)
		segment, err := c.segment(ctx, owner, head, number, size)
		if err != nil {
			return false, from, err
		}
		entries, at = append(entries, segment...), first+size
	}
	found := slices.ContainsFunc(entries, func(e chainEntry[E]) bool { return e.ID == entryID })
	return found, archived + len(head.Entries), nil
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
	archived := c.archived(head)
	at.Before = min(max(at.Before, 0), archived+len(head.Entries))
	var values []E
	for at.Before > 0 && len(values) < limit {
		entries, first := head.Entries, archived
		if at.Before <= archived {
			number, size := 0, 0
			number, first, size = c.segmentOf(head, at.Before-1)
			if entries, err = c.segment(ctx, owner, head, number, size); err != nil {
				return nil, "", err
			}
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

func (c *Chain[E]) segment(ctx context.Context, owner string, head *chainHead[E], n, size int) ([]chainEntry[E], error) {
	var entries []chainEntry[E]
	found, err := ReadArchive(ctx, c.store, &head.Root, c.segmentKey(owner, n), &entries)
	if err != nil {
		return nil, err
	}
	if !found || len(entries) != size {
		return nil, fmt.Errorf("list segment %s is missing or incomplete", c.segmentKey(owner, n))
	}
	return entries, nil
}

func (c *Chain[E]) segmentKey(owner string, n int) string {
	return c.heads.Key(owner) + "/" + strconv.Itoa(n)
}
