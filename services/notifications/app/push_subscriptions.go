package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"caravan/internal/document"
	"caravan/services/notifications/domain"
)

const (
	// pushPrefix begins the keys of the push subscriptions of users.
	pushPrefix = "push/"
	// pushEndpointPrefix begins the keys that say whose an endpoint is.
	pushEndpointPrefix = "push-endpoint/"
)

// PushSubscriptions stores the devices of all users that get push messages.
type PushSubscriptions struct {
	Ports
	documents *document.Repository[domain.PushSubscriptions, *domain.PushSubscriptions]
	endpoints *document.Repository[domain.PushEndpoint, *domain.PushEndpoint]
}

// NewPushSubscriptions makes PushSubscriptions.
func NewPushSubscriptions(p Ports) *PushSubscriptions {
	return &PushSubscriptions{
		Ports:     p,
		documents: document.NewRepository[domain.PushSubscriptions](p.Store, document.Options{Prefix: pushPrefix, Clock: p.Clock, IDs: p.IDs}),
		endpoints: document.NewRepository[domain.PushEndpoint](p.Store, document.Options{Prefix: pushEndpointPrefix, Clock: p.Clock, IDs: p.IDs}),
	}
}

// of returns all subscriptions of a user.
func (s *PushSubscriptions) of(ctx context.Context, userID string) ([]domain.PushSubscription, error) {
	found, err := s.documents.Get(ctx, userID)
	if errors.Is(err, document.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading push subscriptions: %w", err)
	}
	return found.Items, nil
}

// Any implements Devices.
func (s *PushSubscriptions) Any(ctx context.Context, userID string) (bool, error) {
	found, err := s.of(ctx, userID)
	return len(found) > 0, err
}

// AnySince reports whether a user has a device that is subscribed since before a time.
func (s *PushSubscriptions) AnySince(ctx context.Context, userID string, at time.Time) (bool, error) {
	found, err := s.of(ctx, userID)
	return slices.ContainsFunc(found, func(one domain.PushSubscription) bool { return one.CreatedAt.Before(at) }), err
}

// usable returns the subscriptions of a user, and separately those whose endpoint belongs to another user now.
func (s *PushSubscriptions) usable(ctx context.Context, userID string) (own, lost []domain.PushSubscription, err error) {
	all, err := s.of(ctx, userID)
	if err != nil || len(all) == 0 {
		return nil, nil, err
	}
	ids := make([]string, len(all))
	for i, one := range all {
		ids[i] = one.EndpointID()
	}
	endpoints, err := s.endpoints.GetMany(ctx, ids...)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the owners of push subscriptions: %w", err)
	}
	for i, one := range all {
		if owner := endpoints[ids[i]]; owner != nil && owner.UserID == userID {
			own = append(own, one)
		} else {
			lost = append(lost, one)
		}
	}
	return own, lost, nil
}

// remove removes subscriptions as they were read.
func (s *PushSubscriptions) remove(ctx context.Context, userID string, gone []domain.PushSubscription) error {
	if len(gone) == 0 {
		return nil
	}
	_, err := s.documents.Update(ctx, userID, func(p *domain.PushSubscriptions) error { return p.Remove(gone...) })
	if err != nil {
		return fmt.Errorf("removing push subscriptions: %w", err)
	}
	return nil
}
