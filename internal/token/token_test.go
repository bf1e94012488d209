package token

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"caravan/internal/problem"
)

// fakeClock stands still until the test moves it.
type fakeClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) Sleep(ctx context.Context, _ time.Duration) error { return ctx.Err() }

func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// fakeIssuer stands for the users service.
type fakeIssuer struct {
	private ed25519.PrivateKey
	clock   *fakeClock
	fetches atomic.Int32

	mu   sync.Mutex
	keys []Key
	err  error
}

func newFakeIssuer() *fakeIssuer {
	private := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	return &fakeIssuer{
		private: private, keys: []Key{{ID: "k1", Public: private.Public().(ed25519.PublicKey)}},
		clock: &fakeClock{now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)},
	}
}

func (i *fakeIssuer) fetch(context.Context) (KeySet, error) {
	i.fetches.Add(1)
	i.mu.Lock()
	defer i.mu.Unlock()
	return KeySet{Keys: i.keys}, i.err
}

func (i *fakeIssuer) set(err error, keys ...Key) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.err, i.keys = err, keys
}

func (i *fakeIssuer) verifier() *Verifier {
	return NewVerifier(i.fetch, "caravan", "caravan-api", i.clock)
}

func (i *fakeIssuer) claims() Claims {
	now := i.clock.Now()
	return Claims{
		Issuer: "caravan", Audience: "caravan-api", Subject: "user-1", ClientID: "caravan", SessionID: "s1", ID: "t1",
		IssuedAt: now, Expiry: now.Add(5 * time.Minute), AuthTime: now.Add(-time.Hour), Version: 3,
		Roles: []string{"staff"}, Permissions: []string{"catalog:write"},
	}
}

