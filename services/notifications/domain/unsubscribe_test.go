package domain_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"caravan/services/notifications/domain"
)

var (
	unsubscribeKey = []byte("0123456789abcdef0123456789abcdef")
	mailedAt       = time.Date(2026, 3, 1, 12, 0, 0, 5, time.UTC)
)

func unsubscribeOf(t testing.TB, kind string) domain.Unsubscribe {
	t.Helper()
	k, known := domain.KindNamed(kind)
	if !known {
		t.Fatalf("there is no kind %s", kind)
	}
	return domain.NewUnsubscribe("0190a5b2-user", k, domain.Email, mailedAt)
}

func TestUnsubscribeTokens(t *testing.T) {
	want := unsubscribeOf(t, "order-confirmed")
	token := want.Token(unsubscribeKey)
	if token != unsubscribeOf(t, "order-confirmed").Token(unsubscribeKey) {
		t.Error("the same message has another link")
	}
	if len(token) > 200 || strings.Trim(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
		t.Errorf("%q does not fit into a URL", token)
	}
	for name, c := range map[string]struct {
		token string
		key   []byte
		now   time.Time
		valid bool
	}{
		"at once":             {token, unsubscribeKey, mailedAt, true},
		"after eleven months": {token, unsubscribeKey, mailedAt.AddDate(0, 11, 0), true},
		"after two years":     {token, unsubscribeKey, mailedAt.AddDate(2, 0, 0), false},
		"at its end":          {token, unsubscribeKey, want.Until, false},
		"another key":         {token, bytes.Repeat([]byte("x"), 32), mailedAt, false},
		"no key":              {want.Token(nil), nil, mailedAt, false},
		"nothing":             {"", unsubscribeKey, mailedAt, false},
		"cut":                 {token[:len(token)-1], unsubscribeKey, mailedAt, false},
		"cut by half":         {token[:len(token)/2], unsubscribeKey, mailedAt, false},
		"longer":              {token + "A", unsubscribeKey, mailedAt, false},
		"too long":            {strings.Repeat("A", 4096), unsubscribeKey, mailedAt, false},
		"a line break":        {token[:8] + "\n" + token[8:], unsubscribeKey, mailedAt, false},
		"other text":          {"Ünsubscribe me!", unsubscribeKey, mailedAt, false},
	} {
		got, err := domain.ParseUnsubscribe(c.token, c.key, c.now)
		if (err == nil) != c.valid || err != nil && !errors.Is(err, domain.ErrUnsubscribe) || c.valid && got != want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// Each change of one bit makes a token invalid.
func TestUnsubscribeTokensCannotBeChanged(t *testing.T) {
	token := unsubscribeOf(t, "welcome").Token(unsubscribeKey)
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		for bit := range 8 {
			changed := bytes.Clone(raw)
			changed[i] ^= 1 << bit
			if u, err := domain.ParseUnsubscribe(base64.RawURLEncoding.EncodeToString(changed), unsubscribeKey, mailedAt); err == nil {
				t.Fatalf("with bit %d of byte %d changed it asks for %+v", bit, i, u)
			}
		}
	}
}

func TestUnsubscribeIsAboutWhatCanBeSwitchedOff(t *testing.T) {
	for name, c := range map[string]struct {
		unsubscribe domain.Unsubscribe
		valid       bool
	}{
		"a kind":                    {domain.Unsubscribe{Kind: "welcome", Channel: domain.Email}, true},
		"a kind of another version": {domain.Unsubscribe{Kind: "gossip", Channel: domain.Email}, false},
		"a channel of no kind":      {domain.Unsubscribe{Kind: "welcome", Channel: "fax"}, false},
	} {
		if k, err := c.unsubscribe.About(); (err == nil) != c.valid || c.valid && k.Name != c.unsubscribe.Kind {
			t.Errorf("%s: %+v, %v", name, k, err)
		}
	}
	for _, k := range domain.Kinds() {
		if _, err := (domain.Unsubscribe{Kind: k.Name, Channel: domain.Email}).About(); k.Fixed(domain.Email) && err == nil {
			t.Errorf("%s cannot be switched off, and its link is accepted", k.Name)
		}
	}
}

// FuzzParseUnsubscribe: no text is accepted that Token did not write, and none makes the parser fail in another way.
func FuzzParseUnsubscribe(f *testing.F) {
	valid := unsubscribeOf(f, "order-confirmed").Token(unsubscribeKey)
	for _, seed := range []string{"", valid, valid[:20], valid + "=", strings.ToUpper(valid), "AQAAAAAAAAAA", strings.Repeat("_", domain.UnsubscribeMax)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		u, err := domain.ParseUnsubscribe(token, unsubscribeKey, mailedAt)
		if err == nil && u.Token(unsubscribeKey) != token || err != nil && !errors.Is(err, domain.ErrUnsubscribe) {
			t.Errorf("%q: %+v, %v", token, u, err)
		}
	})
}
