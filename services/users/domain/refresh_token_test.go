package domain_test

import (
	"errors"
	"strings"
	"testing"

	"caravan/services/users/domain"
)

const sessionID = "0192f0c1-2b3a-7c4d-8e5f-0123456789ab"

func TestRefreshTokenText(t *testing.T) {
	key := domain.RefreshKey(strings.Repeat("k", 32))
	token := key.Token(sessionID, 7, []byte("nonce"))
	parsed, err := domain.ParseRefreshToken(token.String())
	if err != nil || parsed != token {
		t.Fatalf("ParseRefreshToken(%q) = %+v, %v", token, parsed, err)
	}
	others := []domain.RefreshToken{
		key.Token(sessionID, 8, []byte("nonce")), key.Token(sessionID, 7, []byte("other")),
		domain.RefreshKey(strings.Repeat("l", 32)).Token(sessionID, 7, []byte("nonce")),
	}
	for _, other := range others {
		if other.Secret == token.Secret || other.Hash() == token.Hash() {
			t.Errorf("%v and %v share a secret", other, token)
		}
	}
}

func TestParseRefreshTokenRefuses(t *testing.T) {
	secret := strings.Repeat("A", 43)
	for _, raw := range []string{
		"", "r1", "r1...", "r2." + sessionID + ".1." + secret, "r1." + sessionID + ".0." + secret, "r1." + sessionID + ".-1." + secret,
		"r1." + sessionID + ".01." + secret, "r1." + sessionID + ".+1." + secret, "r1." + sessionID + ".1e3." + secret,
		"r1." + sessionID + ".9223372036854775808." + secret, "r1." + strings.ToUpper(sessionID) + ".1." + secret,
		"r1." + sessionID + ".1." + secret + "=", "r1." + sessionID + ".1." + secret[:42], "r1." + sessionID + ".1." + secret[:42] + "B",
		"r1." + sessionID + ".1." + secret[:42] + "+", "r1." + sessionID + ".1." + secret + ".", " r1." + sessionID + ".1." + secret,
		"r1.{192f0c1-2b3a-7c4d-8e5f-0123456789a}.1." + secret, "r1." + sessionID + ".1." + secret[:42] + "\n", strings.Repeat("r", 1<<16),
	} {
		if token, err := domain.ParseRefreshToken(raw); !errors.Is(err, domain.ErrRefreshToken) {
			t.Errorf("ParseRefreshToken(%q) = %+v, %v, want ErrRefreshToken", raw, token, err)
		}
	}
}

// What is accepted is exactly what String writes: one token has one text.
func FuzzParseRefreshToken(f *testing.F) {
	key := domain.RefreshKey(strings.Repeat("k", 32))
	f.Add(key.Token(sessionID, 1, nil).String())
	f.Add("r1." + sessionID + ".1.\n" + strings.Repeat("A", 42))
	f.Add("r1..1.")
	f.Fuzz(func(t *testing.T, raw string) {
		token, err := domain.ParseRefreshToken(raw)
		if err == nil && (token.String() != raw || token.Sequence < 1 || len(token.SessionID) != 36) {
			t.Fatalf("ParseRefreshToken(%q) = %+v", raw, token)
		}
		if err != nil && !errors.Is(err, domain.ErrRefreshToken) {
			t.Fatalf("ParseRefreshToken(%q) = %v", raw, err)
		}
	})
}
