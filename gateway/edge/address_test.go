package edge

import (
	"net/netip"
	"strings"
	"testing"
)

func TestClientAddress(t *testing.T) {
	for name, tc := range map[string]struct {
		remote    string
		forwarded []string
		proxies   int
		want      string
	}{
		"peer":                        {"192.0.2.1:1234", nil, 0, "192.0.2.1"},
		"header is not believed":      {"192.0.2.1:1234", []string{"203.0.113.9"}, 0, "192.0.2.1"},
		"one proxy":                   {"10.0.0.1:1", []string{"203.0.113.9"}, 1, "203.0.113.9"},
		"client's own words are left": {"10.0.0.1:1", []string{"127.0.0.1, 203.0.113.9"}, 1, "203.0.113.9"},
		"two proxies":                 {"10.0.0.1:1", []string{"127.0.0.1, 203.0.113.9, 10.0.0.2"}, 2, "203.0.113.9"},
		"several lines":               {"10.0.0.1:1", []string{"127.0.0.1", "203.0.113.9", "10.0.0.2"}, 2, "203.0.113.9"},
		"too few entries":             {"10.0.0.1:1", []string{"203.0.113.9"}, 2, "10.0.0.1"},
		"no header":                   {"10.0.0.1:1", nil, 1, "10.0.0.1"},
		"not an address":              {"10.0.0.1:1", []string{"203.0.113.9, unknown"}, 1, "10.0.0.1"},
		"empty entry":                 {"10.0.0.1:1", []string{"203.0.113.9,"}, 1, "10.0.0.1"},
		"with a port":                 {"10.0.0.1:1", []string{"203.0.113.9:80"}, 1, "203.0.113.9"},
		"ipv6":                        {"[2001:db8::1]:80", nil, 0, "2001:db8::1"},
		"ipv6 in brackets":            {"10.0.0.1:1", []string{"[2001:db8::2]"}, 1, "2001:db8::2"},
		"ipv6 with a port":            {"10.0.0.1:1", []string{"[2001:db8::2]:80"}, 1, "2001:db8::2"},
		"half a bracket":              {"10.0.0.1:1", []string{"[2001:db8::2"}, 1, "10.0.0.1"},
		"ipv4 in brackets":            {"10.0.0.1:1", []string{"[203.0.113.9]"}, 1, "10.0.0.1"},
		"mapped":                      {"[::ffff:192.0.2.1]:80", nil, 0, "192.0.2.1"},
		"zone":                        {"[fe80::1%eth0]:80", nil, 0, "fe80::1"},
	} {
		if got := ClientAddress(tc.remote, tc.forwarded, tc.proxies); got != netip.MustParseAddr(tc.want) {
			t.Errorf("%s: got %s, want %s", name, got, tc.want)
		}
	}
	if got := ClientAddress("@", nil, 0); got.IsValid() {
		t.Errorf("a Unix socket has the address %s", got)
	}
}

// What a client writes to the left of our proxies' entries changes nothing. The result never has a zone and is never an
// IPv4 address mapped into IPv6, because then one client would count as two callers.
func FuzzClientAddress(f *testing.F) {
	f.Add("203.0.113.9", 1)
	f.Add("a,b,,[::1]:x, 1.2.3.4", 3)
	f.Add("::ffff:1.2.3.4", 2)
	f.Add("fe80::1%eth0", 1)
	f.Fuzz(func(t *testing.T, words string, proxies int) {
		if proxies < 1 || proxies > maxHops {
			return
		}
		appended := strings.Repeat(", 198.51.100.7", proxies)
		if got := ClientAddress("10.0.0.1:1", []string{words + appended}, proxies); got != netip.MustParseAddr("198.51.100.7") {
			t.Fatalf("%q makes it %s", words, got)
		}
		got := ClientAddress("10.0.0.1:1", []string{words}, proxies)
		if !got.IsValid() || got.Zone() != "" || got.Is4In6() {
			t.Fatalf("%q is %s", words, got)
		}
	})
}
