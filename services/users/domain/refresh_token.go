package domain

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"

	"caravan/internal/id"
)

// MaxRefreshTokenLength is the longest text that can be a refresh token, in bytes.
const MaxRefreshTokenLength = 128

// ErrRefreshToken is returned for a text that does not have the form of a refresh token.
var ErrRefreshToken = errors.New("not a refresh token")

// RefreshToken is the credential that continues a session: "r1.<session id>.<sequence>.<secret>". The secret is a
// keyed digest, so it cannot be guessed from the rest.
type RefreshToken struct {
	SessionID string
	Sequence  int64  // counts the rotations of the session from 1
	Secret    string // 43 characters of base64url
}

// String is the form that the client gets.
func (t RefreshToken) String() string {
	return "r1." + t.SessionID + "." + strconv.FormatInt(t.Sequence, 10) + "." + t.Secret
}

// Hash is stored instead of the token: its SHA-256 in hexadecimal.
func (t RefreshToken) Hash() string {
	sum := sha256.Sum256([]byte(t.String()))
	return hex.EncodeToString(sum[:])
}

// ParseRefreshToken reads the form String writes and nothing else. Its error is ErrRefreshToken.
func ParseRefreshToken(raw string) (RefreshToken, error) {
	if len(raw) > MaxRefreshTokenLength {
		return RefreshToken{}, ErrRefreshToken
	}
	parts := strings.Split(raw, ".")
	if len(parts) != 4 || parts[0] != "r1" || !id.Valid(parts[1]) || len(parts[3]) != 43 {
		return RefreshToken{}, ErrRefreshToken
	}
	sequence, err := strconv.ParseInt(parts[2], 10, 64)
	if err != nil || sequence < 1 {
		return RefreshToken{}, ErrRefreshToken
	}
	secret, err := base64.RawURLEncoding.DecodeString(parts[3])
	if err != nil {
		return RefreshToken{}, ErrRefreshToken
	}
	token := RefreshToken{SessionID: parts[1], Sequence: sequence, Secret: base64.RawURLEncoding.EncodeToString(secret)}
	if token.String() != raw { // a sequence such as +1 or 01, line breaks or stray bits in the secret
		return RefreshToken{}, ErrRefreshToken
	}
	return token, nil
}

// RefreshKey is the secret, at least 32 bytes, from which refresh tokens are derived. So a token whose answer was lost can be
// sent again although it is not stored. To forge one, an attacker needs both this key and the store.
type RefreshKey []byte

// Token derives the token of one rotation of a session. nonce is the session's own random value.
func (k RefreshKey) Token(sessionID string, sequence int64, nonce []byte) RefreshToken {
	mac := hmac.New(sha256.New, k)
	mac.Write([]byte(sessionID)) // has a fixed length, so two different inputs differ in their bytes
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(sequence)))
	mac.Write(nonce)
	secret := base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	return RefreshToken{SessionID: sessionID, Sequence: sequence, Secret: secret}
}

// Derive returns a key for another purpose, from which nobody can conclude this one.
func (k RefreshKey) Derive(purpose string) []byte {
	mac := hmac.New(sha256.New, k)
	mac.Write([]byte("caravan " + purpose)) // no input of Token begins so
	return mac.Sum(nil)
}
