package request

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"caravan/internal/problem"
)

// IdempotencyHeader names the key by which a repeated request gets its first answer again
// (draft-ietf-httpapi-idempotency-key-header).
const IdempotencyHeader = "Idempotency-Key"

// MaxIdempotencyKey is the longest key in bytes, without its quotes.
const MaxIdempotencyKey = 255

// IdempotencyKey reads the header Idempotency-Key: the quoted string of the draft (RFC 8941, 3.3.3), or a bare token as
// most clients send it. `"abc"` and `abc` are the same key. A key is 1 to 255 printable ASCII characters; only a quoted
// one may contain spaces. A missing, repeated or wrong key is a 400 that names the header.
func IdempotencyKey(r *http.Request) (string, error) {
	values := r.Header.Values(IdempotencyHeader)
	switch len(values) {
	case 0:
		return "", invalidKey("required", "is required")
	case 1:
		return parseKey(values[0])
	}
	return "", invalidKey("duplicate", "appears more than once")
}

// OptionalIdempotencyKey is IdempotencyKey for a request that may have no key, which is "". It refuses an empty header,
// because the client that sends it relies on a key.
func OptionalIdempotencyKey(r *http.Request) (string, error) {
	if len(r.Header.Values(IdempotencyHeader)) == 0 {
		return "", nil
	}
	return IdempotencyKey(r)
}

func parseKey(value string) (string, error) {
	value = strings.Trim(value, " \t")
	if value == "" {
		return "", invalidKey("required", "is required")
	}
	key, least := value, byte('!')
	if value[0] == '"' {
		var ok bool
		least = ' '
		if key, ok = unquote(value); !ok {
			return "", invalidKey("format", "must be one quoted string or a bare token")
		}
	} else if strings.ContainsAny(value, "\",;\\") {
		return "", invalidKey("format", "must be one quoted string or a bare token")
	}
	if key == "" || len(key) > MaxIdempotencyKey {
		return "", invalidKey("length", fmt.Sprintf("must be 1 to %d characters", MaxIdempotencyKey))
	}
	for i := range len(key) {
		if key[i] < least || key[i] > '~' {
			return "", invalidKey("format", "must be printable ASCII characters; a key with spaces must be quoted")
		}
	}
	return key, nil
}

// unquote reads an sf-string, in which only quotes and backslashes may be escaped.
func unquote(value string) (string, bool) {
	if len(value) < 2 || value[len(value)-1] != '"' {
		return "", false
	}
	inner := value[1 : len(value)-1]
	var b strings.Builder
	b.Grow(len(inner))
	for i := 0; i < len(inner); i++ {
		switch inner[i] {
		case '"':
			return "", false
		case '\\':
			i++
			if i == len(inner) || (inner[i] != '"' && inner[i] != '\\') {
				return "", false
			}
		}
		b.WriteByte(inner[i])
	}
	return b.String(), true
}

func invalidKey(code, message string) error {
	return problem.Invalid(problem.FieldError{Field: IdempotencyHeader, Code: code, Message: message})
}

// Fingerprint is the SHA-256 in hex of v's canonical JSON (RFC 8785, except that whole numbers keep their digits: as
// doubles, two amounts above 2^53 could be equal). Two requests with one idempotency key are the same request if their
// fingerprints are equal. It panics when v cannot be written as JSON. That is a programming error, because v was read
// from JSON.
func Fingerprint(v any) string {
	data, err := json.Marshal(v, json.Deterministic(true))
	if err == nil {
		value := jsontext.Value(data)
		err = value.Canonicalize(jsontext.CanonicalizeRawInts(false))
		data = value
	}
	if err != nil {
		panic(fmt.Sprintf("request: a fingerprint of %T: %v", v, err))
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
