package domain

import (
	"errors"
	"time"

	"caravan/internal/document"
)

// ErrEmailTaken is returned when an account with this address exists.
var ErrEmailTaken = errors.New("e-mail address is taken")

// Claim binds one address to the id of the one account that may have it, permanently. It is written before that account.
// If the process crashes in between, the account does not exist, and the next registration with this address uses the
// claim: it creates the account under the claimed id. The compare-and-swap on that one key decides between two
// registrations at the same time. So an interrupted registration blocks nobody, and no two accounts have the same address,
// however late a write arrives.
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
