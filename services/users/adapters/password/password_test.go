package password_test

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"testing"

	"caravan/services/users/adapters/password"
)

// cheap are the least parameters, so that tests are fast.
// standard are the defaults of the configuration: OWASP's parameters of least memory, about 31 ms on one core.
var standard = password.Parameters{Memory: 19456, Iterations: 2, Parallelism: 1}

var cheap = password.Parameters{Memory: 8, Iterations: 1, Parallelism: 1}

func TestHasher(t *testing.T) {
	hasher, err := password.New(cheap, 2, 2, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	first, err := hasher.Hash(t.Context(), "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	second, err := hasher.Hash(t.Context(), "correct horse")
	if err != nil || first == second {
		t.Errorf("two hashes of one password are equal: %v, %v", first == second, err)
	}
	costlier, err := password.New(password.Parameters{Memory: 16, Iterations: 2, Parallelism: 1}, 1, 1, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		hasher            *password.Hasher
		encoded, password string
		match, outdated   bool
	}{
		"right":        {hasher, first, "correct horse", true, false},
		"wrong":        {hasher, first, "Correct horse", false, false},
		"nobody":       {hasher, "", "", false, false},
		"nobody twice": {hasher, "", "correct horse", false, false},
		"outdated":     {costlier, first, "correct horse", true, true},
	} {
		verdict, err := test.hasher.Verify(t.Context(), test.encoded, test.password)
		if err != nil || verdict.Match != test.match || verdict.Outdated != test.outdated {
			t.Errorf("%s: %+v, %v", name, verdict, err)
		}
	}
	if _, err := hasher.Verify(t.Context(), "$2y$10$abc", "x"); err == nil {
		t.Error("a foreign hash is accepted")
	}
}

func TestHashStatesItsParameters(t *testing.T) {
	hasher, err := password.New(standard, 1, 0, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := hasher.Hash(t.Context(), "x")
	if err != nil || !strings.HasPrefix(encoded, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("Hash = %q, %v", encoded, err)
	}
}

// Of many at once one is served, one waits, and the rest are turned away rather than queued without end.
func TestHasherIsBounded(t *testing.T) {
	slow := password.Parameters{Memory: 32 << 10, Iterations: 3, Parallelism: 1}
	hasher, err := password.New(slow, 1, 1, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const callers = 12
	var (
		group   sync.WaitGroup
		mu      sync.Mutex
		outcome = map[string]int{}
	)
	begin := make(chan struct{})
	for range callers {
		group.Go(func() {
			<-begin
			_, err := hasher.Verify(t.Context(), "", "x")
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				outcome["done"]++
			case errors.Is(err, password.ErrBusy):
				outcome["busy"]++
			default:
				t.Errorf("Verify: %v", err)
			}
		})
	}
	close(begin)
	group.Wait()
	if outcome["done"] < 1 || outcome["busy"] < 1 || outcome["done"]+outcome["busy"] != callers {
		t.Errorf("of %d callers: %v", callers, outcome)
	}
	if _, err := hasher.Verify(t.Context(), "", "x"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestHasherGivesUpWithItsCaller(t *testing.T) {
	hasher, err := password.New(password.Parameters{Memory: 64 << 10, Iterations: 4, Parallelism: 1}, 1, 4, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var group sync.WaitGroup
	errs := make(chan error, 4)
	for range 4 {
		group.Go(func() {
			_, err := hasher.Verify(ctx, "", "x")
			errs <- err
		})
	}
	group.Wait()
	close(errs)
	for err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("Verify: %v", err)
		}
	}
}

func TestParse(t *testing.T) {
	const good = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$dGFndGFndGFndGFndGFndGFndGFndGFndGFndGFndGE"
	hash, err := password.Parse(good)
	if err != nil || hash.String() != good || hash.Parameters != standard {
		t.Fatalf("Parse = %+v, %v", hash, err)
	}
	for _, bad := range []string{
		"", "$", "argon2id", good[1:], good + "$", good + "=", strings.Replace(good, "argon2id", "argon2i", 1),
		strings.Replace(good, "v=19", "v=16", 1), strings.Replace(good, "m=19456", "m=019456", 1),
		strings.Replace(good, "m=19456", "m=4294967295", 1), strings.Replace(good, "m=19456", "m=7", 1),
		strings.Replace(good, "t=2", "t=0", 1), strings.Replace(good, "t=2", "t=1000", 1), strings.Replace(good, "p=1", "p=255", 1),
		strings.Replace(good, "m=19456,t=2", "t=2,m=19456", 1), strings.Replace(good, "t=2", "t=+2", 1),
		strings.Replace(good, "c2FsdHNhbHRzYWx0c2FsdA", "c2FsdA", 1), strings.Replace(good, "c2FsdHNhbHRzYWx0c2FsdA", "c2FsdHNhbHRzYWx0c2FsdB", 1),
		strings.Replace(good, "dGFn", "dGF\n", 1), strings.Repeat("a", 1000),
	} {
		if hash, err := password.Parse(bad); err == nil {
			t.Errorf("Parse(%q) = %+v, want a refusal", bad, hash)
		}
	}
}

// What is accepted has one spelling and stays within the bounds.
func FuzzParse(f *testing.F) {
	f.Add("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$dGFndGFndGFndGFndGFndGFndGFndGFndGFndGFndGE")
	f.Add("$argon2id$v=19$m=8,t=1,p=1$$")
	f.Fuzz(func(t *testing.T, encoded string) {
		hash, err := password.Parse(encoded)
		if err != nil {
			return
		}
		if hash.String() != encoded || hash.Check() != nil || len(hash.Salt) > 64 || len(hash.Tag) > 64 {
			t.Fatalf("Parse(%q) = %+v", encoded, hash)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	hasher, err := password.New(standard, 1, 0, rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := hasher.Verify(b.Context(), "", "x"); err != nil {
			b.Fatal(err)
		}
	}
}
