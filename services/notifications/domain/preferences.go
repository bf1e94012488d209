package domain

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // a container may have no time zones of its own

	"caravan/internal/document"
)

// rulesMax bounds the rules of one user.
const rulesMax = 100

// ErrFixed says that a kind cannot be switched off in a channel.
var ErrFixed = errors.New("messages of this kind cannot be switched off")

// Preferences are what a user wants to be notified of, and how. A user without a document gets what the table of kinds has.
type Preferences struct {
	document.Root
	UserID string `json:"userId"`
	Settings
	// ChangedAt is when the rules changed last. It is zero if that is not known, as in documents of early versions.
	ChangedAt time.Time `json:"changedAt,omitzero"`
}

// Settings are what a user can set.
type Settings struct {
	// Locale is the language of all messages.
	Locale Locale `json:"locale,omitempty"`
	// TimeZone is the IANA name of the zone of the quiet hours and of the times in mails. Empty means UTC.
	TimeZone string `json:"timeZone,omitempty"`
	// Quiet are the hours without push.
	Quiet QuietHours `json:"quietHours,omitzero"`
	// Rules are the kinds and channels for which the user decided. For others the table of kinds applies.
	Rules []Rule `json:"rules,omitempty"`
}

// Rule switches one kind on or off in one channel.
type Rule struct {
	Kind    string  `json:"kind"`
	Channel Channel `json:"channel"`
	Enabled bool    `json:"enabled"`
}

// QuietHours are a part of the day, from one time to another, over midnight if the first is later. The zero value has none.
type QuietHours struct {
	From  string `json:"from"`
	Until string `json:"until"`
}

// Violation is one setting that breaks a rule. Field is its JSON path in the request, such as rules[0].kind.
type Violation struct{ Field, Code, Message string }

// Violations are all settings that break a rule. The list is never empty.
type Violations []Violation

// Error implements error.
func (v Violations) Error() string {
	parts := make([]string, len(v))
	for i, one := range v {
		parts[i] = one.Field + " " + one.Message
	}
	return strings.Join(parts, "; ")
}

func (v *Violations) add(field, code, format string, args ...any) {
	*v = append(*v, Violation{Field: field, Code: code, Message: fmt.Sprintf(format, args...)})
}

// Check returns [Violations] if a setting breaks a rule.
func (s Settings) Check() error {
	var v Violations
	if s.Locale != s.Locale.known() {
		v.add("locale", "oneof", "must be one of %s", joined(Locales()))
	}
	if _, err := zone(s.TimeZone); err != nil {
		v.add("timeZone", "timezone", "must be the name of an IANA time zone, such as Europe/Berlin")
	}
	if s.Quiet != (QuietHours{}) {
		s.Quiet.check(&v)
	}
	if len(s.Rules) > rulesMax {
		v.add("rules", "max", "must be at most %d entries", rulesMax)
		return v
	}
	s.checkRules(&v)
	if len(v) == 0 {
		return nil
	}
	return v
}

func (q QuietHours) check(v *Violations) {
	from, fromErr := minuteOfDay(q.From)
	until, untilErr := minuteOfDay(q.Until)
	if fromErr != nil {
		v.add("quietHours.from", "time", "%v", fromErr)
	}
	if untilErr != nil {
		v.add("quietHours.until", "time", "%v", untilErr)
	}
	if fromErr == nil && untilErr == nil && from == until {
		v.add("quietHours.until", "time", "must differ from the beginning; leave quietHours out for none")
	}
}

func (s Settings) checkRules(v *Violations) {
	type place struct {
		kind    string
		channel Channel
	}
	seen := make(map[place]bool)
	for i, r := range s.Rules {
		field := "rules[" + strconv.Itoa(i) + "]"
		k, known := KindNamed(r.Kind)
		at := place{r.Kind, r.Channel}
		switch {
		case !known:
			v.add(field+".kind", "kind", "is not a kind of notification")
			continue
		case !k.Offers(r.Channel):
			v.add(field+".channel", "channel", "is not a channel of %s", k.Name)
		case seen[at]:
			v.add(field, "unique", "must not repeat a kind and a channel")
		case k.Fixed(r.Channel) && !r.Enabled:
			v.add(field+".enabled", "fixed", "must be true: messages of this kind are about the safety of the account")
		}
		seen[at] = true
	}
}

func joined[T ~string](names []T) string {
	parts := make([]string, len(names))
	for i, n := range names {
		parts[i] = string(n)
	}
	return strings.Join(parts, ", ")
}

// Set replaces all settings by valid ones. It returns document.ErrUnchanged if they are the same, and [Violations].
func (p *Preferences) Set(userID string, s Settings) error {
	if err := s.Check(); err != nil {
		return err
	}
	if p.Exists() && p.Settings.equal(s) {
		return document.ErrUnchanged
	}
	p.UserID, p.Settings = userID, s
	return nil
}

func (s Settings) equal(o Settings) bool {
	return s.Locale == o.Locale && s.TimeZone == o.TimeZone && s.Quiet == o.Quiet && slices.Equal(s.Rules, o.Rules)
}

