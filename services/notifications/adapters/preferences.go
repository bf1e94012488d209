package adapters

import (
	"errors"
	"net/http"

	"caravan/internal/problem"
	"caravan/internal/request"
	"caravan/internal/service"
	"caravan/internal/token"
	"caravan/services/notifications/domain"
)

// preferences are the preferences of a user on the wire. What is read can be sent back as it is.
type preferences struct {
	Locale     domain.Locale `json:"locale"`
	TimeZone   string        `json:"timeZone"`
	QuietHours *quietHours   `json:"quietHours,omitzero"`
	Rules      []rule        `json:"rules"`
}

type quietHours struct {
	From  string `json:"from"`
	Until string `json:"until"`
}

type rule struct {
	Kind    string         `json:"kind"`
	Channel domain.Channel `json:"channel"`
	Enabled bool           `json:"enabled"`
}

// Check implements request.Checker.
func (b *preferences) Check() []problem.FieldError {
	var violations domain.Violations
	if b.TimeZone == "" { // in the domain that is the zone of a user who chose none
		violations = append(violations, domain.Violation{Field: "timeZone", Code: "timezone", Message: "must not be empty"})
	}
	var broken domain.Violations
	if errors.As(b.settings().Check(), &broken) {
		violations = append(violations, broken...)
	}
	return faultsOf(violations)
}

func faultsOf(violations domain.Violations) []problem.FieldError {
	faults := make([]problem.FieldError, len(violations))
	for i, v := range violations {
		faults[i] = problem.FieldError{Field: v.Field, Code: v.Code, Message: v.Message}
	}
	return faults
}

func (b *preferences) settings() domain.Settings {
	s := domain.Settings{Locale: b.Locale, TimeZone: b.TimeZone}
	if b.QuietHours != nil {
		s.Quiet = domain.QuietHours(*b.QuietHours)
	}
	for _, r := range b.Rules {
		s.Rules = append(s.Rules, domain.Rule(r))
	}
	return s
}

// preferencesOf leaves out the kinds that are for staff if the caller does not get them.
func preferencesOf(p *domain.Preferences, caller token.Claims) preferences {
	b := preferences{Locale: p.Language(), TimeZone: p.Location().String()}
	if p.Quiet != (domain.QuietHours{}) {
		hours := quietHours(p.Quiet)
		b.QuietHours = &hours
	}
	for _, r := range p.AllRules() {
		if k, _ := domain.KindNamed(r.Kind); k.Permission != "" && !caller.Can(k.Permission) {
			continue
		}
		b.Rules = append(b.Rules, rule(r))
	}
	return b
}

// showPreferences answers GET /v1/notifications/preferences.
func (a API) showPreferences(r *http.Request) (request.Answer, error) {
	caller, err := service.Caller(r)
	if err != nil {
		return request.Answer{}, err
	}
	p, err := a.ShowPreferences.Do(r.Context(), caller.Subject)
	if err != nil {
		return request.Answer{}, err
	}
	return request.OK(preferencesOf(p, caller)), nil
}

// setPreferences answers PUT /v1/notifications/preferences.
func (a API) setPreferences(r *http.Request) (request.Answer, error) {
	caller, err := service.Caller(r)
	if err != nil {
		return request.Answer{}, err
	}
	var body preferences
	if err := request.Decode(r, &body); err != nil {
		return request.Answer{}, err
	}
	p, err := a.SetPreferences.Do(r.Context(), caller.Subject, body.settings())
	if err != nil {
		return request.Answer{}, err
	}
	return request.OK(preferencesOf(p, caller)), nil
}
