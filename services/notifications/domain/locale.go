package domain

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"golang.org/x/text/number"

	"caravan/internal/money"
)

// Locale is a language in which users read messages, and how it writes numbers and times. The zero value is English.
type Locale string

// The locales.
const (
	English Locale = "en"
	German  Locale = "de"
)

// Locales are all locales. Each has a folder of templates.
func Locales() []Locale { return []Locale{English, German} }

// conventions are what a locale needs beyond its templates. A locale without a row is written as English.
var conventions = map[Locale]convention{
	English: {
		tag:    language.English,
		months: [12]string{"January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"},
		date:   "%d %s %d, %02d:%02d (%s)",
	},
	German: {
		tag:    language.German,
		months: [12]string{"Januar", "Februar", "März", "April", "Mai", "Juni", "Juli", "August", "September", "Oktober", "November", "Dezember"},
		date:   "%d. %s %d, %02d:%02d Uhr (%s)",
	},
}

type convention struct {
	tag    language.Tag
	months [12]string
	date   string // day, month, year, hour, minute, zone
}

func (l Locale) convention() convention {
	if c, ok := conventions[l]; ok {
		return c
	}
	return conventions[English]
}

// known is the locale itself, or English for one without templates.
func (l Locale) known() Locale {
	if _, ok := conventions[l]; ok {
		return l
	}
	return English
}

// Money writes an amount with the separators of the locale: 1,234.50 EUR or 1.234,50 EUR. It is exact.
func (l Locale) Money(m money.Money) string {
	digits := money.Decimals(m.Currency)
	scale := uint64(1)
	for range digits {
		scale *= 10
	}
	magnitude, sign := uint64(m.Amount), ""
	if m.Amount < 0 {
		magnitude, sign = -magnitude, "-"
	}
	p := message.NewPrinter(l.convention().tag)
	written := sign + p.Sprint(number.Decimal(magnitude/scale))
	if digits > 0 {
		// A fraction of a few digits is exact enough as a float, which the package rounds to the same digits.
		fraction := float64(magnitude%scale) / math.Pow10(digits)
		written += strings.TrimPrefix(p.Sprint(number.Decimal(fraction, number.Scale(digits))), "0")
	}
	return strings.TrimSpace(written + " " + m.Currency)
}

// Time writes a time in its own time zone, to the minute: 1 March 2026, 13:00 (UTC+1).
func (l Locale) Time(t time.Time) string {
	c := l.convention()
	return fmt.Sprintf(c.date, t.Day(), c.months[t.Month()-1], t.Year(), t.Hour(), t.Minute(), offset(t))
}

// offset is the difference of the time zone of a time from UTC.
func offset(t time.Time) string {
	_, seconds := t.Zone()
	if seconds == 0 {
		return "UTC"
	}
	sign := "+"
	if seconds < 0 {
		sign, seconds = "-", -seconds
	}
	text := "UTC" + sign + strconv.Itoa(seconds/3600)
	if minutes := seconds / 60 % 60; minutes != 0 {
		text += fmt.Sprintf(":%02d", minutes)
	}
	return text
}

// AcceptedLocale is the locale that suits the header Accept-Language of a request best.
func AcceptedLocale(header string) Locale {
	accepted, _, err := language.ParseAcceptLanguage(header)
	if err != nil {
		return English
	}
	locales := Locales()
	tags := make([]language.Tag, len(locales))
	for i, l := range locales {
		tags[i] = l.convention().tag
	}
	_, i, _ := language.NewMatcher(tags).Match(accepted...)
	return locales[i]
}
