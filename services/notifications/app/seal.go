package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"caravan/internal/document"
	"caravan/services/notifications/domain"
)

// seal moves the oldest entries of a long head to the archive. Their guards come first: an entry must not leave the head
// without one, or its event could be taken again. What a crash leaves half done the next call completes,
// with the same entries, as heads only grow at the end. While this process is sealing the inbox it does nothing.
func (n *Notifications) seal(ctx context.Context, userID string) error {
	if !n.startSealing(userID) {
		return nil
	}
	defer n.endSealing(userID)
	inbox, err := n.inboxes.Get(ctx, userID)
	if err != nil {
		return fmt.Errorf("sealing inbox: %w", err)
	}
	for inbox.Sealable() != nil {
		segment := inbox.Segments
		if err := n.record(ctx, userID, inbox.Sealable(), segment); err != nil {
			return fmt.Errorf("sealing inbox: %w", err)
		}
		inbox, err = n.inboxes.Update(ctx, userID, func(i *domain.Inbox) error {
			return i.Seal(n.inboxes.Key(userID), segment)
		})
		if err != nil {
			return fmt.Errorf("sealing inbox: %w", err)
		}
	}
	return nil
}

// record enters entries in the guards of their minutes, in all at once so that they travel together.
func (n *Notifications) record(ctx context.Context, userID string, entries []domain.Entry, segment int) error {
	byGuard := make(map[string][]string)
	for _, e := range entries {
		notification := e.NotificationID(userID)
		guard := domain.GuardID(userID, notification)
		byGuard[guard] = append(byGuard[guard], notification)
	}
	guards := slices.Sorted(maps.Keys(byGuard))
	errs := make([]error, len(guards))
	var all sync.WaitGroup
	for i, guard := range guards {
		all.Go(func() {
			_, errs[i] = n.guards.Update(ctx, guard, func(g *domain.Guard) error { return g.Record(byGuard[guard], segment) })
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func (n *Notifications) startSealing(userID string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.sealing[userID] {
		return false
	}
	n.sealing[userID] = true
	return true
}

func (n *Notifications) endSealing(userID string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.sealing, userID)
}

// segment reads one archive segment of an inbox. The inbox must have been read at or after the segment was sealed.
func (n *Notifications) segment(ctx context.Context, inbox *domain.Inbox, number int) ([]domain.Entry, error) {
	var entries []domain.Entry
	key := domain.SegmentKey(n.inboxes.Key(inbox.UserID), number)
	found, err := document.ReadArchive(ctx, n.Store, &inbox.Root, key, &entries)
	if err != nil {
		return nil, err
	}
	if !found || len(entries) != domain.SegmentSize {
		return nil, &segmentError{key}
	}
	return entries, nil
}

// segmentError says that a segment of the archive is not what was sealed. It should not happen, and never passes.
type segmentError struct{ key string }

func (e *segmentError) Error() string {
	return "archive segment " + e.key + " is missing or incomplete"
}
