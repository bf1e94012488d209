package app

import (
	"errors"
	"slices"
	"sync"
	"time"

	"caravan/services/notifications/domain"
)

// pushResults are the results of one message at the devices of a person.
type pushResults struct {
	mu      sync.Mutex
	served  []string // ids of subscriptions
	gone    []domain.PushSubscription
	refused error // the last one
	later   error
	after   time.Duration
}

func (r *pushResults) has(subscriptionID string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.served, subscriptionID)
}

func (r *pushResults) add(one domain.PushSubscription, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var wait *PushLaterError
	switch {
	case err == nil:
		r.served = append(slices.Clone(r.served), one.ID)
	case errors.Is(err, ErrPushGone):
		r.gone = append(r.gone, one)
	case errors.Is(err, ErrPushRefused):
		r.refused = err
	case errors.As(err, &wait):
		r.later, r.after = err, max(r.after, wait.After)
	default:
		r.later = err
	}
}

// outcome is what the results mean for the delivery. It is sent if one device has it and none is left to be tried again.
func (r *pushResults) outcome(now time.Time, maxWait time.Duration) error {
	slices.Sort(r.served)
	switch {
	case r.later != nil:
		var next time.Time
		if r.after > 0 {
			next = now.Add(min(r.after, maxWait))
		}
		return Partly(r.later, r.served, next)
	case len(r.served) > 0:
		return nil
	case r.refused != nil:
		return Refused(r.refused)
	}
	return Suppressed("no device is subscribed")
}
