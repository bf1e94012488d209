// Package vapid has the key by which a shop identifies itself to push services (RFC 8292).
package vapid

import (
	"crypto/ecdh"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
)

// Key is a key pair on the curve P-256 in the form of the Web Push tools: base64url without padding. Subscriptions belong to the
// public key, so a shop keeps its key for ever.
type Key struct{ Private, Public string }

// size is the length of a private key, in bytes.
const size = 32

// ErrKey says that a text is no private key. It never contains the text.
var ErrKey = errors.New("a private key of P-256 has 32 bytes, in base64url")

// New makes a key.
func New(random io.Reader) (Key, error) {
	for {
		secret := make([]byte, size)
		if _, err := io.ReadFull(random, secret); err != nil {
			return Key{}, fmt.Errorf("making a key for push: %w", err)
		}
		// All but one of 2^32 numbers are keys.
		if key, err := Parse(base64.RawURLEncoding.EncodeToString(secret)); err == nil {
			return key, nil
		}
	}
}

// Parse reads a private key, and computes the public one.
func Parse(private string) (Key, error) {
	secret, err := base64.RawURLEncoding.DecodeString(private)
	if err != nil || len(secret) != size {
		return Key{}, ErrKey
	}
	key, err := ecdh.P256().NewPrivateKey(secret)
	if err != nil {
		return Key{}, ErrKey
	}
	return Key{Private: private, Public: base64.RawURLEncoding.EncodeToString(key.PublicKey().Bytes())}, nil
}
