package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"caravan/services/notifications/domain"
)

// seal moves the oldest entries of a long head to the archive. Their guards come first: an entry must not leave the head
// without one, or its event could be stored again. After a crash the next call completes the work, with the same entries, as
// heads only grow at the end. While this process is sealing the inbox seal does nothing.
func (s *Inboxes) seal(ctx context.Context, userID string) error {
	if !s.startSealing(userID) {
		return nil
	}
	defer s.endSealing(userID)
	inbox, err := s.inboxes.Get(ctx, userID)
	if err != nil {
		return fmt.Errorf("sealing inbox: %w", err)
	}
	for inbox.Sealable() != nil {
		segment := inbox.Segments
		if err := s.record(ctx, userID, inbox.Sealable(), segment); err != nil {
			return fmt.Errorf("sealing inbox: %w", err)
		}
		inbox, err = s.inboxes.Update(ctx, userID, func(i *domain.Inbox) error {
			return i.Seal(s.inboxes.Key(userID), segment)
		})
		if err != nil {
			return fmt.Errorf("sealing inbox: %w", err)
		}
	}
	return nil
}

// record adds entries to the guards of their times.
func (s *Inboxes) record(ctx context.Context, userID string, entries []domain.Entry, segment int) error {
	notifications := make([]string, len(entries))
	for i, e := range entries {
		notifications[i] = e.NotificationID(userID)
	}
	var mu sync.Mutex
	var rest []string
	err := s.inGuards(ctx, userID, notifications, domain.GuardID, func(g *domain.Guard, ids []string) error {
		full, err := g.Record(ids, segment)
		mu.Lock()
		defer mu.Unlock()
		rest = append(rest, full...) // twice if another replica was faster, which does no harm
		return err
	})
	if err != nil || len(rest) == 0 {
		return err
	}
	return s.inGuards(ctx, userID, rest, domain.SpareGuardID, func(g *domain.Guard, ids []string) error { return g.RecordSpare(ids, segment) })
}

// inGuards changes the guards with the ids that guardID gives, concurrently, so that the writes share a round trip.
func (s *Inboxes) inGuards(ctx context.Context, userID string, notifications []string, guardID func(userID, notificationID string) string,
	change func(g *domain.Guard, notifications []string) error) error {
	byGuard := make(map[string][]string)
	for _, notification := range notifications {
		guard := guardID(userID, notification)
		byGuard[guard] = append(byGuard[guard], notification)
	}
	guards := slices.Sorted(maps.Keys(byGuard))
	errs := make([]error, len(guards))
	var all sync.WaitGroup
	for i, guard := range guards {
		all.Go(func() {
			_, errs[i] = s.guards.Update(ctx, guard, func(g *domain.Guard) error { return change(g, byGuard[guard]) })
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func (s *Inboxes) startSealing(userID string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sealing[userID] {
		return false
	}
	s.sealing[userID] = true
	return true
}

func (s *Inboxes) endSealing(userID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sealing, userID)
}
