package domain

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"

	"caravan/internal/text"
)

// The longest address and local part, in bytes (RFC 5321, section 4.5.3.1).
const (
	maxEmailLength = 254
	maxLocalLength = 64
	maxLabelLength = 63 // RFC 1035, section 2.3.4
)

// Email is the address of an account in the one form in which addresses are compared and stored: trimmed, Unicode normal
// form C, lower case, its domain in ASCII (RFC 5891). So two spellings of one mailbox cannot have two accounts.
type Email string

// ParseEmail reads the address of an account. The local part is a dot-atom (RFC 5322, section 3.2.3; RFC 6531 for letters
// beyond ASCII); quoted local parts and address literals are refused. Parsing the result again changes nothing. Its error
// is a *Violation of the field email.
func ParseEmail(raw string) (Email, error) {
	if !utf8.ValidString(raw) {
		return "", invalidEmail("invalid", "is not valid UTF-8")
	}
	if len(raw) > 4*maxEmailLength {
		return "", invalidEmail("too_long", "must be at most 254 bytes long")
	}
	address := norm.NFC.String(strings.ToLower(norm.NFC.String(strings.TrimSpace(raw))))
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return "", invalidEmail("invalid", "must have the form name@example.com")
	}
	local, host := address[:at], address[at+1:]
	if !validLocalPart(local) {
		return "", invalidEmail("invalid", "has a part before the @ that is not a mailbox name")
	}
	ascii, err := idna.Lookup.ToASCII(host)
	if err != nil || !validHost(ascii) {
		return "", invalidEmail("invalid", "has a part after the @ that is not a domain name")
	}
	normalized := local + "@" + ascii
	if len(normalized) > maxEmailLength {
		return "", invalidEmail("too_long", "must be at most 254 bytes long")
	}
	return Email(normalized), nil
}

// ParseNewEmail is ParseEmail for the address of a new account. Such an address must also follow text.Line: with an
// invisible character it would look like another address, and the mapping of domain names removes such characters (UTS 46).
// It must not contain İ, whose lower case is the i of another mailbox. Older accounts keep such addresses.
func ParseNewEmail(raw string) (Email, error) {
	address, err := ParseEmail(raw)
	if err != nil {
		return "", err
	}
	if _, err := text.Line.Clean(raw, 0); err != nil {
		return "", invalidEmail("invalid", err.Error())
	}
	if strings.ContainsRune(norm.NFC.String(raw), 'İ') {
		return "", invalidEmail("invalid", "must not contain İ")
	}
	return address, nil
}

func invalidEmail(code, message string) error {
	return &Violation{Field: "email", Code: code, Message: message}
}

func validLocalPart(local string) bool {
	if local == "" || len(local) > maxLocalLength {
		return false
	}
	for atom := range strings.SplitSeq(local, ".") {
		if atom == "" {
			return false
		}
		for i, r := range atom {
			if !validAtom(r) || i == 0 && unicode.IsMark(r) {
				return false
			}
		}
	}
	return true
}

func validAtom(r rune) bool {
	if r < utf8.RuneSelf {
		return 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r)
	}
	return unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsDigit(r)
}

// validHost accepts a domain name of at least two labels whose last is not a number, so no IP address.
func validHost(host string) bool {
	labels := strings.Split(host, ".")
	for _, label := range labels {
		if label == "" || len(label) > maxLabelLength || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-') {
				return false
			}
		}
	}
	last := labels[len(labels)-1]
	return len(labels) >= 2 && strings.Trim(last, "0123456789") != ""
}

// ClaimID is the id of the claim document of an address. It is a digest, because keys appear in traces and in the logs of
// the store, which must not contain personal data.
func ClaimID(email Email) string {
	sum := sha256.Sum256([]byte(email))
	return hex.EncodeToString(sum[:])
}
