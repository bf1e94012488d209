package infra

import (
	"slices"
	"testing"
)

func TestNamesOfAnErlangList(t *testing.T) {
	for term, want := range map[string][]string{
		"[]\n":                            nil,
		`[<<"notifications-users">>]`:     {"notifications-users"},
		"[<<\"a\">>,\n <<\"b.dead\">>]\n": {"a", "b.dead"},
	} {
		if got := namesIn(term); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", term, got, want)
		}
	}
}
