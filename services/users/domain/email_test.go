package domain_test

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"

	"caravan/services/users/domain"
)

func TestParseEmail(t *testing.T) {
	accepted := map[string]domain.Email{
		"ada@example.com":                  "ada@example.com",
		"  Ada.Lovelace@Example.COM\t\n":   "ada.lovelace@example.com",
		"ada+shop@sub.example.co.uk":       "ada+shop@sub.example.co.uk",
		"o'neil_{x}@example.com":           "o'neil_{x}@example.com",
		"Jose\u0301@example.com":           "jos\u00e9@example.com", // combining accent
		"\u00c5se@example.com":             "\u00e5se@example.com",
		"a\u030ase@example.com":            "\u00e5se@example.com",
		"ada@B\u00dcCHER.example":          "ada@xn--bcher-kva.example",
		"ada@xn--bcher-kva.example":        "ada@xn--bcher-kva.example",
		"\u212alaus@example.com":           "klaus@example.com", // the Kelvin sign
		strings.Repeat("a", 64) + "@x.org": domain.Email(strings.Repeat("a", 64) + "@x.org"),
		"1@2.example":                      "1@2.example",
	}
	for raw, want := range accepted {
		got, err := domain.ParseEmail(raw)
		if err != nil || got != want {
			t.Errorf("ParseEmail(%q) = %q, %v, want %q", raw, got, err, want)
		}
	}
	refused := []string{
		"", " ", "ada", "@example.com", "ada@", "ada@localhost", "ada@127.0.0.1", "ada@[127.0.0.1]", "a b@example.com",
		"ada@exa mple.com", ".ada@example.com", "ada.@example.com", "a..b@example.com", `"ada"@example.com`, "ada@example..com",
		"ada@example.com.", "ada@-example.com", "ada@exam_ple.com", "ada@example.com\r\nBcc: eve@example.com", "a@b@example.com",
		"ada\u200b@example.com", "ada\x00@example.com", "ada<x>@example.com", "ada,eve@example.com", "ada@example.com>",
		strings.Repeat("a", 65) + "@x.org", "a@" + strings.Repeat("b.", 130) + "example", "ada@" + strings.Repeat("a", 64) + ".org",
		"\xff@example.com", strings.Repeat("a", 5000) + "@example.com", "\u0301ada@example.com",
	}
	for _, raw := range refused {
		got, err := domain.ParseEmail(raw)
		if err == nil {
			t.Errorf("ParseEmail(%q) = %q, want a refusal", raw, got)
			continue
		}
		if all := domain.Violations(err); len(all) != 1 || all[0].Field != "email" {
			t.Errorf("ParseEmail(%q) refuses with %v, want one violation of email", raw, err)
		}
	}
}

// Whatever is accepted is a fixed point, bounded, and cannot break out of a mail header.
func FuzzParseEmail(f *testing.F) {
	for _, seed := range []string{"ada@example.com", " Ada@BÜCHER.example ", "İ@x.org", "ß@ß.de", "a\u030a@x.yz", "ada@。example.com", "ΑΣ@x.gr", "ǅ@x.org"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		once, err := domain.ParseEmail(raw)
		if err != nil {
			return
		}
		twice, err := domain.ParseEmail(string(once))
		if err != nil || twice != once {
			t.Fatalf("ParseEmail(%q) = %q, which normalizes to %q, %v", raw, once, twice, err)
		}
		if len(once) > 254 || strings.ContainsAny(string(once), " \t\r\n\x00<>,;:\"()[]\\") || strings.Count(string(once), "@") != 1 {
			t.Fatalf("ParseEmail(%q) = %q", raw, once)
		}
	})
}

// What is invisible in an address is refused to new accounts, and still normalized for those that have it.
func TestParseNewEmail(t *testing.T) {
	for _, raw := range []string{"Ada@Example.com", "jos\u0065\u0301@example.com", "葛城@example.com"} {
		want, _ := domain.ParseEmail(raw)
		if got, err := domain.ParseNewEmail(raw); err != nil || got != want {
			t.Errorf("ParseNewEmail(%+q) = %+q, %v; want %+q", raw, got, err, want)
		}
	}
	for _, raw := range []string{"a\ufe0f@example.com", "a\u034f@example.com", "\u3164@example.com", "a\u115f@example.com",
		"a@ex\u2060ample.com", "a@ex\u00adample.com", "a@example\u200b.com", "a@example.com\ufe0f", "\u0130@example.com", "I\u0307@example.com"} {
		if _, err := domain.ParseEmail(raw); err != nil {
			t.Errorf("ParseEmail(%+q): %v", raw, err)
		}
		violations := domain.Violations(func() error { _, err := domain.ParseNewEmail(raw); return err }())
		if len(violations) != 1 || violations[0].Field != "email" {
			t.Errorf("ParseNewEmail(%+q): %v", raw, violations)
		}
	}
	for _, raw := range []string{"a\u200d@example.com", "a\u200b@example.com", "a\u202e@example.com", "a\x00@example.com", "nonsense"} {
		if got, err := domain.ParseNewEmail(raw); err == nil {
			t.Errorf("ParseNewEmail(%+q) = %+q", raw, got)
		}
	}
}

