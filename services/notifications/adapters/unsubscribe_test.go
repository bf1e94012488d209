package adapters_test

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"caravan/internal/service/servicetest"
	"caravan/services/notifications/app"
	"caravan/services/notifications/domain"
)

// links are those of the test server.
var links = app.UnsubscribeLinks{BaseURL: "https://shop.example/", Key: []byte("0123456789abcdef0123456789abcdef")}

const (
	formType = "application/x-www-form-urlencoded"
	oneClick = "List-Unsubscribe=One-Click"
)

// linkOf is the path of the link in a mail to u1.
func linkOf(t *testing.T, kind string) string {
	t.Helper()
	k, known := domain.KindNamed(kind)
	if !known {
		t.Fatalf("there is no kind %s", kind)
	}
	link := links.Of(app.Message{UserID: "u1", Kind: k, Delivery: domain.Delivery{OccurredAt: noon.Add(-time.Hour)}}, domain.Email)
	path, found := strings.CutPrefix(link, "https://shop.example")
	if !found {
		t.Fatalf("the link is %q", link)
	}
	return path
}

func (s *server) page(t *testing.T, method, target, body string, header map[string]string) *httptest.ResponseRecorder {
	t.Helper()
	return s.Do(t, servicetest.Request{Method: method, Target: target, Body: body, Header: header})
}

func wants(t *testing.T, s *server, kind string) bool {
	t.Helper()
	var set preferencesBody
	s.call(t, customer, "GET", preferencesPath, "", &set)
	i := slices.IndexFunc(set.Rules, func(r domain.Rule) bool { return r.Kind == kind && r.Channel == domain.Email })
	return i >= 0 && set.Rules[i].Enabled
}

func TestUnsubscribe(t *testing.T) {
	s, link := newServer(), linkOf(t, "order-confirmed")
	asked := s.page(t, "GET", link, "", map[string]string{"Accept-Language": "fr, de-AT;q=0.8, en;q=0.5"})
	if body := asked.Body.String(); asked.Code != 200 || !strings.Contains(body, `<html lang="de">`) || !strings.Contains(body, "Ihre Bestellung ist bestätigt") ||
		!strings.Contains(body, `<form method="post">`) || !wants(t, s, "order-confirmed") {
		t.Errorf("asked: %d %s", asked.Code, body)
	}
	policy := asked.Header().Get("Content-Security-Policy")
	if asked.Header().Get("Content-Type") != "text/html; charset=utf-8" || asked.Header().Get("Content-Language") != "de" ||
		!strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") || strings.Contains(policy, "unsafe") {
		t.Errorf("the headers are %v", asked.Header())
	}
	if body := asked.Body.String(); strings.Contains(body, "http:") || strings.Contains(body, "https:") || strings.Contains(body, "<script") || strings.Contains(body, "src=") {
		t.Errorf("the page loads something: %s", body)
	}
	const multipart = "--b\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--b--\r\n"
	for _, form := range []struct{ media, body string }{{formType, oneClick}, {formType, oneClick}, {"multipart/form-data; boundary=b", multipart}} {
		done := s.page(t, "POST", link, form.body, map[string]string{"Content-Type": form.media})
		if body := done.Body.String(); done.Code != 200 || !strings.Contains(body, "These e-mails are off") || strings.Contains(body, "<form") {
			t.Errorf("%s: %d %s", form.media, done.Code, body)
		}
		if wants(t, s, "order-confirmed") || !wants(t, s, "welcome") {
			t.Errorf("%s: not exactly this kind is off", form.media)
		}
	}
	if again := s.page(t, "GET", link, "", nil); again.Code != 200 || !strings.Contains(again.Body.String(), "These e-mails are off") {
		t.Errorf("asked again: %d %s", again.Code, again.Body)
	}
	// The language of the user's preferences is more important than that of the browser.
	s.call(t, customer, "PUT", preferencesPath, `{"locale":"de","timeZone":"UTC","rules":[]}`, nil)
	if german := s.page(t, "GET", link, "", map[string]string{"Accept-Language": "en"}); !strings.Contains(german.Body.String(), "abbestellen?") {
		t.Errorf("in German: %s", german.Body)
	}
}

// What is wrong is named, and changes nothing.
func TestUnsubscribeRefuses(t *testing.T) {
	s, link := newServer(), linkOf(t, "order-confirmed")
	form := func(media string) map[string]string { return map[string]string{"Content-Type": media} }
	for name, c := range map[string]struct {
		method, target, body string
		header               map[string]string
		status               int
		says                 string
	}{
		"no token":             {"GET", app.UnsubscribePath, "", nil, 400, `"token"`},
		"a forged token":       {"GET", app.UnsubscribePath + "?token=AQAAAABrs2IAdTEK", "", nil, 400, `"token"`},
		"a token cut short":    {"POST", link[:len(link)-2], oneClick, form(formType), 400, `"token"`},
		"an unknown parameter": {"GET", link + "&x=1", "", nil, 400, `"x"`},
		"two tokens":           {"GET", link + "&token=x", "", nil, 400, `"token"`},
		"JSON":                 {"POST", link, `{}`, form("application/json"), 415, "multipart/form-data"},
		"no body":              {"POST", link, "", nil, 415, ""},
		"an empty form":        {"POST", link, "", form(formType), 400, `"List-Unsubscribe"`},
		"another value":        {"POST", link, "List-Unsubscribe=Two-Clicks", form(formType), 400, "must be One-Click"},
		"a field twice":        {"POST", link, oneClick + "&" + oneClick, form(formType), 400, "more than once"},
		"another field":        {"POST", link, oneClick + "&also=1", form(formType), 400, `"also"`},
		"no form":              {"POST", link, "%zz", form(formType), 400, "not a valid form"},
		"no parts":             {"POST", link, oneClick, form("multipart/form-data; boundary=b"), 400, `"List-Unsubscribe"`},
		"no boundary":          {"POST", link, oneClick, form("multipart/form-data"), 400, "not a valid form"},
		"a file":               {"POST", link, "--b\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"; filename=\"x\"\r\n\r\nOne-Click\r\n--b--\r\n", form("multipart/form-data; boundary=b"), 400, "not a valid form"},
		"too much":             {"POST", link, strings.Repeat("x", 20<<10), form(formType), 413, ""},
	} {
		got := s.page(t, c.method, c.target, c.body, c.header)
		if got.Code != c.status || !strings.Contains(got.Body.String(), c.says) || got.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s", name, got.Code, got.Body)
		}
	}
	if !wants(t, s, "order-confirmed") {
		t.Error("a refused request switched it off")
	}
	browser := map[string]string{"Accept": "text/html,application/xhtml+xml;q=0.9", "Accept-Language": "de"}
	got := s.page(t, "GET", app.UnsubscribePath+"?token=forged", "", browser)
	if got.Code != 400 || got.Header().Get("Content-Type") != "text/html; charset=utf-8" || !strings.Contains(got.Body.String(), "Dieser Link funktioniert nicht") {
		t.Errorf("a browser gets %d %s", got.Code, got.Body)
	}
}
