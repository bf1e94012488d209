package domain

import (
	"crypto/subtle"
	"errors"
	"time"

	"caravan/internal/document"
	"caravan/services/users/contract"
)

// ErrSessionEnded is returned when a session was revoked, has expired or never existed.
var ErrSessionEnded = errors.New("session has ended")

// The states of a session.
const (
	SessionActive  = "active"
	SessionRevoked = "revoked"
)

// SessionPolicy bounds how long sessions live.
type SessionPolicy struct {
	Idle     time.Duration // time without use after which it ends
	Absolute time.Duration // time after the login at which it ends (OWASP ASVS 5.0, 10.4.8)
	Grace    time.Duration // how long the last used refresh token is answered with the same successor again
}

// Session is one family of refresh tokens: all tokens that follow from one login. Only the newest token is valid; its use
// creates its successor. The token before it is answered with the same successor during the grace period, while the
// successor is unused: an answer may be lost, and a browser may send the token from two tabs. The use of an older token
// means that two parties hold tokens of the family, and ends it (RFC 9700, section 4.14.2).
//
// A session is valid while this document is active and the account lists it.
type Session struct {
	document.Root
	ID            string    `json:"id"`
	UserID        string    `json:"userId"`
	Status        string    `json:"status"`
	Nonce         []byte    `json:"nonce"`
	Sequence      int64     `json:"sequence"` // of the newest token
	CurrentHash   string    `json:"currentHash"`
	PreviousHash  string    `json:"previousHash,omitempty"`
	AuthTime      time.Time `json:"authTime"` // when the password was given
	RotatedAt     time.Time `json:"rotatedAt"`
	IdleUntil     time.Time `json:"idleUntil"`
	Until         time.Time `json:"until"`
	RevokedAt     time.Time `json:"revokedAt,omitzero"`
	RevokedReason string    `json:"revokedReason,omitempty"`
}

// NewSession is a session that is about to be opened.
type NewSession struct {
	ID, UserID string
	Nonce      []byte // 16 random bytes
}

// Open starts the session and returns its first token. Opening it again, as a repeated write does, returns the same token.
func (s *Session) Open(start NewSession, key RefreshKey, policy SessionPolicy, now time.Time) (RefreshToken, error) {
	token := key.Token(start.ID, 1, start.Nonce)
	if s.ID != "" {
		return token, document.ErrUnchanged
	}
	s.ID, s.UserID, s.Nonce = start.ID, start.UserID, start.Nonce
	s.Status, s.Sequence, s.CurrentHash = SessionActive, 1, token.Hash()
	s.AuthTime, s.RotatedAt = now, now
	s.Until = now.Add(policy.Absolute)
	s.IdleUntil = earlier(now.Add(policy.Idle), s.Until)
	return token, nil
}

// Rotation is the outcome of presenting a refresh token.
type Rotation int

// Outcomes of presenting a refresh token.
const (
	Refused  Rotation = iota // not a token of this session, or the session has ended; nothing changed
	Rotated                  // the session has a new token
	Repeated                 // the answer may have been lost: the same new token again; nothing changed
	Reused                   // the token had been used before: the session is now revoked
)

// Rotate decides about a presented token. Refused and Repeated do not change the session; Rotated and Reused change it and
// have to be written. The returned token is the zero value unless the outcome is Rotated or Repeated.
func (s *Session) Rotate(presented RefreshToken, key RefreshKey, policy SessionPolicy, now time.Time) (RefreshToken, Rotation) {
	if s.ID == "" || s.Status != SessionActive || !now.Before(s.IdleUntil) || !now.Before(s.Until) {
		return RefreshToken{}, Refused
	}
	switch {
	case !s.gaveOut(presented, key):
		return RefreshToken{}, Refused
	case presented.Sequence == s.Sequence:
		return s.advance(key, policy, now), Rotated
	case presented.Sequence == s.Sequence-1 && !now.After(s.RotatedAt.Add(policy.Grace)):
		successor := key.Token(s.ID, s.Sequence, s.Nonce)
		if !sameHash(successor.Hash(), s.CurrentHash) { // the key was replaced meanwhile
			return RefreshToken{}, Refused
		}
		return successor, Repeated
	default:
		s.revoke(contract.RevokedReuse, now)
		return RefreshToken{}, Reused
	}
}

// gaveOut reports whether this session issued the token. Somebody who only knows the id of a session must not be able to
// end it. The hashes of older tokens are not stored, so these tokens are derived again.
func (s *Session) gaveOut(token RefreshToken, key RefreshKey) bool {
	if token.SessionID != s.ID || token.Sequence > s.Sequence {
		return false
	}
	switch token.Sequence {
	case s.Sequence:
		return sameHash(token.Hash(), s.CurrentHash)
	case s.Sequence - 1:
		return sameHash(token.Hash(), s.PreviousHash)
	default:
		return sameHash(token.Hash(), key.Token(s.ID, token.Sequence, s.Nonce).Hash())
	}
}

func (s *Session) advance(key RefreshKey, policy SessionPolicy, now time.Time) RefreshToken {
	successor := key.Token(s.ID, s.Sequence+1, s.Nonce)
	s.Sequence++
	s.PreviousHash, s.CurrentHash, s.RotatedAt = s.CurrentHash, successor.Hash(), now
	s.Until = earlier(s.Until, s.AuthTime.Add(policy.Absolute)) // a promoted account gets the shorter limit
	s.IdleUntil = earlier(now.Add(policy.Idle), s.Until)
	return successor
}

// Revoke ends the session permanently and emits an event. Ending it twice changes nothing.
func (s *Session) Revoke(reason string, now time.Time) error {
	if s.ID == "" || s.Status == SessionRevoked {
		return document.ErrUnchanged
	}
	s.revoke(reason, now)
	return nil
}

func (s *Session) revoke(reason string, now time.Time) {
	s.Status, s.RevokedAt, s.RevokedReason = SessionRevoked, now, reason
	s.Emit(contract.EventSessionsRevoked, now,
		contract.SessionsRevoked{UserID: s.UserID, SessionIDs: []string{s.ID}, Reason: reason})
}

func sameHash(a, b string) bool {
	return a != "" && subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
