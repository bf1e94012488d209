package edge

import (
	"net/netip"
	"strings"
)

// maxHops is how many proxies may be in front of the gateway.
const maxHops = 10

// ClientAddress returns the address under which a request is counted. With proxies == 0 it is the peer of the
// connection, and X-Forwarded-For is ignored, because every client can write it. Otherwise each of our proxies appends
// the peer that it saw, so the client is the entry number proxies from the right. Entries to the left come from the
// client itself. If there are too few entries, or the entry is not an address, the result is the peer: a caller cannot
// choose under which address it is counted. The result is invalid only if remote is not an address.
func ClientAddress(remote string, forwarded []string, proxies int) netip.Addr {
	peer := netip.Addr{}
	if parsed, err := netip.ParseAddrPort(remote); err == nil {
		peer = parsed.Addr().Unmap().WithZone("")
	}
	if proxies <= 0 {
		return peer
	}
	entry, found := fromRight(forwarded, proxies)
	if !found {
		return peer
	}
	client, ok := hop(entry)
	if !ok {
		return peer
	}
	return client
}

// fromRight returns the n-th entry from the right of a list header, which may have several lines.
func fromRight(lines []string, n int) (string, bool) {
	for i := len(lines) - 1; i >= 0; i-- {
		line := lines[i]
		for {
			comma := strings.LastIndexByte(line, ',')
			n--
			if n == 0 {
				return strings.Trim(line[comma+1:], " \t"), true
			}
			if comma < 0 {
				break
			}
			line = line[:comma]
		}
	}
	return "", false
}

// hop reads one entry: an address, to which some proxies add a port, and brackets for IPv6.
func hop(entry string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(entry); err == nil {
		return a.Unmap().WithZone(""), true
	}
	if a, err := netip.ParseAddrPort(entry); err == nil {
		return a.Addr().Unmap().WithZone(""), true
	}
	if inner, ok := strings.CutPrefix(entry, "["); ok {
		if a, err := netip.ParseAddr(strings.TrimSuffix(inner, "]")); err == nil && a.Is6() && strings.HasSuffix(inner, "]") {
			return a.Unmap().WithZone(""), true
		}
	}
	return netip.Addr{}, false
}
