package clock

import (
	"errors"
	"regexp"
	"time"
)

// The years, in UTC, of the times that others may send us: no event, price or filter lies outside. The zero time.Time is
// the year 1, which the code takes for "no time", and a year above 9999 cannot be written as RFC 3339, which JSON uses.
const (
	firstYear = 1970
	lastYear  = 9999
)

// ErrTime says that a text is not a time of RFC 3339, or that a time is outside the years we accept.
var ErrTime = errors.New("must be a time of RFC 3339 in the years 1970 to 9999, counted in UTC")

// form is date-time of RFC 3339, which the time package reads with less care: it takes 3 for 03 and a comma for the point.
var form = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$`)

// Acceptable reports whether a time that came from outside is in the years 1970 to 9999, counted in UTC.
func Acceptable(t time.Time) bool {
	year := t.UTC().Year()
	return firstYear <= year && year <= lastYear
}

// Parse reads a time of RFC 3339 that came from outside. The error is ErrTime.
func Parse(text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || !form.MatchString(text) || !Acceptable(t) {
		return time.Time{}, ErrTime
	}
	return t.UTC(), nil
}
