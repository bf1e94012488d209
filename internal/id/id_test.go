package id

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestNewIDsAreValidDistinctAndInOrderOfTime(t *testing.T) {
	var made []string
	seen := make(map[string]bool)
	for range 1000 {
		s := Random{}.New()
		if !Valid(s) || s[14] != '7' || seen[s] {
			t.Fatalf("%q is not a new UUIDv7", s)
		}
		seen[s] = true
		made = append(made, s)
	}
	if !slices.IsSorted(made) {
		t.Error("they do not sort by the time they were made")
	}
}

func TestValidKnowsOneSpelling(t *testing.T) {
	const good = "01890f3e-1c2d-7abc-8def-0123456789ab"
	if !Valid(good) {
		t.Errorf("%q is refused", good)
	}
	for _, bad := range []string{
		"", strings.ToUpper(good), "{" + good + "}", "urn:uuid:" + good, strings.ReplaceAll(good, "-", ""),
		good + "0", good[1:], strings.Replace(good, "a", "g", 1), strings.Replace(good, "-", "0", 1), "../" + good[3:],
	} {
		if Valid(bad) {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestDeriveRepeatsItselfAndTellsPartsApart(t *testing.T) {
	// Documents are found by derived ids, so this value must never change.
	if got := Derive("order", "user-1", "key-1"); got != "72dd1b3a-4228-5209-9150-bffc1e0213e7" {
		t.Errorf("the id is %s", got)
	}
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(rapid.String(), 0, 4)
		a, b := parts.Draw(t, "a"), parts.Draw(t, "b")
		if again := Derive(a...); !Valid(again) || again != Derive(a...) {
			t.Fatalf("%q gives %s", a, Derive(a...))
		}
		if slices.Equal(a, b) != (Derive(a...) == Derive(b...)) {
			t.Fatalf("%q and %q give %s and %s", a, b, Derive(a...), Derive(b...))
		}
	})
	if Derive("ab", "c") == Derive("a", "bc") || Derive() == Derive("") {
		t.Error("the borders between parts are lost")
	}
}

func TestValidSKU(t *testing.T) {
	form := regexp.MustCompile(`^[A-Z0-9][A-Z0-9-]{1,31}$`)
	rapid.Check(t, func(t *rapid.T) {
		sku := rapid.OneOf(rapid.StringMatching(`[A-Z0-9-]{0,34}`), rapid.String(), rapid.StringMatching(`[A-Za-z0-9_-]{1,4}\n?`)).Draw(t, "sku")
		// In Go, $ matches only at the very end.
		if ValidSKU(sku) != form.MatchString(sku) {
			t.Fatalf("ValidSKU(%q) is %v", sku, ValidSKU(sku))
		}
	})
}

func TestPlain(t *testing.T) {
	form := regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.StringMatching(`[A-Za-z0-9._|-]{0,66}`), rapid.String()).Draw(t, "id")
		if Plain(s) != form.MatchString(s) {
			t.Fatalf("Plain(%q) is %v", s, Plain(s))
		}
	})
}
