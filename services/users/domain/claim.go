package domain

import (
	"errors"
	"time"

	"caravan/internal/document"
)

// ErrEmailTaken says that an account with this address exists.
var ErrEmailTaken = errors.New("e-mail address is taken")

// Claim binds one normalized address to the id of the one account that may have it, for ever. It is written before
// that account. If its account never appears, because the process died in between, the next registration with this
// address takes the claim over: it creates the account under the claimed id, and the compare-and-swap on that one key
// decides between two that try at once. So a broken registration blocks nobody, and no two accounts share an address,
// however late a write lands.
type Claim struct {
	document.Root
	UserID    string    `json:"userId"`
	ClaimedAt time.Time `json:"claimedAt"`
}

// Assign binds the claim to userID unless it is bound already.
func (c *Claim) Assign(userID string, now time.Time) error {
	if c.UserID != "" {
		return document.ErrUnchanged
	}
	c.UserID, c.ClaimedAt = userID, now
	return nil
}