func TestNormalizePassword(t *testing.T) {
	for raw, want := range map[string]domain.Password{
		"plain": "plain", "  kept  ": "  kept  ", "p\u0061\u0308sswort": "p\u00e4sswort", "a\u00a0b\u3000c": "a b c", "\u212b": "\u00c5",
		"👩\u200d🚀\u200b": "👩\u200d🚀\u200b", "ﬁ": "ﬁ", "A\tB": "A\tB", "\xff\xfe": "\xff\xfe",
	} {
		if got := domain.NormalizePassword(raw); got != want {
			t.Errorf("NormalizePassword(%+q) = %+q; want %+q", raw, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.String().Draw(t, "password")
		once := domain.NormalizePassword(raw)
		if twice := domain.NormalizePassword(string(once)); twice != once {
			t.Fatalf("%+q, then %+q", once, twice)
		}
		if other := domain.NormalizePassword(norm.NFD.String(raw)); other != once {
			t.Fatalf("decomposed it is %+q, not %+q", other, once)
		}
	})
}

func TestParseName(t *testing.T) {
	for raw, want := range map[string]domain.Name{"  Ada  ": "Ada", "Jose\u0301": "José", "李 小龙": "李 小龙", "Ada  \u00a0 Lovelace": "Ada Lovelace", "می\u200cخواهم": "می\u200cخواهم", strings.Repeat("é", 100): domain.Name(strings.Repeat("é", 100))} {
		if got, err := domain.ParseName(raw); err != nil || got != want {
			t.Errorf("ParseName(%q) = %q, %v, want %q", raw, got, err, want)
		}
	}
	for _, raw := range []string{"", " \t", "a\nb", "a\x00b", "a\u2028b", strings.Repeat("é", 101), "\xff", strings.Repeat("a", 10000), "\u200b", "\u202eadA", "\u3164", "\u2800", "a\u00adb", "\x1b[2J"} {
		if got, err := domain.ParseName(raw); err == nil {
			t.Errorf("ParseName(%q) = %q, want a refusal", raw, got)
		}
	}
}

func TestParsePassword(t *testing.T) {
	const email, name = "grace.hopper@example.com", "Grace Hopper"
	for _, password := range []string{"correct horse battery staple", "pässwörter", "        x", "Tr0ub4dor&3", strings.Repeat("ab", 64)} {
		if got, err := domain.ParsePassword("password", password, email, name); err != nil || string(got) != password {
			t.Errorf("ParsePassword(%q) = %q, %v", password, got, err)
		}
	}
	tests := map[string]string{
		"": "too_short", "seven77": "too_short", "üüüüüüü": "too_short", strings.Repeat("ab", 65): "too_long",
		"Password123": "too_common", "12345678": "too_common", "aaaaaaaaaaaa": "too_common", "AaAaAaAaAa": "too_common",
		"Grace.Hopper": "too_common", "grace.hopper@example.com": "too_common", "grace hopper": "too_common", "caravan123": "too_common",
		"\xff\xfe567890": "invalid",
	}
	for password, code := range tests {
		_, err := domain.ParsePassword("newPassword", password, email, name)
		violations := domain.Violations(err)
		if len(violations) != 1 || violations[0].Code != code || violations[0].Field != "newPassword" {
			t.Errorf("ParsePassword(%q) = %v, want %s of newPassword", password, violations, code)
		}
	}
}

// All that is wrong with an application is reported at once.
func TestParseApplicant(t *testing.T) {
	_, err := domain.ParseApplicant("nonsense", "short", " ")
	var fields []string
	for _, violation := range domain.Violations(err) {
		fields = append(fields, violation.Field)
	}
	if !slices.Equal(fields, []string{"email", "password", "name"}) {
		t.Errorf("violations of %v", fields)
	}
	got, err := domain.ParseApplicant(" Ada@Example.com ", "correct horse\u00a0battery", " Ada ")
	if want := (domain.Applicant{Email: "ada@example.com", Name: "Ada", Password: "correct horse battery"}); err != nil || got != want {
		t.Errorf("ParseApplicant = %+v, %v; want %+v", got, err, want)
	}
	for _, own := range []string{"Ada.Lovelace", "ada.lovelace@example.com", "Countess of Lovelace"} {
		if _, err := domain.ParseApplicant("ada.lovelace@example.com", own, "Countess of Lovelace"); len(domain.Violations(err)) != 1 {
			t.Errorf("the password %q: %v", own, err)
		}
	}
}
