package app

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"caravan/internal/clock"
	"caravan/internal/document"
	"caravan/services/products/domain"
)

// headID is the id of the directory's head document.
const headID = "head"

// directory is this process's picture of the catalogue: an index in memory of all directory segments, at most maxAge
// old. When the store does not answer it serves the old picture for a while rather than no catalogue at all.
type directory struct {
	documents *Documents
	clock     clock.Clock
	maxAge    time.Duration

	refreshing chan struct{} // holds one place, taken while reading the store

	mu      sync.RWMutex
	seen    snapshot
	until   time.Time // when seen must be refreshed
	changes int64     // made by this process
}

// staleIfError is how long a picture is served while the store does not answer.
const staleIfError = 30 * time.Second

// snapshot is one picture.
type snapshot struct {
	catalogue *domain.Catalogue
	entries   [][]domain.Entry // by segment
	revisions []int64          // of the segments that were read
	segmentOf map[string]int
	readAt    time.Time
}

func newDirectory(documents *Documents, clk clock.Clock, maxAge time.Duration) *directory {
	return &directory{documents: documents, clock: clk, maxAge: maxAge, seen: snapshot{catalogue: domain.NewCatalogue()}, refreshing: make(chan struct{}, 1)}
}

// current is a picture that is fresh enough.
func (d *directory) current(ctx context.Context) (snapshot, error) {
	if seen, fresh := d.fresh(); fresh {
		return seen, nil
	}
	if err := d.acquire(ctx); err != nil {
		return snapshot{}, err
	}
	defer d.release()
	if seen, fresh := d.fresh(); fresh { // another caller was faster
		return seen, nil
	}
	return d.refresh(ctx, false)
}

func (d *directory) fresh() (snapshot, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.seen, d.clock.Now().Before(d.until)
}

// expire makes the next reader refresh the picture, because this process has just changed it.
func (d *directory) expire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.until = time.Time{}
	d.changes++
}

// all reads every segment, whatever the head announces, and announces what it missed: a process may have died between
// the two writes.
func (d *directory) all(ctx context.Context) (snapshot, error) {
	if err := d.acquire(ctx); err != nil {
		return snapshot{}, err
	}
	defer d.release()
	return d.refresh(ctx, true)
}

// acquire waits for the right to read the store, for as long as the caller has time: a slow store must not hold a caller
// beyond its deadline.
func (d *directory) acquire(ctx context.Context) error {
	select {
	case d.refreshing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for the catalogue: %w", ctx.Err())
	}
}

func (d *directory) release() { <-d.refreshing }

// refresh reads the head and the segments that changed. Callers have acquired the directory.
func (d *directory) refresh(ctx context.Context, everything bool) (snapshot, error) {
	d.mu.RLock()
	seen, changes := d.seen, d.changes
	d.mu.RUnlock()
	started := d.clock.Now() // the age counts from before the read
	next, err := d.read(ctx, seen, everything)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.changes == changes { // else the next reader has to see the change
		d.until = started.Add(d.maxAge)
	}
	if err != nil {
		if !everything && !seen.readAt.IsZero() && started.Sub(seen.readAt) < staleIfError {
			return seen, nil // one caller in maxAge tries again
		}
		d.until = time.Time{}
		return snapshot{}, err
	}
	next.readAt = started
	d.seen = next
	return next, nil
}

func (d *directory) read(ctx context.Context, seen snapshot, everything bool) (snapshot, error) {
	head, err := d.documents.heads.Get(ctx, headID)
	if errors.Is(err, document.ErrNotFound) {
		head, err = new(domain.DirectoryHead), nil
	}
	if err != nil {
		return snapshot{}, fmt.Errorf("reading the directory: %w", err)
	}
	ids := seen.outdated(head.Revisions, everything)
	if len(ids) == 0 {
		return seen, nil
	}
	segments, err := d.documents.segments.GetMany(ctx, ids...)
	if err != nil {
		return snapshot{}, fmt.Errorf("reading the directory: %w", err)
	}
	next := seen.with(segments, max(len(head.Revisions), len(seen.revisions)))
	if everything {
		err = d.announceMissed(ctx, head, next)
	}
	return next, err
}

