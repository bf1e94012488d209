package domain_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"caravan/services/users/contract"
	"caravan/services/users/domain"
)

const (
	firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
	chrome  = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
	edge    = chrome + " Edg/142.0.0.0"
	safari  = "Mozilla/5.0 (iPhone; CPU iPhone OS 26_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Mobile/15E148 Safari/604.1"
)

func TestDevices(t *testing.T) {
	key := domain.DeviceKey("key")
	at := func(agent, address string) string { return key.Device("u", agent, address) }
	for name, c := range map[string]struct {
		a, b string
		same bool
	}{
		"a neighbour":          {at(firefox, "192.0.2.1"), at(firefox, "192.0.2.200"), true},
		"another network":      {at(firefox, "192.0.2.1"), at(firefox, "192.0.3.1"), false},
		"the same site":        {at(firefox, "2001:db8:1::1"), at(firefox, "2001:db8:1:ffff::2"), true},
		"another site":         {at(firefox, "2001:db8:1::1"), at(firefox, "2001:db8:2::1"), false},
		"IPv4 in IPv6":         {at(firefox, "::ffff:192.0.2.1"), at(firefox, "192.0.2.1"), true},
		"an update":            {at(firefox, "192.0.2.1"), at(strings.ReplaceAll(firefox, "145.0", "146.0"), "192.0.2.1"), true},
		"another browser":      {at(chrome, "192.0.2.1"), at(edge, "192.0.2.1"), false},
		"another system":       {at(firefox, ""), at(strings.Replace(firefox, "X11; Linux x86_64", "Windows NT 10.0", 1), ""), false},
		"a phone":              {at(safari, ""), at(strings.ReplaceAll(safari, "26", "27"), ""), true},
		"programs":             {at("curl/8.1", ""), at("curl/8.2", ""), true},
		"other programs":       {at("curl/8.1", ""), at("Wget/1.2", ""), false},
		"another user":         {at(firefox, ""), key.Device("v", firefox, ""), false},
		"another key":          {at(firefox, ""), domain.DeviceKey("other").Device("u", firefox, ""), false},
		"nothing":              {at("", ""), "", true},
		"nothing but nonsense": {at("", "nonsense"), "", true},
	} {
		if (c.a == c.b) != c.same {
			t.Errorf("%s: %q and %q", name, c.a, c.b)
		}
	}
	if d := at(firefox, "192.0.2.1"); strings.Contains(d, "192") || len(d) != 22 {
		t.Errorf("an account stores %q", d)
	}
}

// A login is reported if its device is not one of the last ten; the first device is not.
func TestNewDevicesAreReported(t *testing.T) {
	user := registered(t, contract.RoleCustomer)
	n := 0
	logIn := func(device string) (reported bool) {
		n++
		before := len(user.Timeline)
		now := start.Add(time.Duration(n) * time.Minute)
		if err := user.OpenSession(domain.OpenSession{ID: fmt.Sprint(n), OpenedAt: now, Until: now.Add(time.Second)}, hash, "", device, now); err != nil {
			t.Fatal(err)
		}
		for _, e := range user.Timeline[before:] {
			reported = reported || e.Type == contract.EventSignedIn && !strings.Contains(string(e.Data), device)
		}
		return reported
	}
	for i, c := range []struct {
		device string
		want   bool
	}{{"a", false}, {"a", false}, {"", false}, {"b", true}, {"a", false}, {"b", false}, {"", false}} {
		if logIn(c.device) != c.want {
			t.Errorf("login %d by %q is not reported as it should be", i, c.device)
		}
	}
	for i := range 8 {
		logIn(fmt.Sprint("device ", i))
	}
	if logIn("b") || logIn("a") || len(user.Devices) != 10 { // a and b are among the last ten
		t.Errorf("known devices are reported; %d are stored", len(user.Devices))
	}
	logIn("c")
	if !logIn("device 0") {
		t.Error("a device that was forgotten is not reported")
	}
}
