package app

import (
	"context"
	"fmt"

	"caravan/services/notifications/domain"
)

// DiscardDeadLetter gives a dead letter up for a reason. One that was discarded before is returned as it is. Errors:
// document.ErrNotFound; domain.ErrLetterReplayed.
func (n *Notifications) DiscardDeadLetter(ctx context.Context, letterID, reason, by string) (*domain.DeadLetter, error) {
	now := n.Clock.Now()
	letter, err := n.letters.Update(ctx, letterID, func(d *domain.DeadLetter) error { return d.Discard(reason, by, now) })
	if err != nil {
		return nil, fmt.Errorf("discarding dead letter: %w", err)
	}
	n.Log.InfoContext(ctx, "dead letter discarded", "dead_letter", letterID, "event", letter.EventID, "by", by)
	return letter, nil
}