// outdated names the segments to read. When reading everything it looks one further than the head, for a segment whose
// writer died before it announced it.
func (s snapshot) outdated(announced []int64, everything bool) []string {
	var ids []string
	for n, revision := range announced {
		if everything || n >= len(s.revisions) || s.revisions[n] < revision {
			ids = append(ids, strconv.Itoa(n))
		}
	}
	if everything && len(announced) < domain.MaxSegments {
		ids = append(ids, strconv.Itoa(len(announced)))
	}
	return ids
}

// with is the picture after reading some segments.
func (s snapshot) with(segments map[string]*domain.DirectorySegment, count int) snapshot {
	for id := range segments {
		if n, _ := strconv.Atoi(id); n >= count {
			count = n + 1
		}
	}
	next := snapshot{entries: make([][]domain.Entry, count), revisions: make([]int64, count), segmentOf: make(map[string]int)}
	copy(next.entries, s.entries)
	copy(next.revisions, s.revisions)
	for id, segment := range segments {
		n, _ := strconv.Atoi(id) // the ids are ours
		if segment.Revision >= next.revisions[n] {
			next.entries[n], next.revisions[n] = segment.Entries, segment.Revision
		}
	}
	version := make(map[string]int64)
	for n, entries := range next.entries {
		for _, e := range entries {
			if e.Version >= version[e.SKU] {
				version[e.SKU], next.segmentOf[e.SKU] = e.Version, n
			}
		}
	}
	next.catalogue = domain.NewCatalogue(next.entries...)
	return next
}

func (d *directory) announceMissed(ctx context.Context, head *domain.DirectoryHead, next snapshot) error {
	for n, revision := range next.revisions {
		if n >= len(head.Revisions) || head.Revisions[n] < revision {
			if err := d.announce(ctx, n, revision); err != nil {
				return err
			}
		}
	}
	return nil
}

// announce tells the other replicas of a new revision of a segment.
func (d *directory) announce(ctx context.Context, segment int, revision int64) error {
	_, err := d.documents.heads.Update(ctx, headID, func(h *domain.DirectoryHead) error {
		return unlessChanged(h.Announce(segment, revision), nil)
	})
	if err != nil {
		return fmt.Errorf("announcing directory segment %d: %w", segment, err)
	}
	d.expire()
	return nil
}

// add lists a product that is about to be created, in the last segment with room. A product that is listed already
// stays where it is: two entries of one SKU would be found as one, but they would waste room.
func (d *directory) add(ctx context.Context, e domain.Entry) error {
	d.mu.RLock()
	n := max(len(d.seen.entries)-1, 0)
	_, listed := d.seen.segmentOf[e.SKU]
	d.mu.RUnlock()
	if listed {
		return nil
	}
	for ; n < domain.MaxSegments; n++ {
		segment, err := d.documents.segments.Update(ctx, strconv.Itoa(n), func(s *domain.DirectorySegment) error {
			return unlessChanged(s.Add(e))
		})
		if errors.Is(err, domain.ErrFull) {
			continue
		}
		if err != nil {
			return fmt.Errorf("listing %s: %w", e.SKU, err)
		}
		return d.announce(ctx, n, segment.Revision)
	}
	return domain.ErrFull
}

// show brings the entry of a stored product up to date.
func (d *directory) show(ctx context.Context, p *domain.Product) error {
	seen, err := d.current(ctx)
	if err != nil {
		return err
	}
	entry := domain.EntryOf(p)
	n, listed := seen.segmentOf[p.SKU]
	if !listed {
		return d.add(ctx, entry)
	}
	if shown, _ := seen.catalogue.Entry(p.SKU); shown.Equal(entry) {
		return nil
	}
	changed := false
	segment, err := d.documents.segments.Update(ctx, strconv.Itoa(n), func(s *domain.DirectorySegment) error {
		changed = s.Show(entry)
		return unlessChanged(changed, nil)
	})
	if err != nil {
		return fmt.Errorf("listing %s: %w", p.SKU, err)
	}
	if !changed {
		return nil
	}
	return d.announce(ctx, n, segment.Revision)
}
