package domain_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"caravan/internal/document"
	"caravan/internal/money"
	"caravan/services/notifications/domain"
)

// The keys of the example of RFC 8291.
const (
	p256dh = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
	auth   = "BTBZMqHH6r4Tts7J_aSIgg"
)

func target(t testing.TB, n int) domain.PushTarget {
	t.Helper()
	to, err := domain.NewPushTarget(fmt.Sprintf("https://push.example.com/%d", n), p256dh, auth, false)
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func TestEndpoints(t *testing.T) {
	for endpoint, want := range map[string]string{
		"https://fcm.googleapis.com/fcm/send/abc:DEF_-%20":                               "https://fcm.googleapis.com/fcm/send/abc:DEF_-%20",
		"https://Push.Example.COM:443/Path?x=1":                                          "https://push.example.com/Path?x=1",
		"https://updates.push.services.mozilla.com/wpush/v2/" + strings.Repeat("g", 600): "https://updates.push.services.mozilla.com/wpush/v2/" + strings.Repeat("g", 600),
		"https://example.com/" + strings.Repeat("a", 2028):                               "https://example.com/" + strings.Repeat("a", 2028),
		"https://example.com/" + strings.Repeat("a", 2029):                               "",
		"http://push.example.com/x":                                                      "",
		"https://push.example.com:8443/x":                                                "",
		"https://push.example.com:/x":                                                    "",
		"https://user@push.example.com/x":                                                "",
		"https://user:password@push.example.com/x":                                       "",
		"https://push.example.com/x#y":                                                   "",
		"https://push.example.com/x#":                                                    "",
		"https://127.0.0.1/x":                                                            "",
		"https://8.8.8.8/x":                                                              "",
		"https://[::1]/x":                                                                "",
		"https://[2a00:1450::1]/x":                                                       "",
		"https://2130706433/x":                                                           "",
		"https://0x7f.1/x":                                                               "",
		"https://example.1/x":                                                            "",
		"https://localhost/x":                                                            "",
		"https://push.localhost/x":                                                       "",
		"https://printer.local/x":                                                        "",
		"https://metadata.google.internal/x":                                             "",
		"https://-push.example.com/x":                                                    "",
		"https://push..example.com/x":                                                    "",
		"https://push.example.com./x":                                                    "",
		"https://bücher.example/x":                                                       "",
		"https://push.example.com/ä":                                                     "",
		"https://push.example.com/a b":                                                   "",
		"https://push.example.com/\r\nX: y":                                              "",
		"https:push.example.com":                                                         "",
		"//push.example.com/x":                                                           "",
		"mailto:push@example.com":                                                        "",
		"file:///etc/passwd":                                                             "",
		"":                                                                               "",
		"https://" + strings.Repeat("a", 64) + ".com/":                                   "",
	} {
		got, err := domain.NewPushTarget(endpoint, p256dh, auth, false)
		var broken domain.Violations
		if got.Endpoint != want || (want == "") != errors.As(err, &broken) {
			t.Errorf("%q becomes %q, %v", endpoint, got.Endpoint, err)
		}
		if want == "" && (len(broken) != 1 || broken[0].Field != "endpoint") {
			t.Errorf("%q breaks %v", endpoint, broken)
		}
	}
	for endpoint, ok := range map[string]bool{
		"http://127.0.0.1:8080/x": true, "http://localhost:1/x": true, "http://[::1]:80/x": true, "https://push.example.com/x": true,
		"http://push.example.com/x": false, "http://10.0.0.1/x": false, "ftp://127.0.0.1/x": false,
	} {
		if _, err := domain.NewPushTarget(endpoint, p256dh, auth, true); (err == nil) != ok {
			t.Errorf("%q for tests: %v", endpoint, err)
		}
	}
}

func TestKeysOfADevice(t *testing.T) {
	for _, c := range []struct{ p256dh, auth, wrong string }{
		{p256dh, auth, ""}, {p256dh + "=", auth + "==", ""},
		{strings.Replace(p256dh, "BC", "BD", 1), auth, "keys.p256dh"}, // not on the curve
		{"A" + p256dh[1:], auth, "keys.p256dh"}, {p256dh[:86], auth, "keys.p256dh"}, {"", auth, "keys.p256dh"}, {strings.Repeat("A", 87), auth, "keys.p256dh"},
		{p256dh, "", "keys.auth"}, {p256dh, auth[:21], "keys.auth"}, {p256dh, auth + "AA", "keys.auth"}, {p256dh, auth + "\n", "keys.auth"}, {p256dh, "+" + auth[1:], "keys.auth"},
		{p256dh, strings.Repeat("A", 5000), "keys.auth"},
	} {
		got, err := domain.NewPushTarget("https://push.example.com/x", c.p256dh, c.auth, false)
		var broken domain.Violations
		switch {
		case c.wrong == "" && (err != nil || got.P256dh != p256dh || got.Auth != auth):
			t.Errorf("%v: %+v, %v", c, got, err)
		case c.wrong != "" && (!errors.As(err, &broken) || len(broken) != 1 || broken[0].Field != c.wrong):
			t.Errorf("%v: %v", c, err)
		}
	}
}

func FuzzPushTarget(f *testing.F) {
	f.Add("https://push.example.com/x", p256dh, auth)
	f.Add("https://127.0.0.1:443@push.example.com", "", "")
	f.Fuzz(func(t *testing.T, endpoint, key, secret string) {
		got, err := domain.NewPushTarget(endpoint, key, secret, false)
		if err != nil {
			return
		}
		again, err := domain.NewPushTarget(got.Endpoint, got.P256dh, got.Auth, false)
		if err != nil || again != got || !strings.HasPrefix(got.Endpoint, "https://") || len(got.Endpoint) > 4096 {
			t.Errorf("%q is read as %+v, and that as %+v, %v", endpoint, got, again, err)
		}
	})
}

func TestSubscriptions(t *testing.T) {
	var p domain.PushSubscriptions
	at := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Hour).Truncate(time.Millisecond) }
	subscribe := func(n int, now time.Time) error { return p.Subscribe("u1", target(t, n), now) }
	for n := range domain.MaxPushSubscriptions {
		if err := subscribe(n, at(n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := subscribe(3, at(10)); !errors.Is(err, document.ErrUnchanged) {
		t.Errorf("a repeat: %v", err)
	}
	if err := subscribe(0, at(30)); err != nil || len(p.Items) != domain.MaxPushSubscriptions || !p.Items[0].RenewedAt.Equal(at(30)) || !p.Items[0].CreatedAt.Equal(at(0)) {
		t.Errorf("a renewal: %v, %+v", err, p.Items[0])
	}
	// The one that was renewed least recently is now the second.
	if err := subscribe(99, at(31)); err != nil || len(p.Items) != domain.MaxPushSubscriptions {
		t.Errorf("one more: %v, %d", err, len(p.Items))
	}
	if _, there := p.Find(domain.PushSubscriptionID("u1", target(t, 1))); there {
		t.Error("the oldest is still there")
	}
	read := p.Items[0]
	renewed := target(t, 0)
	renewed.Auth = strings.Replace(auth, "B", "C", 1)
	if err := p.Subscribe("u1", renewed, at(31)); err != nil || p.Items[0].PushTarget != renewed {
		t.Errorf("other keys: %v", err)
	}
	if err := p.Remove(read); !errors.Is(err, document.ErrUnchanged) {
		t.Errorf("a subscription with other keys was removed: %v", err)
	}
	if err := p.Remove(p.Items[0], read); err != nil || len(p.Items) != domain.MaxPushSubscriptions-1 {
		t.Errorf("removing: %v", err)
	}
}

// A message fits whatever is in it, and says in which language it is.
func TestPushMessagesFit(t *testing.T) {
	for _, k := range domain.Kinds() {
		if k.Offers(domain.Push) && (k.Urgency == "" || k.TTL <= 0) {
			t.Errorf("%s has no urgency or no TTL", k.Name)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringN(0, 300, -1)
		c := domain.PushContent{
			ID: "id", Kind: "kind", Tag: "tag", Title: rapid.StringOfN(rapid.Rune(), 0, 150, -1).Draw(t, "title"),
			Body: strings.Repeat(text.Draw(t, "body"), rapid.IntRange(1, 20).Draw(t, "times")), OrderID: "o", OccurredAt: noon,
		}
		raw, err := c.Encode()
		if err != nil || len(raw) > domain.PushMax {
			t.Fatalf("%d bytes, %v", len(raw), err)
		}
		var read domain.PushContent
		if err := json.Unmarshal(raw, &read); err != nil || read.ID != c.ID {
			t.Fatalf("%v: %s", err, raw)
		}
	})
}

func TestRenderPush(t *testing.T) {
	confirmed := kind(t, "order-confirmed")
	d := domain.Delivery{Type: confirmed.Events[0], OccurredAt: noon, Data: domain.Data{OrderID: "019880c4-7a3e-7c1d-9b1f-2f6f5a0e9d11", Amount: money.New(1999, "EUR")}}
	thread := domain.ThreadID(domain.Push, domain.Notice{UserID: "u1", Data: d.Data})
	c, err := domain.RenderPush(domain.DeliveryID(thread, 1), confirmed, domain.German, d)
	if err != nil || c.Lang != domain.German || !strings.Contains(c.Title, "bestätigt") || c.OrderID != d.Data.OrderID || c.Kind != "order-confirmed" || c.Body == "" {
		t.Errorf("%+v, %v", c, err)
	}
	first := domain.PushTopic(domain.DeliveryID(thread, 0), confirmed)
	if first != c.Tag || len(first) != 32 {
		t.Errorf("statuses of one order have the topics %q and %q", first, c.Tag)
	}
	paid := kind(t, "payment-refunded")
	if a, b := domain.PushTopic(domain.DeliveryID(thread, 0), paid), domain.PushTopic(domain.DeliveryID(thread, 1), paid); a == b || a == first {
		t.Errorf("messages without an order among them have the topics %q and %q", a, b)
	}
}

func TestPushTTL(t *testing.T) {
	k := domain.Kind{TTL: time.Hour}
	for age, want := range map[time.Duration]time.Duration{
		-time.Minute: time.Hour, 0: time.Hour, 100 * time.Millisecond: time.Hour - time.Second, 59 * time.Minute: time.Minute, time.Hour: 0, 48 * time.Hour: 0,
	} {
		if got := k.PushTTL(noon, noon.Add(age)); got != want {
			t.Errorf("after %s: %s", age, got)
		}
	}
}

// Only push is held, never what is about the safety of the account, and exactly during quiet hours.
func TestOnlyPushIsHeldAndOnlyInQuietHours(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		clock := rapid.Custom(func(t *rapid.T) string {
			return fmt.Sprintf("%02d:%02d", rapid.IntRange(0, 23).Draw(t, "hour"), rapid.IntRange(0, 59).Draw(t, "minute"))
		})
		p := domain.Preferences{Settings: domain.Settings{
			TimeZone: rapid.SampledFrom([]string{"", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"}).Draw(t, "zone"),
			Quiet:    domain.QuietHours{From: clock.Draw(t, "from"), Until: clock.Draw(t, "until")},
		}}
		now := noon.Add(time.Duration(rapid.Int64Range(0, 400*24*3600).Draw(t, "second")) * time.Second)
		k := rapid.SampledFrom(append(domain.Kinds(), alarm)).Draw(t, "kind")
		channel := rapid.SampledFrom(domain.Channels()).Draw(t, "channel")
		held, quiet := p.HeldUntil(k, channel, now), p.QuietUntil(now)
		switch {
		case channel != domain.Push || k.Security:
			if !held.IsZero() {
				t.Fatalf("%s by %s is held", k.Name, channel)
			}
		case !held.Equal(quiet) || !held.IsZero() && !held.After(now):
			t.Fatalf("at %s it is held until %s; the quiet hours end at %s", now, held, quiet)
		case !held.IsZero() && !p.HeldUntil(k, channel, held).IsZero():
			t.Fatalf("it is held again at %s", held)
		}
	})
}

// What was served is remembered over failures and postponements, and forgotten when it is over or sent again by staff.
func TestServedDevicesAreRemembered(t *testing.T) {
	rules := domain.DeliveryRules{Attempts: 5, Skew: time.Second, MaxAge: 48 * time.Hour}
	thread := &domain.Thread{}
	n := domain.Notice{UserID: "u1", EventID: "orders/o1/1", Type: kind(t, "order-confirmed").Events[0], OccurredAt: noon, Data: domain.Data{OrderID: "o1"}}
	if err := thread.Add(domain.Push, []domain.Notice{n}, domain.Claim{By: "a", Until: noon.Add(time.Minute)}, rules, noon); err != nil {
		t.Fatal(err)
	}
	now := noon
	conclude := func(by string, r domain.Result, want ...string) {
		t.Helper()
		now = now.Add(time.Second)
		r.Next = now
		if err := thread.Conclude(0, by, r, rules, now); err != nil {
			t.Fatal(err)
		}
		if got := thread.Deliveries[0].Served; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("served are %v and not %v", got, want)
		}
	}
	take := func(by string) {
		t.Helper()
		if err := thread.Take(0, "", domain.Claim{By: by, Until: now.Add(time.Minute)}, rules, now); err != nil {
			t.Fatal(err)
		}
	}
	conclude("a", domain.Result{Failed: true, Served: []string{"1"}}, "1")
	take("b")
	conclude("b", domain.Result{Failed: true}, "1") // such as a panic
	take("c")
	conclude("c", domain.Result{Postponed: true}, "1")
	take("d")
	conclude("d", domain.Result{Failed: true, Served: []string{"1", "2"}}, "1", "2")
	if err := thread.Resend(0, "op", now); err != nil || len(thread.Deliveries[0].Served) != 0 {
		t.Fatalf("sent again: %v, %v", err, thread.Deliveries[0].Served)
	}
	take("e")
	conclude("e", domain.Result{Failed: true, Served: []string{"1"}}, "1")
	take("f") // an attempt whose claim has ended since has reached a further device
	conclude("e", domain.Result{Failed: true, Served: []string{"2"}}, "1", "2")
	if d := thread.Deliveries[0]; d.State != domain.DeliveryClaimed || !d.Holds("f") {
		t.Fatalf("a late result has ended the attempt under way: %+v", d)
	}
	conclude("f", domain.Result{Sent: true})
}
