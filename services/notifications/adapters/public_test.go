package adapters

import (
	"net/netip"
	"testing"
)

func TestOnlyPublicAddressesAreReachable(t *testing.T) {
	for address, want := range map[string]bool{
		"8.8.8.8:443": true, "142.250.185.74:443": true, "[2a00:1450:4001:80f::200a]:443": true, "[2606:4700::1111]:443": true,
		"8.8.8.8:80": false, "8.8.8.8:8443": false, "[2606:4700::1111]:22": false, // another port
		"127.0.0.1:443": false, "127.8.9.1:443": false, "[::1]:443": false, "0.0.0.0:443": false, "[::]:443": false, "0.1.2.3:443": false,
		"10.0.0.1:443": false, "172.16.0.1:443": false, "172.31.255.255:443": false, "192.168.1.1:443": false, "[fc00::1]:443": false, "[fd12::1]:443": false,
		"169.254.169.254:443": false, "[fe80::1]:443": false, "[fe80::1%eth0]:443": false, "[2606:4700::1111%eth0]:443": false,
		"100.64.0.1:443": false, "100.127.255.255:443": false, "100.63.255.255:443": true, "100.128.0.0:443": true, // carrier-grade NAT
		"224.0.0.1:443": false, "239.255.255.250:443": false, "[ff02::1]:443": false, "255.255.255.255:443": false, "240.0.0.1:443": false,
		"[::ffff:8.8.8.8]:443": false, "[::ffff:127.0.0.1]:443": false, "[::127.0.0.1]:443": false, // IPv4 in IPv6
		"[64:ff9b::7f00:1]:443": false, "[64:ff9b::808:808]:443": false, "[64:ff9b:1::1]:443": false, // NAT64
		"[2002:7f00:1::1]:443": false, "[2001::1]:443": false, "[2001:db8::1]:443": false, "[3fff::1]:443": false, "[5f00::1]:443": false,
		"[fec0::1]:443": false, "[100::1]:443": false, "[4000::1]:443": false,
		"192.0.0.8:443": false, "192.0.2.1:443": false, "198.18.0.1:443": false, "198.51.100.1:443": false, "203.0.113.1:443": false, "192.88.99.1:443": false,
		"": false, "8.8.8.8": false, "localhost:443": false, "push.example.com:443": false, "8.8.8.8:https": false,
	} {
		if got := reachable(address, false) == nil; got != want {
			t.Errorf("%s is reachable: %v", address, got)
		}
		to, err := netip.ParseAddrPort(address)
		if got := reachable(address, true) == nil; got != (want || err == nil && to.Addr().IsLoopback()) {
			t.Errorf("%s is reachable for tests: %v", address, got)
		}
	}
	if reachable("127.0.0.1:8080", true) != nil || reachable("10.0.0.1:8080", true) == nil {
		t.Error("for tests this machine, and nothing else, is reachable on any port")
	}
}

// FuzzReachable compares the check with what netip knows: nothing that it calls special may pass, in any spelling.
func FuzzReachable(f *testing.F) {
	for _, seed := range []string{"127.0.0.1", "::1", "10.1.2.3", "::ffff:10.0.0.1", "fe80::1%lo", "100.64.0.1", "8.8.8.8", "2a00:1450::1", "64:ff9b::a00:1", "0x7f.1"} {
		f.Add(seed, uint16(443))
	}
	f.Fuzz(func(t *testing.T, text string, port uint16) {
		address, err := netip.ParseAddr(text)
		if err != nil {
			if reachable(text+":443", false) == nil || reachable("["+text+"]:443", false) == nil {
				if _, err := netip.ParseAddrPort(text + ":443"); err != nil {
					t.Errorf("%q is no address, and reachable", text)
				}
			}
			return
		}
		if reachable(netip.AddrPortFrom(address, port).String(), false) != nil {
			return
		}
		plain := address.Unmap()
		if port != 443 || address.Is4In6() || address.Zone() != "" || plain.IsLoopback() || plain.IsPrivate() || plain.IsLinkLocalUnicast() ||
			plain.IsMulticast() || plain.IsUnspecified() || plain.IsInterfaceLocalMulticast() {
			t.Errorf("%s port %d is reachable", address, port)
		}
	})
}
