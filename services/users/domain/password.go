package domain

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// The length of a password in characters (NIST SP 800-63B, section 5.1.1; OWASP ASVS 5.0, 6.2). The upper bound limits the
// cost of a hash.
const (
	MinPasswordLength = 8
	MaxPasswordLength = 128
)

// Password is a password in the one form in which passwords are hashed and compared, so that the keyboards of two systems
// type the same one: every space is U+0020, and the whole is in Unicode normal form C. These are the mappings of the
// OpaqueString profile (RFC 8265, section 4.2). What that profile refuses is accepted here: any character is allowed.
type Password string

// NormalizePassword gives a password that is only compared its form. Normalizing again changes nothing.
func NormalizePassword(raw string) Password {
	if !utf8.ValidString(raw) {
		return Password(raw) // ParsePassword refuses it
	}
	return Password(norm.NFC.String(strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Zs, r) {
			return ' '
		}
		return r
	}, raw)))
}

// ParsePassword reads a new password for the account with this address and name. Any character is allowed and none is
// required. It refuses what an attacker tries first: the most common passwords, the address or name of the account, and one
// repeated character. Its error is a *Violation of field.
func ParsePassword(field, raw string, email Email, name Name) (Password, error) {
	password := NormalizePassword(raw)
	length := utf8.RuneCountInString(string(password))
	switch {
	case !utf8.ValidString(raw):
		return "", &Violation{field, "invalid", "is not valid UTF-8"}
	case length < MinPasswordLength:
		return "", &Violation{field, "too_short", "must be at least 8 characters long"}
	case length > MaxPasswordLength:
		return "", &Violation{field, "too_long", "must be at most 128 characters long"}
	}
	lowered := strings.ToLower(string(password))
	first, _ := utf8.DecodeRuneInString(lowered)
	local, _, _ := strings.Cut(string(email), "@")
	if strings.Trim(lowered, string(first)) == "" || common(lowered) ||
		lowered == string(email) || lowered == local || lowered == strings.ToLower(string(name)) {
		return "", &Violation{field, "too_common", "is too easy to guess"}
	}
	return password, nil
}

// common reports whether a lower-case password of at least MinPasswordLength characters is among those that attackers try first.
func common(password string) bool {
	switch password {
	case "password", "password1", "password12", "password123", "password1234", "passw0rd", "p@ssw0rd", "p@ssword",
		"12345678", "123456789", "1234567890", "12345678910", "123123123", "1234qwer", "1q2w3e4r", "1q2w3e4r5t", "1qaz2wsx",
		"0987654321", "87654321", "987654321", "qwertyui", "qwertyuiop", "qwerty12", "qwerty123", "qwerty1234",
		"asdfghjk", "asdfghjkl", "zxcvbnm1", "abcd1234", "abc12345", "abcdefgh", "a1b2c3d4", "iloveyou", "iloveyou1",
		"sunshine", "princess", "football", "baseball", "superman", "starwars", "trustno1", "whatever", "computer",
		"internet", "samsung1", "welcome1", "welcome123", "letmein1", "letmein123", "changeme", "changeme1", "administrator",
		"admin123", "admin1234", "default1", "test1234", "testtest", "q1w2e3r4", "michelle", "jennifer", "liverpool",
		"corvette", "mustang1", "charlie1", "dragon12", "master12", "monkey12", "shadow12", "caravan1", "caravan123":
		return true
	}
	return false
}
