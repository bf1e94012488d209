package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"caravan/internal/clock"
	"caravan/internal/document"
	"caravan/services/products/domain"
)

// headID is the id of the head document.
const headID = "head"

// catalogueIndex lists and searches all products in memory. What it knows is at most maxAge old and contains all changes by
// this process. Only segments that changed are read: each writer announces its change in the head document. While the
// store fails, readers get what is in memory, for at most staleIfError.
type catalogueIndex struct {
	documents *Documents
	clock     clock.Clock
	maxAge    time.Duration
	reads     singleflight.Group

	mu      sync.RWMutex
	known   knownCatalogue
	changes int64 // by this process
}

// knownCatalogue is the catalogue as it was read. It is immutable but for its age.
type knownCatalogue struct {
	*domain.Catalogue
	segments map[string]*domain.CatalogueSegment
	changes  int64 // how many changes by this process it contains
	age
}

func newCatalogueIndex(documents *Documents, clk clock.Clock, maxAge time.Duration) *catalogueIndex {
	return &catalogueIndex{documents: documents, clock: clk, maxAge: maxAge, known: knownCatalogue{
		Catalogue: domain.NewCatalogue(nil), segments: make(map[string]*domain.CatalogueSegment),
	}}
}

// current returns a catalogue that is fresh enough.
func (x *catalogueIndex) current(ctx context.Context) (knownCatalogue, error) {
	for {
		known, changes := x.get()
		if known.changes == changes && known.fresh(x.clock.Now(), x.maxAge) {
			return known, nil
		}
		read := x.reads.DoChan("", func() (any, error) {
			// Other readers wait for this too, so it does not end when the first one leaves.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
			defer cancel()
			return x.refresh(ctx)
		})
		select {
		case result := <-read:
			if result.Err != nil {
				return knownCatalogue{}, result.Err
			}
			if known, _ = result.Val.(knownCatalogue); known.changes >= changes || !known.failedAt.IsZero() {
				return known, nil
			}
			// The read began before a change by this process that the caller has to see.
		case <-ctx.Done():
			return knownCatalogue{}, fmt.Errorf("waiting for the catalogue: %w", ctx.Err())
		}
	}
}

func (x *catalogueIndex) get() (known knownCatalogue, changes int64) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.known, x.changes
}

