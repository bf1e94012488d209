package domain

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/netip"
	"slices"
	"strings"
	"time"

	"caravan/services/users/contract"
)

// maxDevices is how many devices an account remembers.
const maxDevices = 10

// DeviceKey is the secret, at least 32 bytes, with which devices are recognized. Without it nobody learns from the store which
// browser or network somebody uses.
type DeviceKey []byte

// Device is what an account remembers of a device: a keyed digest of the family of the program and of the network of its address.
// It is "" if neither is known. Updates of a browser and another address in the same network are not another device. The digests of
// two accounts differ for the same device.
func (k DeviceKey) Device(userID, agent, address string) string {
	family, network := agentFamily(agent), networkOf(address)
	if family == "" && network == "" {
		return ""
	}
	mac := hmac.New(sha256.New, k)
	mac.Write([]byte(userID + "\x00" + family + "\x00" + network))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}

// networkOf is the network of an address: 256 neighbours in IPv4, the site of a customer in IPv6.
func networkOf(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return ""
	}
	bits := 48
	if ip = ip.Unmap().WithZone(""); ip.Is4() {
		bits = 24
	}
	network, err := ip.Prefix(bits)
	if err != nil {
		return ""
	}
	return network.String()
}

// agentFamily is the kind of browser and system in a User-Agent, without versions. Browsers name the ones that they are compatible
// with, so the more special names come first.
func agentFamily(agent string) string {
	if agent == "" {
		return ""
	}
	first := func(names ...string) string {
		for _, name := range names {
			if strings.Contains(agent, name) {
				return strings.ToLower(strings.Trim(name, "/"))
			}
		}
		return ""
	}
	program := first("Edg", "OPR/", "SamsungBrowser/", "Firefox/", "FxiOS/", "CriOS/", "Chrome/", "Safari/")
	if program == "" {
		program, _, _ = strings.Cut(agent, "/")
		program = strings.ToLower(program[:min(len(program), 40)])
	}
	return program + " " + first("Windows", "Android", "iPhone", "iPad", "Mac OS X", "CrOS", "Linux")
}

// recognize records the device of a login, and emits an event if it is another one than those before. The first device of an
// account is no news.
func (u *User) recognize(device string, now time.Time) {
	if device == "" {
		return
	}
	known := slices.Contains(u.Devices, device)
	if !known && len(u.Devices) > 0 {
		u.Emit(contract.EventSignedIn, now, contract.SignedIn{UserID: u.ID})
	}
	u.Devices = append(slices.DeleteFunc(slices.Clone(u.Devices), func(d string) bool { return d == device }), device)
	if surplus := len(u.Devices) - maxDevices; surplus > 0 {
		u.Devices = u.Devices[surplus:]
	}
}