// SwitchOff switches a kind off in a channel, also if it is off by default, so that it stays off if the default changes. It returns
// document.ErrUnchanged if the user did so before, and [ErrFixed].
func (p *Preferences) SwitchOff(userID string, k Kind, c Channel) error {
	if k.Fixed(c) {
		return ErrFixed
	}
	p.UserID = userID
	for i := range p.Rules {
		if r := &p.Rules[i]; r.Kind == k.Name && r.Channel == c {
			if !r.Enabled {
				return document.ErrUnchanged
			}
			r.Enabled = false
			return nil
		}
	}
	p.Rules = append(p.Rules, Rule{Kind: k.Name, Channel: c})
	return nil
}

// Wants reports whether the user gets messages of a kind in a channel. Quiet hours only delay them.
func (p *Preferences) Wants(k Kind, c Channel) bool {
	if !k.Offers(c) {
		return false
	}
	if k.Fixed(c) {
		return true
	}
	for _, r := range p.Rules {
		if r.Kind == k.Name && r.Channel == c {
			return r.Enabled
		}
	}
	return k.ByDefault(c)
}

// WantsEarlier reports whether the user gets messages in a channel about a status before that of a kind. Then a message of the kind
// matters although they have switched it off: no earlier status is sent after it.
func (p *Preferences) WantsEarlier(k Kind, c Channel) bool {
	return slices.ContainsFunc(kinds, func(o Kind) bool { return o.Rank > 0 && o.Rank < k.Rank && p.Wants(o, c) })
}

// declines reports whether the user has switched a kind off in a channel.
func (p *Preferences) declines(k Kind, c Channel) bool {
	return !k.Fixed(c) && slices.ContainsFunc(p.Rules, func(r Rule) bool { return r.Kind == k.Name && r.Channel == c && !r.Enabled })
}

// Before reports whether the rules are known to be those that applied at a time and since.
func (p *Preferences) Before(at time.Time) bool {
	if !p.Exists() {
		return true // nobody removes preferences
	}
	return !p.ChangedAt.IsZero() && p.ChangedAt.Add(eventSkew).Before(at)
}

// Hides reports whether the user switched a kind off in the app.
func (p *Preferences) Hides() bool {
	return slices.ContainsFunc(p.Rules, func(r Rule) bool { return r.Channel == InApp && !r.Enabled })
}

// AllRules has a rule for each kind and channel that the user can switch, in the order of the table, with what applies now.
func (p *Preferences) AllRules() []Rule {
	var all []Rule
	for _, k := range kinds {
		for _, c := range Channels() {
			if k.Offers(c) && !k.Fixed(c) {
				all = append(all, Rule{Kind: k.Name, Channel: c, Enabled: p.Wants(k, c)})
			}
		}
	}
	return all
}

// Language is the language of the user's messages.
func (p *Preferences) Language() Locale { return p.Locale.known() }

// Location is the time zone of the user. It is UTC if this program does not know the zone.
func (p *Preferences) Location() *time.Location {
	l, err := zone(p.TimeZone)
	if err != nil {
		return time.UTC
	}
	return l
}

// QuietUntil is when the quiet hours end in which a time is, and the zero time if it is in none. It is the first instant at which
// a clock on the user's wall shows a time outside the quiet hours, so clocks that are put forward or back are considered.
func (p *Preferences) QuietUntil(now time.Time) time.Time {
	from, fromErr := minuteOfDay(p.Quiet.From)
	until, untilErr := minuteOfDay(p.Quiet.Until)
	if fromErr != nil || untilErr != nil || from == until {
		return time.Time{}
	}
	const dayMinutes = 24 * 60
	length := (until - from + dayMinutes) % dayMinutes
	at := now.In(p.Location())
	for quiet := false; ; quiet = true {
		wall := at.Hour()*60 + at.Minute()
		passed := (wall - from + dayMinutes) % dayMinutes
		if passed >= length {
			if !quiet {
				return time.Time{}
			}
			return at
		}
		left := time.Duration(length-passed)*time.Minute - time.Duration(at.Second())*time.Second - time.Duration(at.Nanosecond())
		end := at.Add(left)
		// The end is right if the clock runs on until then. If it is put forward or back before, look again at that moment.
		_, change := at.ZoneBounds()
		if change.IsZero() || end.Before(change) {
			return end
		}
		at = change
	}
}

// zones are the names of time zones in the IANA database.
var zones = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$`)

func zone(name string) (*time.Location, error) {
	if name == "" {
		return time.UTC, nil
	}
	if name == "Local" || len(name) > 64 || !zones.MatchString(name) { // Local is the zone of the machine
		return nil, fmt.Errorf("%.64q is not a time zone", name)
	}
	l, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("loading a time zone: %w", err)
	}
	return l, nil
}

var errTimeOfDay = errors.New("must be a time of day such as 22:00")

// minuteOfDay reads a time of day.
func minuteOfDay(s string) (int, error) {
	if len(s) != len("22:00") || s[2] != ':' {
		return 0, errTimeOfDay
	}
	hour, hourErr := strconv.ParseUint(s[:2], 10, 8)
	minute, minuteErr := strconv.ParseUint(s[3:], 10, 8)
	if hourErr != nil || minuteErr != nil || hour > 23 || minute > 59 {
		return 0, errTimeOfDay
	}
	return int(hour*60 + minute), nil
}
