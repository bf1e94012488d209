package domain_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"caravan/internal/document"
	"caravan/services/notifications/domain"
)

// alarm is a kind that cannot be switched off, in the channels that it has by default.
var alarm = domain.Kind{Name: "alarm", Security: true, Channels: []domain.Channel{domain.Email}, Optional: []domain.Channel{domain.Push}}

func kind(t testing.TB, name string) domain.Kind {
	t.Helper()
	k, ok := domain.KindNamed(name)
	if !ok {
		t.Fatalf("there is no kind %s", name)
	}
	return k
}

func valid() domain.Settings {
	return domain.Settings{
		Locale: domain.German, TimeZone: "Europe/Berlin", Quiet: domain.QuietHours{From: "22:00", Until: "07:00"},
		Rules: []domain.Rule{{Kind: "welcome", Channel: domain.Email}, {Kind: "order-placed", Channel: domain.Push, Enabled: true}},
	}
}

func TestPreferences(t *testing.T) {
	var p domain.Preferences
	welcome, placed := kind(t, "welcome"), kind(t, "order-placed")
	if !p.Wants(welcome, domain.Email) || p.Wants(welcome, domain.Push) || p.Wants(placed, domain.InApp) || !p.Wants(alarm, domain.Email) || p.Wants(alarm, domain.Push) {
		t.Error("a user without preferences does not have the defaults")
	}
	if p.Language() != domain.English || p.Location() != time.UTC || !p.QuietUntil(noon).IsZero() {
		t.Errorf("a user without preferences has %s, %s", p.Language(), p.Location())
	}
	if err := p.Set("u1", valid()); err != nil {
		t.Fatal(err)
	}
	p.Revision = 1
	if p.Wants(welcome, domain.Email) || !p.Wants(placed, domain.Push) || !p.Wants(welcome, domain.InApp) || p.UserID != "u1" || p.Language() != domain.German {
		t.Errorf("the settings do not apply: %+v", p)
	}
	if err := p.Set("u1", valid()); !errors.Is(err, document.ErrUnchanged) {
		t.Errorf("the same again: %v", err)
	}
	if err := p.Set("u1", domain.Settings{Locale: domain.English}); err != nil || !p.Wants(welcome, domain.Email) || len(p.Rules) != 0 {
		t.Errorf("nothing is replaced: %v, %+v", err, p)
	}
	p.Rules = []domain.Rule{{Kind: alarm.Name, Channel: domain.Email}, {Kind: alarm.Name, Channel: domain.Push, Enabled: true}, {Kind: "welcome", Channel: "pigeon", Enabled: true}}
	if !p.Wants(alarm, domain.Email) || !p.Wants(alarm, domain.Push) || p.Wants(welcome, "pigeon") {
		t.Error("a stored rule switches off what is fixed, or on what does not exist")
	}
}

func TestEveryFaultOfSettingsIsNamed(t *testing.T) {
	s := domain.Settings{
		Locale: "fr", TimeZone: "Mars/Olympus", Quiet: domain.QuietHours{From: "24:00", Until: "7:00"},
		Rules: []domain.Rule{
			{Kind: "no-such-kind", Channel: domain.Email}, {Kind: "order-placed", Channel: domain.InApp},
			{Kind: "welcome", Channel: domain.Email}, {Kind: "welcome", Channel: domain.Email, Enabled: true},
		},
	}
	var v domain.Violations
	if !errors.As(s.Check(), &v) {
		t.Fatal("no fault is found")
	}
	var fields []string
	for _, one := range v {
		fields = append(fields, one.Field)
		if one.Code == "" || one.Message == "" {
			t.Errorf("%+v says too little", one)
		}
	}
	if got := strings.Join(fields, " "); got != "locale timeZone quietHours.from quietHours.until rules[0].kind rules[1].channel rules[3]" {
		t.Errorf("the faults are in %s", got)
	}
	if err := new(domain.Preferences).Set("u1", s); !errors.As(err, &v) || !strings.Contains(err.Error(), "timeZone must be") {
		t.Errorf("they are set: %v", err)
	}
}

