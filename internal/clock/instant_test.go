package clock

import (
	"errors"
	"testing"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"2026-01-02T03:04:05Z":           "2026-01-02T03:04:05Z",
		"2026-01-02T03:04:05.123+02:00":  "2026-01-02T01:04:05.123Z",
		"1970-01-01T00:00:00Z":           "1970-01-01T00:00:00Z",
		"1969-12-31T23:00:00-01:00":      "1970-01-01T00:00:00Z",
		"9999-12-31T23:59:59.999999999Z": "9999-12-31T23:59:59.999999999Z",
		"9999-12-31T23:59:59+14:00":      "9999-12-31T09:59:59Z",
	} {
		got, err := Parse(text)
		if err != nil {
			t.Errorf("%s is refused: %v", text, err)
			continue
		}
		if written, err := got.MarshalText(); err != nil || string(written) != want {
			t.Errorf("%s was read as %s, %v; want %s", text, written, err, want)
		}
	}
	for _, text := range []string{
		"", "soon", "2026-01-02", "2026-01-02T03:04:05", "2026-01-02 03:04:05Z", "2026-01-02T3:04:05Z", "2026-01-02T03:04:05,5Z",
		"2026-02-30T00:00:00Z", "2026-01-02T24:00:00Z", "2026-01-02T03:04:60Z", "2026-01-02T03:04:05+24:00", "12026-01-02T03:04:05Z",
		"9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59-00:01", "0000-01-01T00:00:00+14:00", "0000-01-01T00:00:00Z",
		"0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "1970-01-01T00:00:00+00:01",
	} {
		if got, err := Parse(text); !errors.Is(err, ErrTime) {
			t.Errorf("%q was read as %s, %v", text, got, err)
		}
	}
}
