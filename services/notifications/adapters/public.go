package adapters

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// errNotPublic says that a push service is at an address that is not one of the internet.
var errNotPublic = errors.New("the push service is not at a public address")

// notPublic are the ranges that no push service is in, beyond what netip.Addr knows: those of the IANA special-purpose registries for
// IPv4, and those within 2000::/3 for IPv6.
var notPublic = func() []netip.Prefix {
	var all []netip.Prefix
	for _, text := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.175.48.0/24",
		"198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
		"2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3ffe::/16", "3fff::/20",
	} {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}()

// globalIPv6 is all that is in use on the internet. Addresses that contain one of IPv4 (mapped, NAT64) are outside.
var globalIPv6 = netip.MustParsePrefix("2000::/3")

// public reports whether an address is one of the internet.
func public(a netip.Addr) bool {
	if !a.IsValid() || a.Zone() != "" || a.Is6() && !globalIPv6.Contains(a) || !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	for _, prefix := range notPublic {
		if prefix.Contains(a) {
			return false
		}
	}
	return true
}

// reachable returns errNotPublic for an address that a connection to a push service may not have. It gets the address after the name
// was resolved, so no answer of a name server can lead elsewhere. local also permits this machine, on any port.
func reachable(address string, local bool) error {
	to, err := netip.ParseAddrPort(address)
	switch {
	case err != nil:
		return errNotPublic
	case local && to.Addr().IsLoopback():
		return nil
	case to.Port() != 443 || !public(to.Addr()):
		return errNotPublic
	}
	return nil
}

// The limits of a connection to a push service.
const (
	pushConnect    = 5 * time.Second
	pushAnswer     = 8 * time.Second
	pushIdle       = time.Minute
	pushHeader     = 16 << 10
	pushPerService = 32
)

// PublicTransport connects to public addresses only, see reachable. It uses no proxy, as a proxy would choose the address.
func PublicTransport(local bool) *http.Transport {
	dialer := &net.Dialer{
		Timeout: pushConnect,
		ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
			return reachable(address, local)
		},
	}
	return &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			connection, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, fmt.Errorf("connecting to a push service: %w", err)
			}
			return connection, nil
		},
		TLSHandshakeTimeout: pushConnect, ResponseHeaderTimeout: pushAnswer, IdleConnTimeout: pushIdle,
		MaxResponseHeaderBytes: pushHeader, MaxConnsPerHost: pushPerService, MaxIdleConnsPerHost: 4, MaxIdleConns: 32,
		ForceAttemptHTTP2: true,
	}
}
