package e2e

import (
	"net/http"
	"strings"
	"testing"
)

// preferencesBody are the preferences of a user.
type preferencesBody struct {
	Locale     string            `json:"locale"`
	TimeZone   string            `json:"timeZone"`
	QuietHours map[string]string `json:"quietHours,omitempty"`
	Rules      []preferenceRule  `json:"rules"`
}

type preferenceRule struct {
	Kind    string `json:"kind"`
	Channel string `json:"channel"`
	Enabled bool   `json:"enabled"`
}

// TestPreferences sets a language, a time zone and a rule. The inbox follows them, for old entries too.
func TestPreferences(t *testing.T) {
	const path = "/v1/notifications/preferences"
	c := open(t, shared(t)).customer(1000)
	titles := func() map[string]string {
		byType := make(map[string]string)
		for _, n := range all[noticeBody](c.client, "/v1/notifications") {
			byType[n.Type] = n.Title
		}
		return byType
	}
	eventually(t, "welcome and deposit", func() error {
		if got := titles(); len(got) < 2 {
			return errorf("the inbox has %v", got)
		}
		return nil
	})
	var before, set preferencesBody
	c.get(path, &before)
	if before.Locale != "en" || before.TimeZone != "UTC" || len(before.Rules) == 0 || titles()["users.registered.v1"] != "Welcome to Caravan" {
		t.Errorf("the defaults are %+v", before)
	}
	wanted := preferencesBody{
		Locale: "de", TimeZone: "Europe/Berlin", QuietHours: map[string]string{"from": "22:00", "until": "07:00"},
		Rules: []preferenceRule{{Kind: "deposit-received", Channel: "in-app"}},
	}
	c.must(http.StatusOK, http.MethodPut, path, wanted, &set)
	if set.TimeZone != "Europe/Berlin" || set.QuietHours["until"] != "07:00" || len(set.Rules) != len(before.Rules) {
		t.Errorf("set to %+v", set)
	}
	if got := titles(); got["users.registered.v1"] != "Willkommen bei Caravan" || got["payments.deposited.v1"] != "" {
		t.Errorf("the inbox has %v", got)
	}
	refused := c.must(http.StatusBadRequest, http.MethodPut, path, `{"locale":"de","timeZone":"Europe/Atlantis","rules":[{"kind":"gossip","channel":"email","enabled":true}]}`, nil)
	if body := string(refused.body); !strings.Contains(body, `"timeZone"`) || !strings.Contains(body, `"rules[0].kind"`) {
		t.Errorf("two faults are answered with %s", body)
	}
	c.must(http.StatusOK, http.MethodPut, path, before, &set)
	if got := titles(); got["payments.deposited.v1"] != "Money added to your wallet" {
		t.Errorf("the inbox has %v", got)
	}
}
