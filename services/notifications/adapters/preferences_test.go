package adapters_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"caravan/internal/page"
	"caravan/services/notifications/domain"
)

const preferencesPath = "/v1/notifications/preferences"

type preferencesBody struct {
	Locale     string             `json:"locale"`
	TimeZone   string             `json:"timeZone"`
	QuietHours *domain.QuietHours `json:"quietHours"`
	Rules      []domain.Rule      `json:"rules"`
}

func TestPreferencesOverHTTP(t *testing.T) {
	s := newServer()
	var first, again preferencesBody
	if status := s.call(t, customer, "GET", preferencesPath, "", &first); status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	if first.Locale != "en" || first.TimeZone != "UTC" || first.QuietHours != nil || !slices.Contains(first.Rules, domain.Rule{Kind: "welcome", Channel: domain.Email, Enabled: true}) ||
		slices.ContainsFunc(first.Rules, func(r domain.Rule) bool { return r.Kind == "order-placed" && r.Channel == domain.InApp }) {
		t.Errorf("the defaults are %+v", first)
	}
	body := `{"locale":"de","timeZone":"Europe/Berlin","quietHours":{"from":"22:00","until":"07:00"},"rules":[{"kind":"welcome","channel":"email","enabled":false}]}`
	var set preferencesBody
	if status := s.call(t, customer, "PUT", preferencesPath, body, &set); status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	if set.Locale != "de" || set.TimeZone != "Europe/Berlin" || *set.QuietHours != (domain.QuietHours{From: "22:00", Until: "07:00"}) || len(set.Rules) != len(first.Rules) ||
		!slices.Contains(set.Rules, domain.Rule{Kind: "welcome", Channel: domain.Email}) {
		t.Errorf("set to %+v", set)
	}
	raw, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	if status := s.call(t, customer, "PUT", preferencesPath, string(raw), &again); status != http.StatusOK || fmt.Sprint(again.Rules) != fmt.Sprint(set.Rules) {
		t.Errorf("what was read is set with status %d to %+v", status, again)
	}
	var unset preferencesBody
	if status := s.call(t, other, "GET", preferencesPath, "", &unset); status != http.StatusOK || fmt.Sprint(unset) != fmt.Sprint(first) {
		t.Errorf("another user has %+v", unset)
	}
	s.deliver(t, confirmed("u1", 1))
	var list page.List[map[string]any]
	if s.call(t, customer, "GET", "/v1/notifications", "", &list); len(list.Items) != 1 || list.Items[0]["title"] != "Ihre Bestellung ist bestätigt" {
		t.Errorf("listed %v", list.Items)
	}
	var reset preferencesBody
	s.call(t, customer, "PUT", preferencesPath, `{"locale":"en","timeZone":"UTC","rules":[]}`, &reset)
	if fmt.Sprint(reset) != fmt.Sprint(first) {
		t.Errorf("without settings they are %+v", reset)
	}
}

func TestWrongPreferencesAreNamedAllAtOnce(t *testing.T) {
	s := newServer()
	for body, want := range map[string]string{
		`{}`: "locale rules timeZone",
		`{"locale":"fr","timeZone":"","quietHours":{"from":"1","until":"07:00"},"rules":[{"kind":"x","channel":"email","enabled":true},{"kind":"welcome","channel":"sms","enabled":true}]}`: "locale quietHours.from rules[0].kind rules[1].channel timeZone",
		`{"locale":"en","timeZone":"Local","quietHours":null,"rules":[{"kind":"welcome","channel":"email"}]}`:                                                                               "quietHours rules[0].enabled timeZone",
		`{"locale":"en","timeZone":"UTC","rules":[{"kind":"welcome","channel":"email","enabled":true},{"kind":"welcome","channel":"email","enabled":true}]}`:                                "rules[1]",
		`{"locale":"en","timeZone":"UTC","quietHours":{"from":"07:00","until":"07:00"},"rules":[]}`:                                                                                         "quietHours.until",
		`{"locale":"en","timeZone":"UTC","rules":[],"more":1}`:                                                                                                                              "more",
	} {
		var problem struct {
			Errors []struct {
				Field string `json:"field"`
			} `json:"errors"`
		}
		status := s.call(t, customer, "PUT", preferencesPath, body, &problem)
		var fields []string
		for _, e := range problem.Errors {
			fields = append(fields, e.Field)
		}
		slices.Sort(fields)
		if got := strings.Join(slices.Compact(fields), " "); status != http.StatusBadRequest || got != want {
			t.Errorf("%s: status %d names %q; want %q", body, status, got, want)
		}
	}
	var unset preferencesBody
	if s.call(t, customer, "GET", preferencesPath, "", &unset); unset.Locale != "en" {
		t.Errorf("a refused body was stored: %+v", unset)
	}
	for _, method := range []string{"GET", "PUT"} {
		if status := s.call(t, nobody, method, preferencesPath, `{"locale":"en","timeZone":"UTC","rules":[]}`, nil); status != http.StatusUnauthorized {
			t.Errorf("%s by nobody is %d", method, status)
		}
	}
}
