package app

import (
	"context"
	"fmt"
	"slices"

	"caravan/services/notifications/domain"
)

// lettersPerRead bounds one bulk read of dead letters, whose payloads may be large.
const lettersPerRead = 16

// ListDeadLetters returns dead letters, newest first, and the cursor of the next page or "". A page has up to limit of
// them, and may have fewer although more follow.
func (n *Notifications) ListDeadLetters(ctx context.Context, cursor string, limit int) ([]*domain.DeadLetter, string, error) {
	entries, next, err := n.lettered.page(ctx, cursor, limit)
	if err != nil {
		return nil, "", fmt.Errorf("listing dead letters: %w", err)
	}
	list := make([]*domain.DeadLetter, 0, len(entries))
	for part := range slices.Chunk(entries, lettersPerRead) {
		ids := make([]string, len(part))
		for i, e := range part {
			ids[i] = e.ID
		}
		letters, err := n.letters.GetMany(ctx, ids...)
		if err != nil {
			return nil, "", fmt.Errorf("listing dead letters: %w", err)
		}
		for _, e := range part {
			if letter := letters[e.ID]; letter != nil && letter.Entry == e.Entry {
				list = append(list, letter)
			}
		}
	}
	return list, next, nil
}
