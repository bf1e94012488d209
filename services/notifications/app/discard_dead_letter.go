package app

import (
	"context"

	"caravan/internal/document"
	"caravan/internal/id"
	"caravan/services/notifications/domain"
)

// DiscardDeadLetter gives a dead letter up for a reason. One that was discarded before is returned as it is. Errors:
// document.ErrNotFound; domain.ErrLetterReplayed; domain.ErrOperation.
func (n *Notifications) DiscardDeadLetter(ctx context.Context, letterID string, in Instruction) (*domain.DeadLetter, error) {
	if !id.Valid(letterID) {
		return nil, document.ErrNotFound
	}
	return n.act(ctx, letterID, n.action(letterID, in), (*domain.DeadLetter).Discard)
}