// refresh reads what changed.
func (x *catalogueIndex) refresh(ctx context.Context) (knownCatalogue, error) {
	known, changes := x.get()
	started := x.clock.Now() // the age counts from before the read
	if known.changes == changes && known.fresh(started, x.maxAge) {
		return known, nil // another read has just ended
	}
	segments, err := x.documents.readChanged(ctx, known.segments)
	if err != nil {
		known.failedAt = started
	} else {
		known.changes, known.age = changes, age{readAt: started}
	}
	if len(segments) > 0 {
		all := maps.Clone(known.segments)
		maps.Copy(all, segments)
		known.segments, known.Catalogue = all, domain.NewCatalogue(all)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.known = known
	if known.usable(started) {
		return known, nil
	}
	return knownCatalogue{}, err
}

// announce reports a new revision of a segment to the other replicas.
func (x *catalogueIndex) announce(ctx context.Context, id string, revision int64) error {
	segment, err := strconv.Atoi(id)
	if err != nil {
		return fmt.Errorf("announcing catalogue segment %q: %w", id, err)
	}
	_, err = x.documents.heads.Update(ctx, headID, func(h *domain.CatalogueHead) error {
		return unlessChanged(h.Announce(segment, revision), nil)
	})
	if err != nil {
		return fmt.Errorf("announcing catalogue segment %s: %w", id, err)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.changes++
	return nil
}

// add lists a product that is about to be created, in the last segment with room. A product that is listed already
// stays where it is: a second entry would do no harm, but it would use up room.
func (x *catalogueIndex) add(ctx context.Context, e domain.Entry) error {
	known, _ := x.get()
	if _, _, listed := known.Entry(e.SKU); listed {
		return nil
	}
	for n := max(len(known.segments)-1, 0); n < domain.MaxSegments; n++ {
		id := strconv.Itoa(n)
		segment, err := x.documents.segments.Update(ctx, id, func(s *domain.CatalogueSegment) error {
			return unlessChanged(s.Add(e))
		})
		if errors.Is(err, domain.ErrFull) {
			continue
		}
		if err != nil {
			return fmt.Errorf("listing %s: %w", e.SKU, err)
		}
		return x.announce(ctx, id, segment.Revision)
	}
	return domain.ErrFull
}

// show updates the entry of a stored product.
func (x *catalogueIndex) show(ctx context.Context, p *domain.Product) error {
	known, err := x.current(ctx)
	if err != nil {
		return err
	}
	entry := domain.EntryOf(p)
	shown, id, listed := known.Entry(p.SKU)
	switch {
	case !listed:
		return x.add(ctx, entry)
	case shown.Equal(entry):
		return nil
	}
	changed := false
	segment, err := x.documents.segments.Update(ctx, id, func(s *domain.CatalogueSegment) error {
		changed = s.Show(entry)
		return unlessChanged(changed, nil)
	})
	if err != nil {
		return fmt.Errorf("listing %s: %w", p.SKU, err)
	}
	if !changed {
		return nil
	}
	return x.announce(ctx, id, segment.Revision)
}

// announceMissed announces the changes of processes that stopped before they announced them.
func (x *catalogueIndex) announceMissed(ctx context.Context) error {
	announced, err := x.documents.announced(ctx)
	if err != nil {
		return err
	}
	segments, err := x.documents.readAll(ctx)
	if err != nil {
		return err
	}
	for id, segment := range segments {
		if announced[id] < segment.Revision {
			if err := x.announce(ctx, id, segment.Revision); err != nil {
				return err
			}
		}
	}
	return nil
}

// announced returns the announced revision of each segment.
func (d *Documents) announced(ctx context.Context) (map[string]int64, error) {
	head, err := d.heads.Get(ctx, headID)
	if errors.Is(err, document.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the catalogue index: %w", err)
	}
	announced := make(map[string]int64, len(head.Revisions))
	for n, revision := range head.Revisions {
		announced[strconv.Itoa(n)] = revision
	}
	return announced, nil
}

// readChanged reads the segments of which a newer revision than the known one is announced.
func (d *Documents) readChanged(ctx context.Context, known map[string]*domain.CatalogueSegment) (map[string]*domain.CatalogueSegment, error) {
	announced, err := d.announced(ctx)
	maps.DeleteFunc(announced, func(id string, revision int64) bool {
		return revision == 0 || known[id] != nil && known[id].Revision >= revision
	})
	if err != nil || len(announced) == 0 {
		return nil, err
	}
	return d.readSegments(ctx, slices.Sorted(maps.Keys(announced)))
}

// readAll reads every segment, whatever is announced, and one more: its writer may have stopped before it announced it.
func (d *Documents) readAll(ctx context.Context) (map[string]*domain.CatalogueSegment, error) {
	announced, err := d.announced(ctx)
	if err != nil {
		return nil, err
	}
	ids := slices.Sorted(maps.Keys(announced))
	if len(ids) < domain.MaxSegments {
		ids = append(ids, strconv.Itoa(len(ids)))
	}
	return d.readSegments(ctx, ids)
}

func (d *Documents) readSegments(ctx context.Context, ids []string) (map[string]*domain.CatalogueSegment, error) {
	segments, err := d.segments.GetMany(ctx, ids...)
	if err != nil {
		return nil, fmt.Errorf("reading the catalogue index: %w", err)
	}
	return segments, nil
}

// Catalogue reads the whole catalogue from the store.
func (d *Documents) Catalogue(ctx context.Context) (*domain.Catalogue, error) {
	segments, err := d.readAll(ctx)
	if err != nil {
		return nil, err
	}
	return domain.NewCatalogue(segments), nil
}
