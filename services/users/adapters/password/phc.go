package password

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Parameters are the costs of Argon2id (RFC 9106, section 3.1).
type Parameters struct {
	Memory      uint32 // KiB, 8 to MaxMemory
	Iterations  uint32 // 1 to MaxIterations
	Parallelism uint8  // 1 to MaxParallelism
}

// Bounds of the parameters of a stored hash, so that a damaged one cannot use up the machine.
const (
	MaxMemory      = 1 << 20 // KiB, so 1 GiB
	MaxIterations  = 16
	MaxParallelism = 16
)

const (
	saltLength = 16
	tagLength  = 32
)

// errEncoding is returned for a text that is not an Argon2id hash. It does not contain the text.
var errEncoding = errors.New("not an argon2id hash in PHC form")

// Hash is a password hash with its parameters and salt.
type Hash struct {
	Parameters
	Salt []byte // 8 to 64 bytes
	Tag  []byte // 16 to 64 bytes
}

// String writes the PHC string format: $argon2id$v=19$m=19456,t=2,p=1$<salt>$<tag>, the last two in base64 without
// padding (https://github.com/P-H-C/phc-string-format).
func (h Hash) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.Memory, h.Iterations, h.Parallelism,
		base64.RawStdEncoding.EncodeToString(h.Salt), base64.RawStdEncoding.EncodeToString(h.Tag))
}

// Parse reads the form that String writes and no other.
func Parse(encoded string) (Hash, error) {
	if len(encoded) > 512 {
		return Hash{}, errEncoding
	}
	var hash Hash
	var version int
	var rest string
	_, err := fmt.Sscanf(encoded, "$argon2id$v=%d$m=%d,t=%d,p=%d$%s", &version, &hash.Memory, &hash.Iterations, &hash.Parallelism, &rest)
	if err != nil {
		return Hash{}, errEncoding
	}
	if err := hash.Check(); err != nil {
		return Hash{}, err
	}
	salt, tag, _ := strings.Cut(rest, "$")
	if hash.Salt, err = parseBytes(salt, 8, 64); err != nil {
		return Hash{}, err
	}
	if hash.Tag, err = parseBytes(tag, 16, 64); err != nil {
		return Hash{}, err
	}
	if hash.String() != encoded { // another version, or a second spelling of the same values
		return Hash{}, errEncoding
	}
	return hash, nil
}

// Check checks that the parameters are within their bounds and those of RFC 9106.
func (p Parameters) Check() error {
	switch {
	case p.Iterations < 1 || p.Iterations > MaxIterations, p.Parallelism < 1 || p.Parallelism > MaxParallelism,
		p.Memory < 8*uint32(p.Parallelism) || p.Memory > MaxMemory:
		return fmt.Errorf("%w: parameters out of bounds", errEncoding)
	}
	return nil
}

func parseBytes(text string, shortest, longest int) ([]byte, error) {
	decoded, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil || len(decoded) < shortest || len(decoded) > longest {
		return nil, errEncoding
	}
	return decoded, nil
}

// tag computes the Argon2id tag of a password with the hash's own parameters and salt.
func (h Hash) tag(password string) []byte {
	return argon2.IDKey([]byte(password), h.Salt, h.Iterations, h.Memory, h.Parallelism, uint32(len(h.Tag)))
}
