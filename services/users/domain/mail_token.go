package domain

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"caravan/internal/document"
	"caravan/internal/id"
	"caravan/services/users/contract"
)

// MaxMailTokenLength is the longest text that can be a token of a mail, in bytes.
const MaxMailTokenLength = 128

// The limits of requests for mails of one purpose by one account. Anybody who knows an address can ask for a reset, so the owner of
// the address must neither get many mails, nor be locked out for long by somebody who uses the limit up.
const (
	mailRequestPause  = time.Minute
	mailRequestWindow = time.Hour
	mailRequestsMax   = 5 // in a window
)

// Errors of the tokens in mails.
var (
	// ErrMailToken is returned for every token of a mail that is not valid: it is unknown, used, replaced or expired. They all look
	// the same, so that nobody learns anything from it.
	ErrMailToken = errors.New("the token is not valid")
	// ErrVerified is returned when the address of an account is verified already.
	ErrVerified = errors.New("the address is verified")
)

// TooSoonError is returned when an account has asked for too many mails.
type TooSoonError struct {
	Wait time.Duration // until the next request
}

// Error implements error.
func (e *TooSoonError) Error() string {
	return "too many mails were asked for; wait " + e.Wait.String()
}

// MailToken is the credential in the link of a mail: "<form>.<user id>.<secret>". The secret is a keyed digest, so it cannot be
// guessed from the rest. The form depends on the purpose.
type MailToken struct {
	Purpose string
	UserID  string
	Secret  string // 43 characters of base64url
}

// mailTokenForms are the beginnings of tokens, by purpose.
var mailTokenForms = map[string]string{contract.PurposeVerification: "v1", contract.PurposePasswordReset: "p1"}

// String is the form that the person gets.
func (t MailToken) String() string {
	return mailTokenForms[t.Purpose] + "." + t.UserID + "." + t.Secret
}

// ParseMailToken reads the form String writes for a purpose and nothing else. Its error is ErrMailToken.
func ParseMailToken(purpose, raw string) (MailToken, error) {
	parts := strings.Split(raw, ".")
	if len(raw) > MaxMailTokenLength || len(parts) != 3 || parts[0] != mailTokenForms[purpose] || !id.Valid(parts[1]) {
		return MailToken{}, ErrMailToken
	}
	secret, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || len(secret) != sha256.Size {
		return MailToken{}, ErrMailToken
	}
	token := MailToken{Purpose: purpose, UserID: parts[1], Secret: base64.RawURLEncoding.EncodeToString(secret)}
	if token.String() != raw { // line breaks or stray bits in the secret
		return MailToken{}, ErrMailToken
	}
	return token, nil
}

// MailKey is the secret, at least 32 bytes, from which the tokens in mails are derived. So each attempt to send a mail contains the
// same token although none is stored. To forge one, an attacker needs both this key and the store.
type MailKey []byte

// Token derives the token of a request of an account.
func (k MailKey) Token(purpose, userID string, request MailRequest) MailToken {
	mac := hmac.New(sha256.New, k)
	mac.Write([]byte(purpose + "\x00" + userID + "\x00" + request.ID + "\x00"))
	mac.Write(request.Nonce)
	return MailToken{Purpose: purpose, UserID: userID, Secret: base64.RawURLEncoding.EncodeToString(mac.Sum(nil))}
}

// NewMailRequest is a request for a mail that is about to be recorded.
type NewMailRequest struct {
	ID    string
	Nonce []byte // 32 random bytes
	Until time.Time
}

// MailRequest is the newest request of an account for a mail of one purpose. Its token is the only one of the account for this
// purpose that can be valid.
type MailRequest struct {
	ID    string    `json:"id,omitempty"`
	Nonce []byte    `json:"nonce,omitempty"`
	Until time.Time `json:"until,omitzero"`
	// UsedBy is the operation that used the token up. It is "" while none did.
	UsedBy string `json:"usedBy,omitempty"`
	// Recent are the times of the requests in the last hour, oldest first.
	Recent []time.Time `json:"recent,omitempty"`
}

// replace makes room for a new request. It returns document.ErrUnchanged if it is the present one, and a *TooSoonError.
func (m *MailRequest) replace(next NewMailRequest, now time.Time) error {
	if m.ID == next.ID {
		return document.ErrUnchanged
	}
	recent := make([]time.Time, 0, mailRequestsMax)
	for _, at := range m.Recent {
		if now.Sub(at) < mailRequestWindow {
			recent = append(recent, at)
		}
	}
	var free time.Time
	if n := len(recent); n > 0 {
		free = recent[n-1].Add(mailRequestPause)
		if n >= mailRequestsMax {
			free = recent[n-mailRequestsMax].Add(mailRequestWindow)
		}
	}
	if now.Before(free) {
		return &TooSoonError{Wait: free.Sub(now)}
	}
	*m = MailRequest{ID: next.ID, Nonce: next.Nonce, Until: next.Until, Recent: append(recent, now)}
	return nil
}

