package limit

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"caravan/internal/clock"
)

// fakeClock is a clock that moves only when the test moves it.
type fakeClock struct{ ns atomic.Int64 }

func (c *fakeClock) Now() time.Time                             { return time.Unix(0, c.ns.Load()).UTC() }
func (c *fakeClock) Sleep(context.Context, time.Duration) error { return nil }
func (c *fakeClock) advance(d time.Duration)                    { c.ns.Add(int64(d)) }

var _ clock.Clock = (*fakeClock)(nil)

func newLimiter(t testing.TB, clk clock.Clock, policies ...Policy) *Limiter {
	t.Helper()
	l, err := New(policies, 1024, clk)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestQuotaIsSpentAtOnceAndComesBackSteadily(t *testing.T) {
	clk := &fakeClock{}
	c := newLimiter(t, clk, Policy{"login", 5, 10 * time.Second}).Class("login")
	key := Address(netip.MustParseAddr("192.0.2.1"))
	for i := range 5 {
		if d := c.Take(key); !d.Allowed || d.Remaining != int64(4-i) || d.RetryAfter() != 0 {
			t.Fatalf("request %d: %+v", i, d)
		}
	}
	d := c.Take(key)
	if d.Allowed || d.Remaining != 0 || d.RetryAfter() != 2*time.Second || d.Field() != `"login";r=0;t=2` || d.Policy()[0] != `"login";q=5;w=10` {
		t.Fatalf("got %+v, %s, %s", d, d.Field(), d.Policy())
	}
	clk.advance(d.Reset)
	if d := c.Take(key); !d.Allowed {
		t.Fatalf("after waiting as told: %+v", d)
	}
	if d := c.Take(key); d.Allowed {
		t.Fatal("only one came back")
	}
	clk.advance(time.Hour)
	if d := c.Take(key); d.Remaining != 4 {
		t.Fatalf("after an hour: %+v", d)
	}
}

func TestCallersAndClassesAreCountedApart(t *testing.T) {
	l := newLimiter(t, &fakeClock{}, Policy{"a", 1, time.Minute}, Policy{"b", 1, time.Minute})
	one, two := Address(netip.MustParseAddr("192.0.2.1")), Address(netip.MustParseAddr("192.0.2.2"))
	if !l.Class("a").Take(one).Allowed || l.Class("a").Take(one).Allowed || !l.Class("a").Take(two).Allowed || !l.Class("b").Take(one).Allowed {
		t.Error("callers or classes share a count")
	}
	if !l.Class("a").Take(l.Subject("u1")).Allowed || !l.Class("a").Take(l.Subject("u2")).Allowed || l.Class("a").Take(l.Subject("u1")).Allowed {
		t.Error("subjects share a count")
	}
	if l.Class("missing") != nil {
		t.Error("an unknown class exists")
	}
}

func TestAddress(t *testing.T) {
	same := [][2]string{{"192.0.2.1", "::ffff:192.0.2.1"}, {"2001:db8:1:2::1", "2001:db8:1:2:ffff::9"}}
	for _, pair := range same {
		if Address(netip.MustParseAddr(pair[0])) != Address(netip.MustParseAddr(pair[1])) {
			t.Errorf("%s and %s are two callers", pair[0], pair[1])
		}
	}
	if Address(netip.MustParseAddr("2001:db8:1:2::1")) == Address(netip.MustParseAddr("2001:db8:1:3::1")) {
		t.Error("two networks are one caller")
	}
}

func TestMemoryIsBoundedAndNobodyNewIsRefused(t *testing.T) {
	clk := &fakeClock{}
	c := newLimiter(t, clk, Policy{"a", 10, time.Minute}).Class("a")
	for i := range 100_000 {
		var key Key
		binary.LittleEndian.PutUint64(key[:], uint64(i)*0x9e3779b97f4a7c15)
		if d := c.Take(key); !d.Allowed {
			t.Fatalf("caller %d was refused", i)
		}
	}
	if n := c.limiter.Callers(); n > 1024 {
		t.Errorf("%d callers are remembered", n)
	}
}

func TestConcurrentCallersNeverExceedTheQuota(t *testing.T) {
	c := newLimiter(t, &fakeClock{}, Policy{"a", 100, time.Minute}).Class("a")
	var allowed atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				if c.Take(Key{1}).Allowed {
					allowed.Add(1)
				}
			}
		})
	}
	all.Wait()
	if allowed.Load() != 100 {
		t.Errorf("%d were allowed, want 100", allowed.Load())
	}
}

// In any interval, at most the quota and what returned to it in that time pass. A caller who waits as told is admitted.
// The fields are well-formed structured fields, and t equals Retry-After for a refused request.
func TestProperties(t *testing.T) {
	field := regexp.MustCompile(`^"a";r=(\d+);t=(\d+)$`)
	rapid.Check(t, func(t *rapid.T) {
		clk := &fakeClock{}
		quota := rapid.Int64Range(1, 50).Draw(t, "quota")
		window := time.Duration(rapid.Int64Range(1, 120).Draw(t, "window")) * time.Second
		l, err := New([]Policy{{"a", quota, window}}, 64, clk)
		if err != nil {
			t.Fatal(err)
		}
		c, start, allowed := l.Class("a"), clk.Now(), int64(0)
		interval := window / time.Duration(quota)
		for range rapid.IntRange(1, 200).Draw(t, "requests") {
			clk.advance(time.Duration(rapid.Int64Range(0, int64(window)/4).Draw(t, "pause")))
			d := c.Take(Key{})
			parts := field.FindStringSubmatch(d.Field())
			if parts == nil {
				t.Fatalf("malformed field %s", d.Field())
			}
			if d.Allowed {
				allowed++
			} else {
				if want := fmt.Sprint(int64(d.RetryAfter() / time.Second)); parts[2] != want || parts[1] != "0" || want == "0" {
					t.Fatalf("refusal says %s and Retry-After %s", d.Field(), want)
				}
				clk.advance(d.Reset)
				if !c.Take(Key{}).Allowed {
					t.Fatal("refused after waiting as told")
				}
				allowed++
			}
			if bound := quota + int64(clk.Now().Sub(start)/interval) + 1; allowed > bound {
				t.Fatalf("%d passed, at most %d may", allowed, bound)
			}
		}
	})
}

func TestNewRefuses(t *testing.T) {
	for name, policies := range map[string][]Policy{
		"no name": {{"", 1, time.Minute}}, "no quota": {{"a", 0, time.Minute}}, "short window": {{"a", 1, time.Millisecond}},
		"twice": {{"a", 1, time.Minute}, {"a", 1, time.Minute}},
	} {
		if _, err := New(policies, 1024, &fakeClock{}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := New(nil, 1, &fakeClock{}); err == nil {
		t.Error("no memory: accepted")
	}
}

func BenchmarkTake(b *testing.B) {
	l, err := New([]Policy{{"a", 1e9, time.Minute}}, 100_000, clock.System{})
	if err != nil {
		b.Fatal(err)
	}
	c := l.Class("a")
	b.ReportAllocs()
	for b.Loop() {
		c.Take(l.Subject("0198c0de-0000-7000-8000-000000000001"))
	}
}
