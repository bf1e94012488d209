package domain_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"caravan/internal/document"
	"caravan/services/users/contract"
	"caravan/services/users/domain"
)

var (
	start  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	key    = domain.RefreshKey(strings.Repeat("k", 32))
	policy = domain.SessionPolicy{Idle: 7 * 24 * time.Hour, Absolute: 30 * 24 * time.Hour, Grace: 20 * time.Second}
)

func open(t interface{ Fatalf(string, ...any) }) (*domain.Session, domain.RefreshToken) {
	var session domain.Session
	first, err := session.Open(domain.NewSession{ID: sessionID, UserID: "u", Nonce: []byte("0123456789abcdef")}, key, policy, start)
	if err != nil {
		t.Fatalf("opening: %v", err)
	}
	return &session, first
}

func TestSessionRotate(t *testing.T) {
	other := domain.RefreshKey(strings.Repeat("o", 32))
	tests := map[string]struct {
		rotations int // already made, a minute apart
		presented func(tokens []domain.RefreshToken) domain.RefreshToken
		after     time.Duration // since the last rotation
		key       domain.RefreshKey
		want      domain.Rotation
	}{
		"newest":                        {0, newest, time.Minute, key, domain.Rotated},
		"newest after some":             {3, newest, time.Minute, key, domain.Rotated},
		"newest just before idle":       {0, newest, policy.Idle - 1, key, domain.Rotated},
		"newest when idle":              {0, newest, policy.Idle, key, domain.Refused},
		"previous within grace":         {3, older(1), policy.Grace, key, domain.Repeated},
		"previous after grace":          {3, older(1), policy.Grace + 1, key, domain.Reused},
		"before previous within grace":  {3, older(2), time.Second, key, domain.Reused},
		"first of many":                 {9, older(9), time.Second, key, domain.Reused},
		"future":                        {1, forged(5), time.Second, key, domain.Refused},
		"forged newest":                 {1, forged(2), time.Second, key, domain.Refused},
		"forged previous":               {1, forged(1), time.Second, key, domain.Refused},
		"forged old":                    {5, forged(1), time.Second, key, domain.Refused},
		"newest after key change":       {1, newest, time.Second, other, domain.Rotated},
		"previous after key change":     {1, older(1), time.Second, other, domain.Refused},
		"previous, late, after change":  {1, older(1), time.Minute, other, domain.Reused},
		"of another session":            {1, foreign, time.Second, key, domain.Refused},
		"old one when the session idle": {3, older(2), policy.Idle, key, domain.Refused},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			session, first := open(t)
			tokens, now := []domain.RefreshToken{first}, start
			for range test.rotations {
				now = now.Add(time.Minute)
				next, rotation := session.Rotate(tokens[len(tokens)-1], key, policy, now)
				if rotation != domain.Rotated {
					t.Fatalf("rotating: %v", rotation)
				}
				tokens = append(tokens, next)
			}
			before := text(t, session)
			next, rotation := session.Rotate(test.presented(tokens), test.key, policy, now.Add(test.after))
			if rotation != test.want {
				t.Fatalf("Rotate = %v, want %v", rotation, test.want)
			}
			if changed := text(t, session) != before; changed != (rotation == domain.Rotated || rotation == domain.Reused) {
				t.Errorf("changed is %v after %v", changed, rotation)
			}
			if rotation == domain.Repeated && next != tokens[len(tokens)-1] {
				t.Errorf("repeated %v, want the newest token", next)
			}
			if rotation == domain.Reused && (session.Status != domain.SessionRevoked || len(session.Timeline) != 1) {
				t.Errorf("status %s with %d events after reuse", session.Status, len(session.Timeline))
			}
		})
	}
}

func newest(tokens []domain.RefreshToken) domain.RefreshToken { return tokens[len(tokens)-1] }

func older(by int) func([]domain.RefreshToken) domain.RefreshToken {
	return func(tokens []domain.RefreshToken) domain.RefreshToken { return tokens[len(tokens)-1-by] }
}

func forged(sequence int64) func([]domain.RefreshToken) domain.RefreshToken {
	return func([]domain.RefreshToken) domain.RefreshToken {
		return domain.RefreshToken{SessionID: sessionID, Sequence: sequence, Secret: strings.Repeat("A", 43)}
	}
}

func foreign(tokens []domain.RefreshToken) domain.RefreshToken {
	token := newest(tokens)
	token.SessionID = "0192f0c1-2b3a-7c4d-8e5f-ffffffffffff"
	return token
}

