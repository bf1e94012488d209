package token

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"

	"caravan/internal/clock"
)

const (
	// MaxLength is the longest accepted token in bytes.
	MaxLength = 4 << 10
	// Leeway is how far the clocks of issuer and verifier may differ.
	Leeway = 30 * time.Second
)

// Verifier verifies access tokens. It is safe for use by many goroutines.
type Verifier struct {
	issuer, audience string
	clock            clock.Clock
	keys             *keys
	verified         *verified
}

// NewVerifier makes a verifier of tokens of one issuer for one audience. fetch gets the issuer's keys. It is called at
// the first use and when the cached keys are old or lack a key, and never twice at the same time.
func NewVerifier(fetch func(ctx context.Context) (KeySet, error), issuer, audience string, clk clock.Clock) *Verifier {
	return &Verifier{
		issuer: issuer, audience: audience, clock: clk,
		keys: newKeys(fetch, clk), verified: newVerified(),
	}
}

// Verify returns the claims of a valid token. Errors: ErrInvalid, ErrExpired, ErrKeysUnavailable, or the context's
// error while keys are being fetched. Results come from a cache for at most a minute, and never after the token has
// expired.
func (v *Verifier) Verify(ctx context.Context, raw string) (Claims, error) {
	if raw == "" || len(raw) > MaxLength {
		return Claims{}, fmt.Errorf("%w: %d bytes", ErrInvalid, len(raw))
	}
	now := v.clock.Now()
	digest := sha256.Sum256([]byte(raw))
	if c, ok := v.verified.get(digest, now); ok {
		return c, nil
	}
	keyID, err := header(raw)
	if err != nil {
		return Claims{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	public, err := v.keys.find(ctx, keyID)
	if err != nil {
		return Claims{}, err
	}
	body, err := open(raw, public)
	if err != nil {
		return Claims{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	c, err := v.check(body, now)
	if err != nil {
		return Claims{}, err
	}
	v.verified.put(digest, c, now)
	return c, nil
}

// header checks the header before any other part of the token. It allows exactly alg, typ and kid. So "none", a MAC
// with the public key, and keys inside the token (jwk, jku, x5c) reach no other code.
func header(raw string) (keyID string, err error) {
	encoded, _, found := strings.Cut(raw, ".")
	if !found || strings.Count(raw, ".") != 2 || strings.ContainsAny(raw, "\r\n") {
		return "", fmt.Errorf("not three parts") // Go's base64 skips line breaks, so they are checked here
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return "", errHeader
	}
	var h struct {
		Algorithm *string `json:"alg"`
		Type      *string `json:"typ"`
		KeyID     *string `json:"kid"`
	}
	if err := json.Unmarshal(data, &h, json.RejectUnknownMembers(true)); err != nil {
		return "", errHeader
	}
	if h.Algorithm == nil || *h.Algorithm != string(jose.EdDSA) || h.Type == nil || *h.Type != Type ||
		h.KeyID == nil || *h.KeyID == "" || len(*h.KeyID) > 128 {
		return "", errHeader
	}
	return *h.KeyID, nil
}

func open(raw string, public ed25519.PublicKey) ([]byte, error) {
	// The last character of the compact form allows two spellings of one signature. Only one is accepted.
	if _, err := base64.RawURLEncoding.Strict().DecodeString(raw[strings.LastIndexByte(raw, '.')+1:]); err != nil {
		return nil, fmt.Errorf("the signature is not base64url")
	}
	signed, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		return nil, fmt.Errorf("not a signed token")
	}
	body, err := signed.Verify(public)
	if err != nil {
		return nil, fmt.Errorf("the signature does not match")
	}
	return body, nil
}

func (v *Verifier) check(body []byte, now time.Time) (Claims, error) {
	var p payload
	if err := json.Unmarshal(body, &p); err != nil {
		return Claims{}, fmt.Errorf("%w: the claims cannot be read", ErrInvalid)
	}
	if missing := p.missing(); missing != "" {
		return Claims{}, fmt.Errorf("%w: the claim %s is missing", ErrInvalid, missing)
	}
	c := p.claims()
	latest := now.Add(Leeway)
	switch {
	case c.Issuer != v.issuer:
		return Claims{}, fmt.Errorf("%w: another issuer", ErrInvalid)
	case c.Audience != v.audience:
		return Claims{}, fmt.Errorf("%w: another audience", ErrInvalid)
	case c.IssuedAt.After(latest), p.NotBefore != 0 && time.Unix(p.NotBefore, 0).After(latest):
		return Claims{}, fmt.Errorf("%w: not valid yet", ErrInvalid)
	case !c.Expiry.After(c.IssuedAt):
		return Claims{}, fmt.Errorf("%w: it expires before it was issued", ErrInvalid)
	case !now.Before(c.Expiry.Add(Leeway)):
		return Claims{}, fmt.Errorf("%w: since %s", ErrExpired, c.Expiry.Format(time.RFC3339))
	}
	return c, nil
}