// live reports whether the token of the request is valid.
func (m *MailRequest) live(now time.Time) bool {
	return m.ID != "" && m.UsedBy == "" && now.Before(m.Until)
}

// use uses the token up. by identifies the operation, so that a repeat of its write is recognized: then the error is
// document.ErrUnchanged. For a token that is not valid it is ErrMailToken.
func (m *MailRequest) use(token MailToken, key MailKey, by string, now time.Time) error {
	want := key.Token(token.Purpose, token.UserID, *m)
	if subtle.ConstantTimeCompare([]byte(want.Secret), []byte(token.Secret)) != 1 || m.ID == "" {
		return ErrMailToken
	}
	if m.UsedBy == by {
		return document.ErrUnchanged
	}
	if !m.live(now) {
		return ErrMailToken
	}
	m.UsedBy = by
	return nil
}

// EmailVerified reports whether the owner of the account has shown that they get its mails.
func (u *User) EmailVerified() bool { return !u.EmailVerifiedAt.IsZero() }

// requestOf is the newest request of a purpose, and nil if there is no such purpose.
func (u *User) requestOf(purpose string) *MailRequest {
	switch purpose {
	case contract.PurposeVerification:
		return &u.Verification
	case contract.PurposePasswordReset:
		return &u.PasswordReset
	}
	return nil
}

// RequestVerification asks for a mail that verifies the address. Earlier ones are not valid any more. Errors: ErrNoUser,
// ErrVerified, *TooSoonError.
func (u *User) RequestVerification(next NewMailRequest, now time.Time) error {
	switch {
	case u.ID == "":
		return ErrNoUser
	case u.EmailVerified():
		return ErrVerified
	}
	if err := u.Verification.replace(next, now); err != nil {
		return err
	}
	u.Emit(contract.EventVerificationRequested, now, contract.MailRequested{UserID: u.ID, RequestID: next.ID})
	return nil
}

// RequestPasswordReset asks for a mail that resets the password. Earlier ones are not valid any more. Errors: ErrNoUser,
// *TooSoonError.
func (u *User) RequestPasswordReset(next NewMailRequest, now time.Time) error {
	if u.ID == "" {
		return ErrNoUser
	}
	if err := u.PasswordReset.replace(next, now); err != nil {
		return err
	}
	u.Emit(contract.EventPasswordResetRequested, now, contract.MailRequested{UserID: u.ID, RequestID: next.ID})
	return nil
}

// MailToken returns the token for the mail of a request, and false if it is not valid any more. It changes nothing.
func (u *User) MailToken(purpose, requestID string, key MailKey, now time.Time) (token MailToken, until time.Time, ok bool) {
	m := u.requestOf(purpose)
	if m == nil || m.ID != requestID || !m.live(now) || purpose == contract.PurposeVerification && u.EmailVerified() {
		return MailToken{}, time.Time{}, false
	}
	return key.Token(purpose, u.ID, *m), m.Until, true
}

// CheckPasswordReset returns ErrMailToken if a token does not allow to set the password now.
func (u *User) CheckPasswordReset(token MailToken, key MailKey, now time.Time) error {
	m := u.PasswordReset // a copy
	return m.use(token, key, "check", now)
}

// VerifyEmail uses a token up and records that the address is verified. Its error is ErrMailToken if the token is not valid.
func (u *User) VerifyEmail(token MailToken, key MailKey, by string, now time.Time) error {
	if err := u.Verification.use(token, key, by, now); err != nil {
		return err
	}
	u.EmailVerifiedAt, u.UpdatedAt = now, now
	return nil
}

// ResetPassword uses a token up, replaces the password and ends every session. Who has the token gets the mails of the account, so
// the address is verified, too. Its error is ErrMailToken if the token is not valid.
func (u *User) ResetPassword(token MailToken, key MailKey, by, hash string, now time.Time) error {
	if err := u.PasswordReset.use(token, key, by, now); err != nil {
		return err
	}
	if !u.EmailVerified() {
		u.EmailVerifiedAt = now
	}
	ended := sessionIDs(u.Sessions)
	u.Sessions = nil
	u.setPassword(hash, now)
	if len(ended) > 0 {
		u.emitRevoked(ended, contract.RevokedPasswordReset, now)
	}
	return nil
}
