package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"caravan/dapr/launcher"
)

// These are the types of flags. Each refuses values that its command cannot use when the command line is read. A flag
// that is not given keeps its default.

// given is a flag that may be given once and not be empty. An empty value usually comes from an unset shell variable,
// and of two values one would be ignored. Either may turn a filter into "everything".
type given struct {
	flag.Value
	before bool
}

func (g *given) String() string {
	if g.Value == nil { // package flag calls this on a new one
		return ""
	}
	return g.Value.String()
}

func (g *given) Set(text string) error {
	switch {
	case text == "":
		return errors.New("want a value")
	case g.before:
		return errors.New("want it once")
	}
	g.before = true
	return g.Value.Set(text)
}

// IsBoolFlag reports that the flag needs no value (package flag).
func (g *given) IsBoolFlag() bool {
	b, ok := g.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// within is a flag with a value from least to most.
type within[T cmp.Ordered] struct {
	value       *T
	least, most T
	parse       func(string) (T, error)
	format      func(T) string
	what        string // as "a number"
}

func (w within[T]) String() string {
	var none T
	if w.value == nil || *w.value == none { // the flag's text explains a zero
		return ""
	}
	return w.format(*w.value)
}

func (w within[T]) Set(text string) error {
	value, err := w.parse(text)
	// Not "value < least": NaN is neither less nor greater than anything.
	if err != nil || !(value >= w.least && value <= w.most) {
		return fmt.Errorf("want %s from %s to %s", w.what, w.format(w.least), w.format(w.most))
	}
	*w.value = value
	return nil
}

func number(value *int, least, most int) within[int] {
	return within[int]{value, least, most, strconv.Atoi, strconv.Itoa, "a number"}
}

func decimal(value *float64, least, most float64) within[float64] {
	parse := func(text string) (float64, error) { return strconv.ParseFloat(text, 64) }
	format := func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
	return within[float64]{value, least, most, parse, format, "a number"}
}

func period(value *time.Duration, least, most time.Duration) within[time.Duration] {
	return within[time.Duration]{value, least, most, time.ParseDuration, time.Duration.String, "a time with a unit, as 90s,"}
}

// longest is the maximum of flags for durations. No command needs a longer one, and sums of such durations stay far
// below the maximum of time.Duration.
const longest = 365 * 24 * time.Hour

// many is the maximum of flags for counts.
const many = math.MaxInt32

// webAddress is a flag with an http or https URL.
type webAddress struct {
	value   *string
	example string
}

func (a webAddress) String() string {
	if a.value == nil {
		return ""
	}
	return *a.value
}

func (a webAddress) Set(text string) error {
	address, err := url.Parse(text)
	port := "80"
	if err == nil && address.Port() != "" {
		port = address.Port()
	}
	if _, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil ||
		(address.Scheme != "http" && address.Scheme != "https") || address.Hostname() == "" {
		return fmt.Errorf("want a URL, as %s", a.example)
	}
	*a.value = text
	return nil
}

// mailServer is a flag with a mail server. It never shows its value, which may have a password.
type mailServer struct{ value *string }

func (m mailServer) String() string { return "" }

func (m mailServer) Set(text string) error {
	if err := launcher.CheckMail(text); err != nil {
		return err
	}
	*m.value = text
	return nil
}

// withoutFlag returns arguments without a flag and its value.
func withoutFlag(args []string, name string) []string {
	var rest []string
	for i := 0; i < len(args); i++ {
		switch arg := args[i]; {
		case arg == "-"+name || arg == "--"+name:
			i++ // its value
		case strings.HasPrefix(arg, "-"+name+"=") || strings.HasPrefix(arg, "--"+name+"="):
		default:
			rest = append(rest, arg)
		}
	}
	return rest
}

// oneOf is a flag with one of several words.
type oneOf struct {
	value   *string
	choices []string
}

func (o oneOf) String() string {
	if o.value == nil {
		return ""
	}
	return *o.value
}

func (o oneOf) Set(value string) error {
	if !slices.Contains(o.choices, value) {
		return fmt.Errorf("want one of %s", strings.Join(o.choices, ", "))
	}
	*o.value = value
	return nil
}
