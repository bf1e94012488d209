// Package id makes identifiers: random ones that sort by time, and derived ones that are the same for a repeated
// request. It also has the rules for identifiers from outside that become part of a key.
package id

import (
	"encoding/binary"

	"github.com/google/uuid"
)

// Source makes new identifiers. Code uses a Source instead of random numbers, so that the simulation can repeat a run
// from its seed.
type Source interface {
	// New returns an identifier that was never returned before.
	New() string
}

// Random makes UUIDs of version 7 (RFC 9562, 5.7) in canonical lower case. They sort by their time of creation, so that
// documents of the same time are near each other in a store.
type Random struct{}

// New returns a new UUIDv7.
func (Random) New() string {
	// NewV7 fails only when the operating system has no random numbers. Since Go 1.24 crypto/rand ends the program
	// then, so no error is left to return.
	return uuid.Must(uuid.NewV7()).String()
}

// Valid reports whether s is a UUID of any version in canonical form (lower case, hyphens, no braces). The form is
// strict because identifiers become keys: one id must have one spelling.
func Valid(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return false
			}
		}
	}
	return true
}

// Plain reports whether s is 1 to 64 ASCII letters and digits, dots, underscores and hyphens: an identifier of any form
// that can be part of a key.
func Plain(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return true
}

// SKURule is the rule for a SKU, in words that complete a sentence.
const SKURule = "must be 2 to 32 capital letters, digits and hyphens, and not start with a hyphen"

// ValidSKU reports whether s follows SKURule.
func ValidSKU(s string) bool {
	if len(s) < 2 || len(s) > 32 || s[0] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// Derive returns the same UUIDv5 (RFC 9562, 5.5) for the same parts, and in practice another one for any other parts.
// The length of each part is included, so ("ab", "c") and ("a", "bc") differ.
func Derive(parts ...string) string {
	// Only this function uses the namespace. It must never change, because documents are found by it.
	namespace := uuid.UUID{0x3f, 0x1c, 0x5a, 0x0e, 0x8b, 0x4d, 0x4c, 0x61, 0x9e, 0x27, 0x6d, 0x1f, 0x52, 0xc4, 0xa7, 0x90}
	size := 0
	for _, part := range parts {
		size += binary.MaxVarintLen64 + len(part)
	}
	name := make([]byte, 0, size)
	for _, part := range parts {
		name = binary.AppendUvarint(name, uint64(len(part)))
		name = append(name, part...)
	}
	return uuid.NewSHA1(namespace, name).String()
}