func TestSettingsAtTheirBounds(t *testing.T) {
	with := func(change func(*domain.Settings)) domain.Settings {
		s := valid()
		change(&s)
		return s
	}
	for name, test := range map[string]struct {
		settings domain.Settings
		valid    bool
	}{
		"as they are":         {valid(), true},
		"UTC":                 {with(func(s *domain.Settings) { s.TimeZone = "UTC" }), true},
		"no zone":             {with(func(s *domain.Settings) { s.TimeZone = "" }), true},
		"three parts":         {with(func(s *domain.Settings) { s.TimeZone = "America/Argentina/Buenos_Aires" }), true},
		"the machine's zone":  {with(func(s *domain.Settings) { s.TimeZone = "Local" }), false},
		"a file":              {with(func(s *domain.Settings) { s.TimeZone = "../../etc/passwd" }), false},
		"an absolute path":    {with(func(s *domain.Settings) { s.TimeZone = "/etc/localtime" }), false},
		"no quiet hours":      {with(func(s *domain.Settings) { s.Quiet = domain.QuietHours{} }), true},
		"half of quiet hours": {with(func(s *domain.Settings) { s.Quiet.Until = "" }), false},
		"equal ends":          {with(func(s *domain.Settings) { s.Quiet.Until = s.Quiet.From }), false},
		"a sign":              {with(func(s *domain.Settings) { s.Quiet.From = "+1:00" }), false},
		"a minute too many":   {with(func(s *domain.Settings) { s.Quiet.From = "22:60" }), false},
		"the last minute":     {with(func(s *domain.Settings) { s.Quiet.From = "23:59" }), true},
		"too many rules":      {with(func(s *domain.Settings) { s.Rules = make([]domain.Rule, 101) }), false},
	} {
		if err := test.settings.Check(); (err == nil) != test.valid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSwitchOff(t *testing.T) {
	var p domain.Preferences
	welcome, back := kind(t, "welcome"), kind(t, "payment-refunded")
	if err := p.SwitchOff("u1", welcome, domain.Email); err != nil || p.Wants(welcome, domain.Email) || !p.Wants(welcome, domain.InApp) || p.UserID != "u1" {
		t.Errorf("it is not off: %v", err)
	}
	if err := p.SwitchOff("u1", welcome, domain.Email); !errors.Is(err, document.ErrUnchanged) {
		t.Errorf("again: %v", err)
	}
	p.Rules[0].Enabled = true
	if err := p.SwitchOff("u1", welcome, domain.Email); err != nil || p.Wants(welcome, domain.Email) || len(p.Rules) != 1 {
		t.Errorf("after it was on: %v, %v", err, p.Rules)
	}
	if err := p.SwitchOff("u1", back, domain.Email); err != nil || len(p.Rules) != 2 {
		t.Errorf("what is off by default must stay off if the default changes: %v, %v", err, p.Rules)
	}
	if err := p.SwitchOff("u1", alarm, domain.Email); !errors.Is(err, domain.ErrFixed) || len(p.Rules) != 2 {
		t.Errorf("a security kind: %v", err)
	}
}

// What a user reads can be set again and changes nothing of what the user gets.
func TestAllRulesCanBeSetAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := domain.Preferences{UserID: "u1"}
		var offered []domain.Rule
		for _, r := range p.AllRules() {
			switch rapid.IntRange(0, 2).Draw(t, "rule") {
			case 1:
				offered = append(offered, domain.Rule{Kind: r.Kind, Channel: r.Channel, Enabled: true})
			case 2:
				offered = append(offered, domain.Rule{Kind: r.Kind, Channel: r.Channel})
			}
		}
		if err := p.Set("u1", domain.Settings{Locale: domain.English, Rules: offered}); err != nil {
			t.Fatal(err)
		}
		for _, r := range offered {
			k, _ := domain.KindNamed(r.Kind)
			if p.Wants(k, r.Channel) != r.Enabled {
				t.Fatalf("%+v does not apply", r)
			}
		}
		all := p.AllRules()
		if err := p.Set("u1", domain.Settings{Locale: domain.English, Rules: all}); err != nil && !errors.Is(err, document.ErrUnchanged) {
			t.Fatal(err)
		}
		if again := p.AllRules(); fmt.Sprint(again) != fmt.Sprint(all) {
			t.Fatalf("set again they are %v; want %v", again, all)
		}
		for _, k := range append(domain.Kinds(), alarm) {
			for _, c := range domain.Channels() {
				if p.Wants(k, c) && !k.Offers(c) || k.Fixed(c) && !p.Wants(k, c) {
					t.Fatalf("%s in %s is wanted: %t", k.Name, c, p.Wants(k, c))
				}
			}
		}
	})
}
