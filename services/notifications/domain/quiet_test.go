package domain_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"caravan/services/notifications/domain"
)

func quiet(zone, from, until string) *domain.Preferences {
	return &domain.Preferences{Settings: domain.Settings{TimeZone: zone, Quiet: domain.QuietHours{From: from, Until: until}}}
}

// In Berlin clocks went from 02:00 to 03:00 on 29 March 2026 (01:00 UTC), and from 03:00 to 02:00 on 25 October 2026 (01:00 UTC).
func TestQuietUntil(t *testing.T) {
	for _, test := range []struct {
		name, zone, from, until string
		now, want               string // in UTC; want is empty if it is not quiet
	}{
		{"before", "UTC", "12:00", "13:00", "2026-03-01T11:59:59Z", ""},
		{"the first instant", "UTC", "12:00", "13:00", "2026-03-01T12:00:00Z", "2026-03-01T13:00:00Z"},
		{"with seconds", "UTC", "12:00", "13:00", "2026-03-01T12:30:29.5Z", "2026-03-01T13:00:00Z"},
		{"the end", "UTC", "12:00", "13:00", "2026-03-01T13:00:00Z", ""},
		{"before midnight", "UTC", "22:00", "07:00", "2026-03-01T23:30:00Z", "2026-03-02T07:00:00Z"},
		{"after midnight", "UTC", "22:00", "07:00", "2026-03-01T00:30:00Z", "2026-03-01T07:00:00Z"},
		{"until midnight", "UTC", "22:00", "00:00", "2026-03-01T23:30:00Z", "2026-03-02T00:00:00Z"},
		{"from midnight", "UTC", "00:00", "07:00", "2026-03-01T00:00:00Z", "2026-03-01T07:00:00Z"},
		{"in the day", "UTC", "22:00", "07:00", "2026-03-01T12:00:00Z", ""},
		{"nearly always", "UTC", "12:01", "12:00", "2026-03-01T12:01:00Z", "2026-03-02T12:00:00Z"},
		{"equal ends", "UTC", "12:00", "12:00", "2026-03-01T12:00:00Z", ""},
		{"another zone", "Europe/Berlin", "22:00", "07:00", "2026-03-01T21:30:00Z", "2026-03-02T06:00:00Z"},
		{"half an hour", "Asia/Kolkata", "22:00", "07:00", "2026-03-01T17:00:00Z", "2026-03-02T01:30:00Z"},
		{"clocks go forward", "Europe/Berlin", "22:00", "07:00", "2026-03-28T22:00:00Z", "2026-03-29T05:00:00Z"},
		{"the end does not exist", "Europe/Berlin", "22:00", "02:30", "2026-03-28T22:00:00Z", "2026-03-29T01:00:00Z"},
		{"all of it does not exist", "Europe/Berlin", "02:00", "03:00", "2026-03-29T01:00:00Z", ""},
		{"the beginning does not exist", "Europe/Berlin", "02:30", "03:30", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"},
		{"the only other minute does not exist", "America/New_York", "02:01", "02:00", "2026-03-08T00:00:00Z", "2026-03-09T06:00:00Z"},
		{"clocks go back", "Europe/Berlin", "22:00", "07:00", "2026-10-24T22:00:00Z", "2026-10-25T06:00:00Z"},
		{"the end exists twice", "Europe/Berlin", "22:00", "02:30", "2026-10-24T22:00:00Z", "2026-10-25T00:30:00Z"},
		{"between the two ends", "Europe/Berlin", "22:00", "02:30", "2026-10-25T00:45:00Z", ""},
		{"before the second end", "Europe/Berlin", "22:00", "02:30", "2026-10-25T01:10:00Z", "2026-10-25T01:30:00Z"},
		{"the end at the change", "Europe/Berlin", "22:00", "03:00", "2026-10-24T22:00:00Z", "2026-10-25T02:00:00Z"},
		{"an unknown zone is UTC", "Mars/Olympus", "12:00", "13:00", "2026-03-01T12:00:00Z", "2026-03-01T13:00:00Z"},
		{"a day was left out", "Pacific/Apia", "22:00", "07:00", "2011-12-30T09:30:00Z", "2011-12-30T17:00:00Z"},
		{"unreadable", "UTC", "noon", "13:00", "2026-03-01T12:30:00Z", ""},
	} {
		now, err := time.Parse(time.RFC3339, test.now)
		if err != nil {
			t.Fatal(err)
		}
		got := quiet(test.zone, test.from, test.until).QuietUntil(now)
		if shown := got.UTC().Format(time.RFC3339); got.IsZero() != (test.want == "") || !got.IsZero() && shown != test.want {
			t.Errorf("%s: quiet until %s; want %q", test.name, shown, test.want)
		}
	}
}

// The end of the quiet hours is the first minute outside of them, minute by minute as a clock on the wall shows it.
func TestQuietHoursEndWhenTheClockSaysSo(t *testing.T) {
	zones := []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Asia/Kathmandu", "America/St_Johns", "Africa/Casablanca", "Pacific/Apia"}
	changes := []int64{ // around the changes of clocks in 2026, and any time
		time.Date(2026, 3, 8, 0, 0, 0, 0, time.UTC).Unix(), time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC).Unix(),
		time.Date(2026, 4, 4, 0, 0, 0, 0, time.UTC).Unix(), time.Date(2026, 10, 25, 0, 0, 0, 0, time.UTC).Unix(),
		time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC).Unix(), time.Date(2011, 12, 29, 12, 0, 0, 0, time.UTC).Unix(),
	}
	minute := func(t *rapid.T, name string) string {
		m := rapid.OneOf(rapid.IntRange(0, 1439), rapid.SampledFrom([]int{0, 60, 90, 120, 150, 180, 1439})).Draw(t, name)
		return fmt.Sprintf("%02d:%02d", m/60, m%60)
	}
	rapid.Check(t, func(t *rapid.T) {
		p := quiet(rapid.SampledFrom(zones).Draw(t, "zone"), minute(t, "from"), minute(t, "until"))
		start := rapid.OneOf(rapid.SampledFrom(changes), rapid.Int64Range(0, 4e9)).Draw(t, "day")
		now := time.Unix(start+rapid.Int64Range(-36*3600, 36*3600).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanoseconds"))
		end := p.QuietUntil(now)
		isQuiet := func(at time.Time) bool {
			wall := at.In(p.Location()).Format("15:04")
			if p.Quiet.From <= p.Quiet.Until {
				return p.Quiet.From <= wall && wall < p.Quiet.Until
			}
			return wall >= p.Quiet.From || wall < p.Quiet.Until
		}
		if !isQuiet(now) {
			if !end.IsZero() {
				t.Fatalf("%s is quiet until %s", now, end)
			}
			return
		}
		if !end.After(now) || isQuiet(end) {
			t.Fatalf("%s is quiet until %s, which is not an end", now, end)
		}
		if end.Sub(now) > 75*time.Hour { // two nights become one where clocks skip what is between them, and Apia skipped a day
			t.Fatalf("%s is quiet until %s, which is too long", now, end)
		}
		for at := now; at.Before(end); at = at.Add(time.Minute) {
			if !isQuiet(at) {
				t.Fatalf("%s is quiet until %s, but %s is not quiet", now, end, at)
			}
		}
		if !isQuiet(end.Add(-time.Nanosecond)) {
			t.Fatalf("%s is quiet until %s, which is late", now, end)
		}
	})
}