func text(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestSessionStoresNoSecret(t *testing.T) {
	session, first := open(t)
	second, _ := session.Rotate(first, key, policy, start)
	stored := text(t, session)
	for _, secret := range []string{first.Secret, second.Secret, string(key)} {
		if strings.Contains(stored, secret) {
			t.Errorf("the document holds a secret")
		}
	}
}

func TestSessionEndsAbsolutely(t *testing.T) {
	session, token := open(t)
	now := start
	for now.Before(start.Add(policy.Absolute)) {
		next, rotation := session.Rotate(token, key, policy, now)
		if rotation != domain.Rotated {
			t.Fatalf("at %s: %v", now.Sub(start), rotation)
		}
		token, now = next, now.Add(policy.Idle-time.Hour)
	}
	if _, rotation := session.Rotate(token, key, policy, now); rotation != domain.Refused {
		t.Errorf("after %s: %v, want Refused", now.Sub(start), rotation)
	}
	session, token = open(t)
	short := domain.SessionPolicy{Idle: 30 * time.Minute, Absolute: 12 * time.Hour, Grace: policy.Grace}
	if _, rotation := session.Rotate(token, key, short, start.Add(time.Hour)); rotation != domain.Rotated {
		t.Fatalf("promoted: %v", rotation)
	}
	if want := start.Add(12 * time.Hour); session.Until != want || session.IdleUntil != start.Add(90*time.Minute) {
		t.Errorf("promoted account's session lives until %s, idle %s", session.Until, session.IdleUntil)
	}
}

func TestSessionRepeats(t *testing.T) {
	session, first := open(t)
	again, err := session.Open(domain.NewSession{ID: sessionID, UserID: "u", Nonce: session.Nonce}, key, policy, start.Add(time.Second))
	if !errors.Is(err, document.ErrUnchanged) || again != first {
		t.Errorf("opening again = %v, %v", again, err)
	}
	if err := session.Revoke(contract.RevokedLoggedOut, start); err != nil {
		t.Fatal(err)
	}
	if err := session.Revoke(contract.RevokedReuse, start); !errors.Is(err, document.ErrUnchanged) {
		t.Errorf("revoking again = %v", err)
	}
	if session.RevokedReason != contract.RevokedLoggedOut || len(session.Timeline) != 1 {
		t.Errorf("reason %s with %d events", session.RevokedReason, len(session.Timeline))
	}
}

// Whatever clients, thieves and lost answers do: at most one token ever moves the session on, a repeated answer is
// that token and no other, presenting an authentic older token ends the family, and an ended family stays ended.
func TestSessionFamilyStateMachine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		session, first := open(t)
		tokens, now := []domain.RefreshToken{first}, start // every token ever given out, by sequence
		revoked, rotatedAt := false, start
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) { checkFamily(t, session, tokens, now, revoked) },
			"wait": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.Int64Range(0, int64(40*time.Second)).Draw(t, "wait")))
			},
			"present": func(t *rapid.T) {
				behind := rapid.IntRange(0, min(len(tokens)-1, 3)).Draw(t, "behind")
				next, rotation := session.Rotate(tokens[len(tokens)-1-behind], key, policy, now)
				switch want := expected(behind, revoked, now.Sub(rotatedAt)); {
				case rotation != want:
					t.Fatalf("presenting %d behind = %v, want %v", behind, rotation, want)
				case rotation == domain.Rotated:
					tokens, rotatedAt = append(tokens, next), now
				case rotation == domain.Repeated && next != tokens[len(tokens)-1]:
					t.Fatalf("repeated answer is a second successor")
				case rotation == domain.Reused:
					revoked = true
				}
			},
			"forge": func(t *rapid.T) {
				sequence := rapid.Int64Range(1, int64(len(tokens))+2).Draw(t, "sequence")
				guess := domain.RefreshKey(strings.Repeat("g", 32)).Token(sessionID, sequence, session.Nonce)
				if _, rotation := session.Rotate(guess, key, policy, now); rotation != domain.Refused {
					t.Fatalf("forged token: %v", rotation)
				}
			},
			"log out": func(t *rapid.T) {
				if rapid.IntRange(0, 20).Draw(t, "seldom") == 0 {
					_ = session.Revoke(contract.RevokedLoggedOut, now)
					revoked = true
				}
			},
		})
	})
}

func expected(behind int, revoked bool, sinceRotation time.Duration) domain.Rotation {
	switch {
	case revoked:
		return domain.Refused
	case behind == 0:
		return domain.Rotated
	case behind == 1 && sinceRotation <= policy.Grace:
		return domain.Repeated
	default:
		return domain.Reused
	}
}

// checkFamily tries every token ever given out on a copy of the session.
func checkFamily(t *rapid.T, session *domain.Session, tokens []domain.RefreshToken, now time.Time, revoked bool) {
	movers := 0
	for _, token := range tokens {
		attempt := *session
		attempt.Timeline = slices.Clone(session.Timeline)
		next, rotation := attempt.Rotate(token, key, policy, now)
		if rotation == domain.Rotated {
			movers++
			if slices.Contains(tokens, next) {
				t.Fatalf("a successor equals an earlier token")
			}
		}
	}
	if revoked && movers != 0 || !revoked && movers != 1 {
		t.Fatalf("%d tokens move the session on; revoked: %v", movers, revoked)
	}
	if events := len(session.Timeline); revoked != (events == 1) || events > 1 {
		t.Fatalf("%d events; revoked: %v", events, revoked)
	}
}
