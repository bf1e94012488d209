package token

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// Type is the media type in the token's header (RFC 9068, 2.1). Without it, a token of another kind that was signed
// with the same key could be used as an access token.
const Type = "at+jwt"

// Signer signs access tokens with one key.
type Signer struct {
	// KeyID names the key in the header and in the key set.
	KeyID string
	// Key is the private key. It never leaves the users service.
	Key ed25519.PrivateKey
}

// Sign returns the token in compact form. It fails when a required claim is missing.
func (s Signer) Sign(c Claims) (string, error) {
	body, err := c.encode()
	if err != nil {
		return "", err
	}
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: s.Key, KeyID: s.KeyID}},
		(&jose.SignerOptions{}).WithType(Type),
	)
	if err != nil {
		return "", fmt.Errorf("signing an access token: %w", err)
	}
	signature, err := signer.Sign(body)
	if err != nil {
		return "", fmt.Errorf("signing an access token: %w", err)
	}
	raw, err := signature.CompactSerialize()
	if err != nil {
		return "", fmt.Errorf("signing an access token: %w", err)
	}
	return raw, nil
}

// KeySet contains the public keys of the issuer. Its JSON is a JWK Set (RFC 7517) of Ed25519 keys.
type KeySet struct {
	Keys []Key
}

// Key is one public key.
type Key struct {
	// ID is the name of the key in the header of tokens. It is unique within a set.
	ID string
	// Public is the key that verifies signatures.
	Public ed25519.PublicKey
}

// MarshalJSON writes the set as {"keys": [...]}, each key with use, alg and kid.
func (s KeySet) MarshalJSON() ([]byte, error) {
	set := jose.JSONWebKeySet{Keys: make([]jose.JSONWebKey, 0, len(s.Keys))}
	for _, key := range s.Keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{
			Key: key.Public, KeyID: key.ID, Algorithm: string(jose.EdDSA), Use: "sig",
		})
	}
	data, err := json.Marshal(set)
	if err != nil {
		return nil, fmt.Errorf("writing a key set: %w", err)
	}
	return data, nil
}

// UnmarshalJSON reads a JWK Set. It skips keys that cannot verify our tokens (RFC 7517, 5): other types and uses, keys
// without an id and private keys. A repeated id is an error.
func (s *KeySet) UnmarshalJSON(data []byte) error {
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(data, &set); err != nil {
		return fmt.Errorf("reading a key set: %w", err)
	}
	s.Keys = nil
	seen := make(map[string]bool, len(set.Keys))
	for _, jwk := range set.Keys {
		public, ok := jwk.Key.(ed25519.PublicKey)
		if !ok || len(public) != ed25519.PublicKeySize || jwk.KeyID == "" ||
			(jwk.Use != "" && jwk.Use != "sig") || (jwk.Algorithm != "" && jwk.Algorithm != string(jose.EdDSA)) {
			continue
		}
		if seen[jwk.KeyID] {
			return fmt.Errorf("reading a key set: the key id %.40q appears twice", jwk.KeyID)
		}
		seen[jwk.KeyID] = true
		s.Keys = append(s.Keys, Key{ID: jwk.KeyID, Public: public})
	}
	return nil
}

func (s KeySet) find(id string) (ed25519.PublicKey, bool) {
	for _, key := range s.Keys {
		if key.ID == id {
			return key.Public, true
		}
	}
	return nil, false
}
