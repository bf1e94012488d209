package edge

import (
	"net/netip"
	"strings"
)

// maxHops is how many proxies may stand in front of the gateway.
const maxHops = 10

// ClientAddress returns the address a request is accounted to. With proxies == 0 it is the peer of the connection, and
// what X-Forwarded-For says is ignored, as every client can write one. Behind that many proxies of our own, each of
// which appends the peer it saw, the client is the proxies-th entry from the right; entries further left are the
// client's own words. When there are too few entries or the one that counts is not an address, the peer stands in: a
// caller can not choose whom it is counted as. The result is invalid only if remote is not an address.
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

// fromRight returns the n-th entry from the right of a list header, which may be spread over several lines.
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

// hop reads one entry: an address, which some proxies write with its port and IPv6 in brackets.
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