func (i *fakeIssuer) sign(t testing.TB, keyID string, c Claims) string {
	t.Helper()
	raw, err := Signer{KeyID: keyID, Key: i.private}.Sign(c)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// forge makes a token of any header and claims. The signature is valid unless the header names another key, so a
// refusal is about the header or the claims.
func (i *fakeIssuer) forge(header, body string) string {
	input := encode([]byte(header)) + "." + encode([]byte(body))
	return input + "." + encode(ed25519.Sign(i.private, []byte(input)))
}

func encode(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

func (i *fakeIssuer) body(t testing.TB, change map[string]any) string {
	t.Helper()
	data, err := i.claims().encode()
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]any
	if err := json.Unmarshal(data, &members); err != nil {
		t.Fatal(err)
	}
	for name, value := range change {
		members[name] = value
		if value == nil {
			delete(members, name)
		}
	}
	data, err = json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

const header1 = `{"alg":"EdDSA","kid":"k1","typ":"at+jwt"}`

func TestAGoodTokenSaysWhatWasSigned(t *testing.T) {
	i := newFakeIssuer()
	raw := i.sign(t, "k1", i.claims())
	header, err := base64.RawURLEncoding.DecodeString(raw[:strings.IndexByte(raw, '.')])
	if err != nil || string(header) != header1 {
		t.Errorf("the header is %s, %v", header, err)
	}
	v := i.verifier()
	for range 2 { // the second time from the cache
		got, err := v.Verify(context.Background(), raw)
		if err != nil || !reflect.DeepEqual(got, i.claims()) {
			t.Errorf("got %+v, %v", got, err)
		}
		if !got.Can("catalog:write") || got.Can("catalog") || got.Can("") {
			t.Error("the permissions are wrong")
		}
	}
	if _, err := v.Verify(context.Background(), i.forge(header1, i.body(t, map[string]any{"new_claim": []int{1}}))); err != nil {
		t.Errorf("a claim that a newer issuer added is refused: %v", err)
	}
}

func TestAttacksAreRefused(t *testing.T) {
	i := newFakeIssuer()
	raw := i.sign(t, "k1", i.claims())
	parts := strings.Split(raw, ".")
	public := i.private.Public().(ed25519.PublicKey)
	other := ed25519.NewKeyFromSeed([]byte("another seed of thirty-two bytes"))
	foreign, err := Signer{KeyID: "k1", Key: other}.Sign(i.claims())
	if err != nil {
		t.Fatal(err)
	}
	mac := func(header string) string {
		input := encode([]byte(header)) + "." + parts[1]
		h := hmac.New(sha256.New, public)
		h.Write([]byte(input))
		return input + "." + encode(h.Sum(nil))
	}
	jwk := fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","x":%q}`, encode(other.Public().(ed25519.PublicKey)))
	body := i.body(t, nil)
	tampered := []byte(parts[2])
	tampered[10] ^= 1
	loose := parts[2][:len(parts[2])-1] + string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", parts[2][len(parts[2])-1])|1])

	attacks := map[string]string{
		"nothing":                      "",
		"not a token":                  "hello",
		"two parts":                    parts[0] + "." + parts[1],
		"four parts":                   raw + ".x",
		"five parts (encrypted)":       raw + ".x.y",
		"more than 4 KB":               raw + strings.Repeat("A", MaxLength),
		"alg none":                     encode([]byte(`{"alg":"none","kid":"k1","typ":"at+jwt"}`)) + "." + parts[1] + ".",
		"alg none, other case":         i.forge(`{"alg":"nOnE","kid":"k1","typ":"at+jwt"}`, body),
		"no signature":                 parts[0] + "." + parts[1] + ".",
		"HS256 with the public key":    mac(`{"alg":"HS256","kid":"k1","typ":"at+jwt"}`),
		"EdDSA over a MAC":             mac(header1),
		"another algorithm":            i.forge(`{"alg":"ES256","kid":"k1","typ":"at+jwt"}`, body),
		"another key":                  foreign,
		"the key in the header":        i.forge(`{"alg":"EdDSA","kid":"k1","typ":"at+jwt","jwk":`+jwk+`}`, body),
		"the key behind a link":        i.forge(`{"alg":"EdDSA","kid":"k1","typ":"at+jwt","jku":"https://evil.example/keys"}`, body),
		"a certificate in the header":  i.forge(`{"alg":"EdDSA","kid":"k1","typ":"at+jwt","x5c":["AA=="]}`, body),
		"a critical extension":         i.forge(`{"alg":"EdDSA","kid":"k1","typ":"at+jwt","crit":["b64"],"b64":false}`, body),
		"compressed":                   i.forge(`{"alg":"EdDSA","kid":"k1","typ":"at+jwt","zip":"DEF"}`, body),
		"any other member":             i.forge(`{"alg":"EdDSA","kid":"k1","typ":"at+jwt","x":1}`, body),
		"a repeated member":            i.forge(`{"alg":"none","alg":"EdDSA","kid":"k1","typ":"at+jwt"}`, body),
		"members in other case":        i.forge(`{"Alg":"EdDSA","kid":"k1","typ":"at+jwt"}`, body),
		"no alg":                       i.forge(`{"kid":"k1","typ":"at+jwt"}`, body),
		"no kid":                       i.forge(`{"alg":"EdDSA","typ":"at+jwt"}`, body),
		"empty kid":                    i.forge(`{"alg":"EdDSA","kid":"","typ":"at+jwt"}`, body),
		"kid of another type":          i.forge(`{"alg":"EdDSA","kid":1,"typ":"at+jwt"}`, body),
		"kid as a path":                i.forge(`{"alg":"EdDSA","kid":"../../dev/null","typ":"at+jwt"}`, body),
		"no typ":                       i.forge(`{"alg":"EdDSA","kid":"k1"}`, body),
		"an ID token":                  i.forge(`{"alg":"EdDSA","kid":"k1","typ":"JWT"}`, body),
		"typ in other case":            i.forge(`{"alg":"EdDSA","kid":"k1","typ":"AT+JWT"}`, body),
		"typ in its long form":         i.forge(`{"alg":"EdDSA","kid":"k1","typ":"application/at+jwt"}`, body),
		"a header that is no object":   i.forge(`[]`, body),
		"a padded header":              base64.URLEncoding.EncodeToString([]byte(header1+" ")) + "." + parts[1] + "." + parts[2],
		"tampered signature":           parts[0] + "." + parts[1] + "." + string(tampered),
		"another spelling of the same": parts[0] + "." + parts[1] + "." + loose,
		"tampered claims":              parts[0] + "." + encode([]byte(i.body(t, map[string]any{"sub": "admin"}))) + "." + parts[2],
		"a space after it":             raw + " ",
		"a line break in it":           parts[0] + "." + parts[1] + "\n." + parts[2],
		"the JSON form":                `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"claims that are no object":    i.forge(header1, `[]`),
		"claims that are no JSON":      i.forge(header1, `{`),
		"repeated claims":              i.forge(header1, strings.Replace(body, `{`, `{"sub":"admin",`, 1)),
		"another issuer":               i.forge(header1, i.body(t, map[string]any{"iss": "evil"})),
		"another audience":             i.forge(header1, i.body(t, map[string]any{"aud": "other-api"})),
		"several audiences":            i.forge(header1, i.body(t, map[string]any{"aud": []string{"caravan-api", "other-api"}})),
		"no issuer":                    i.forge(header1, i.body(t, map[string]any{"iss": nil})),
		"no audience":                  i.forge(header1, i.body(t, map[string]any{"aud": nil})),
		"no subject":                   i.forge(header1, i.body(t, map[string]any{"sub": nil})),
		"no client":                    i.forge(header1, i.body(t, map[string]any{"client_id": nil})),
		"no id":                        i.forge(header1, i.body(t, map[string]any{"jti": nil})),
		"no time of issue":             i.forge(header1, i.body(t, map[string]any{"iat": nil})),
		"no expiry":                    i.forge(header1, i.body(t, map[string]any{"exp": nil})),
		"a far expiry as text":         i.forge(header1, i.body(t, map[string]any{"exp": "9999999999"})),
		"an expiry out of range":       i.forge(header1, strings.Replace(body, `"exp":`, `"exp":1e30,"x":`, 1)),
		"issued in the future":         i.forge(header1, i.body(t, map[string]any{"iat": i.clock.Now().Add(Leeway + time.Second).Unix()})),
		"not valid yet":                i.forge(header1, i.body(t, map[string]any{"nbf": i.clock.Now().Add(Leeway + time.Second).Unix()})),
		"expired when it was issued":   i.forge(header1, i.body(t, map[string]any{"exp": i.clock.Now().Unix()})),
	}
	for name, attack := range attacks {
		t.Run(name, func(t *testing.T) {
			c, err := i.verifier().Verify(context.Background(), attack)
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("got %+v, %v", c, err)
			}
			if p := problem.From(err); p.Status != 401 {
				t.Errorf("the client is told %v", p)
			}
			if attack != "" && strings.Contains(err.Error(), attack) {
				t.Error("the error has the token in it")
			}
		})
	}
}

func TestAnExpiredTokenIsExpiredAlsoInTheCache(t *testing.T) {
	i := newFakeIssuer()
	v, raw := i.verifier(), i.sign(t, "k1", i.claims())
	for _, step := range []struct {
		advance time.Duration
		want    error
	}{{0, nil}, {5*time.Minute - time.Second, nil}, {Leeway, nil}, {time.Second, ErrExpired}} {
		i.clock.advance(step.advance)
		if _, err := v.Verify(context.Background(), raw); !errors.Is(err, step.want) {
			t.Errorf("after %s more: %v", step.advance, err)
		}
	}
	_, err := v.Verify(context.Background(), raw)
	if p := problem.From(err); p.Status != 401 {
		t.Errorf("the client is told %v", p)
	}
}

func TestAWithdrawnKeyIsFeltWithinTheCaches(t *testing.T) {
	i := newFakeIssuer()
	c := i.claims()
	c.Expiry = c.IssuedAt.Add(time.Hour)
	v, raw := i.verifier(), i.sign(t, "k1", c)
	if _, err := v.Verify(context.Background(), raw); err != nil {
		t.Fatal(err)
	}
	other := ed25519.NewKeyFromSeed([]byte("another seed of thirty-two bytes"))
	i.set(nil, Key{ID: "k2", Public: other.Public().(ed25519.PublicKey)})
	i.clock.advance(keysFresh + time.Second)
	if _, err := v.Verify(context.Background(), raw); !errors.Is(err, ErrInvalid) {
		t.Errorf("the error is %v", err)
	}
}

func TestUnknownKeysFetchAtMostOncePerHalfMinute(t *testing.T) {
	i := newFakeIssuer()
	v := i.verifier()
	if _, err := v.Verify(context.Background(), i.sign(t, "k1", i.claims())); err != nil {
		t.Fatal(err)
	}
	for n := range 100 {
		if _, err := v.Verify(context.Background(), i.sign(t, fmt.Sprintf("made-up-%d", n), i.claims())); !errors.Is(err, ErrInvalid) {
			t.Fatal(err)
		}
	}
	if n := i.fetches.Load(); n != 1 {
		t.Errorf("right after the first fetch there were %d", n)
	}
	i.clock.advance(keysRefresh)
	for n := range 100 {
		_, _ = v.Verify(context.Background(), i.sign(t, fmt.Sprintf("made-up-%d", n), i.claims()))
	}
	if n := i.fetches.Load(); n != 2 {
		t.Errorf("half a minute later there were %d", n)
	}
	// The issuer begins to sign with a new key. The next refresh finds it.
	i.set(nil, i.keys[0], Key{ID: "k2", Public: i.keys[0].Public})
	i.clock.advance(keysRefresh)
	if _, err := v.Verify(context.Background(), i.sign(t, "k2", i.claims())); err != nil {
		t.Errorf("a new key is not found: %v", err)
	}
}

func TestAnIssuerThatIsAwayIsA503AndOldKeysGoOnForAnHour(t *testing.T) {
	i := newFakeIssuer()
	away := errors.New("connection refused")
	v := i.verifier()
	fresh := func() string {
		c := i.claims()
		c.ID = i.clock.Now().String()
		return i.sign(t, "k1", c)
	}
	i.set(away)
	for range 10 {
		_, err := v.Verify(context.Background(), fresh())
		if p := problem.From(err); !errors.Is(err, ErrKeysUnavailable) || p.Status != 503 || p.RetryAfter <= 0 {
			t.Fatalf("the error is %v, the client is told %v", err, p)
		}
	}
	if n := i.fetches.Load(); n != 1 {
		t.Errorf("there were %d fetches at once", n)
	}
	i.set(nil, Key{ID: "k1", Public: i.private.Public().(ed25519.PublicKey)})
	i.clock.advance(keysRetry)
	if _, err := v.Verify(context.Background(), fresh()); err != nil {
		t.Fatalf("the issuer is back: %v", err)
	}
	i.set(away)
	for at := time.Duration(0); at < keysUsable-time.Minute; at += time.Minute {
		i.clock.advance(time.Minute)
		if _, err := v.Verify(context.Background(), fresh()); err != nil {
			t.Fatalf("after %s without the issuer: %v", at, err)
		}
	}
	i.clock.advance(time.Minute + time.Second)
	if _, err := v.Verify(context.Background(), fresh()); !errors.Is(err, ErrKeysUnavailable) {
		t.Errorf("after more than an hour: %v", err)
	}
	i.set(nil)
	i.clock.advance(time.Minute)
	if _, err := v.Verify(context.Background(), fresh()); !errors.Is(err, ErrKeysUnavailable) {
		t.Errorf("an empty key set was taken for an answer: %v", err)
	}
}

func TestManyCallersShareOneFetch(t *testing.T) {
	i := newFakeIssuer()
	entered, release := make(chan struct{}), make(chan struct{})
	v := NewVerifier(func(ctx context.Context) (KeySet, error) {
		close(entered) // a second fetch would panic
		<-release
		return i.fetch(ctx)
	}, "caravan", "caravan-api", i.clock)
	raw := i.sign(t, "k1", i.claims())
	first, cancel := context.WithCancel(context.Background())
	errs := make(chan error, 20)
	go func() { _, err := v.Verify(first, raw); errs <- err }()
	<-entered
	cancel() // the caller that fetches goes away; the others still get the result
	waiting, giveUp := context.WithCancel(context.Background())
	giveUp()
	if _, err := v.Verify(waiting, raw); !errors.Is(err, context.Canceled) {
		t.Errorf("who does not wait gets %v", err)
	}
	for range 19 {
		go func() { _, err := v.Verify(context.Background(), raw); errs <- err }()
	}
	close(release)
	for range 20 {
		if err := <-errs; err != nil {
			t.Errorf("the error is %v", err)
		}
	}
}

func TestAFetchThatPanicsLeavesNobodyWaiting(t *testing.T) {
	i := newFakeIssuer()
	v := NewVerifier(func(context.Context) (KeySet, error) { panic("boom") }, "caravan", "caravan-api", i.clock)
	raw := i.sign(t, "k1", i.claims())
	func() {
		defer func() { _ = recover() }()
		_, _ = v.Verify(context.Background(), raw)
	}()
	if _, err := v.Verify(context.Background(), raw); !errors.Is(err, ErrKeysUnavailable) {
		t.Errorf("the error is %v", err)
	}
}

func TestTheCacheIsBounded(t *testing.T) {
	v := newVerified()
	now := time.Unix(1000, 0)
	for n := range 5 * verifiedMax {
		v.put(sha256.Sum256(fmt.Append(nil, n)), Claims{Expiry: now.Add(time.Hour)}, now)
	}
	if n := len(v.young) + len(v.old); n > 2*verifiedMax {
		t.Errorf("it holds %d verdicts", n)
	}
	last := sha256.Sum256(fmt.Append(nil, 5*verifiedMax-1))
	if _, ok := v.get(last, now.Add(verifiedFor-time.Second)); !ok {
		t.Error("the latest verdict is gone")
	}
	if _, ok := v.get(last, now.Add(verifiedFor)); ok {
		t.Error("a verdict is older than its time")
	}
}

func TestAKeySetSurvivesTheWire(t *testing.T) {
	i := newFakeIssuer()
	want := KeySet{Keys: i.keys}
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), `"d"`) {
		t.Error("the private key is in it")
	}
	var got KeySet
	if err := json.Unmarshal(data, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("it became %+v, %v", got, err)
	}
	x := encode(i.keys[0].Public)
	foreign := `{"keys":[
		{"kty":"oct","k":"c2VjcmV0","kid":"mac","alg":"HS256"},
		{"kty":"OKP","crv":"Ed25519","x":"` + x + `"},
		{"kty":"OKP","crv":"Ed25519","x":"` + x + `","kid":"enc","use":"enc"},
		{"kty":"OKP","crv":"Ed25519","x":"` + x + `","kid":"k1","use":"sig","alg":"EdDSA"}]}`
	if err := json.Unmarshal([]byte(foreign), &got); err != nil || len(got.Keys) != 1 || got.Keys[0].ID != "k1" {
		t.Errorf("of the foreign keys %+v were kept, %v", got, err)
	}
	twice := `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"` + x + `","kid":"k1"},{"kty":"OKP","crv":"Ed25519","x":"` + x + `","kid":"k1"}]}`
	if err := json.Unmarshal([]byte(twice), &got); err == nil {
		t.Error("two keys of one id were accepted")
	}
}

func TestAnIncompleteTokenIsNotSigned(t *testing.T) {
	i := newFakeIssuer()
	c := i.claims()
	c.Subject = ""
	if raw, err := (Signer{KeyID: "k1", Key: i.private}).Sign(c); err == nil {
		t.Errorf("signed %s", raw)
	}
}

func FuzzVerify(f *testing.F) {
	i := newFakeIssuer()
	f.Add(i.sign(f, "k1", i.claims()))
	f.Add(i.forge(header1, `{}`))
	f.Add(i.forge(`{"alg":"none"}`, i.body(f, nil)))
	f.Add("..")
	v := i.verifier()
	good := i.sign(f, "k1", i.claims())
	f.Fuzz(func(t *testing.T, raw string) {
		c, err := v.Verify(context.Background(), raw)
		switch {
		case err == nil && (raw != good || c.Subject != "user-1"):
			t.Errorf("%q was accepted as %+v", raw, c)
		case err != nil && !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrExpired):
			t.Errorf("%q was refused with %v", raw, err)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	i := newFakeIssuer()
	raw := i.sign(b, "k1", i.claims())
	b.Run("known", func(b *testing.B) {
		v := i.verifier()
		for b.Loop() {
			if _, err := v.Verify(context.Background(), raw); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("new", func(b *testing.B) {
		v := i.verifier()
		for b.Loop() {
			v.verified = newVerified()
			if _, err := v.Verify(context.Background(), raw); err != nil {
				b.Fatal(err)
			}
		}
	})
}
