package adapters_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"caravan/internal/page"
	"caravan/internal/service/servicetest"
	"caravan/services/notifications/adapters/pushtest"
)

const pushPath = "/v1/notifications/push-subscriptions"

type subscribed struct {
	ID                   string
	CreatedAt, RenewedAt time.Time
}

func TestPushSubscriptionsOverHTTP(t *testing.T) {
	s := newServerWith("the-public-key")
	var key struct{ PublicKey string }
	if status := s.call(t, customer, "GET", "/v1/notifications/push-key", "", &key); status != http.StatusOK || key.PublicKey != "the-public-key" {
		t.Errorf("the key is %d %+v", status, key)
	}
	device := (&pushtest.Service{Origin: "https://push.example.com"}).Device()
	w := s.Do(t, servicetest.Request{Method: "POST", Target: pushPath, Body: device.JSON(), Caller: customer})
	var first, again subscribed
	if err := json.Unmarshal(w.Body.Bytes(), &first); err != nil || w.Code != http.StatusCreated || first.CreatedAt.IsZero() {
		t.Fatalf("%d %s, %v", w.Code, w.Body, err)
	}
	_, auth := device.Keys()
	if location := w.Header().Get("Location"); location != pushPath+"/"+first.ID || strings.Contains(w.Body.String(), "push.example") || strings.Contains(w.Body.String(), auth) {
		t.Errorf("at %s: %s", location, w.Body)
	}
	if s.call(t, customer, "POST", pushPath, device.JSON(), &again); again != first {
		t.Errorf("a repeat gives %+v", again)
	}
	var list page.List[subscribed]
	if s.call(t, customer, "GET", pushPath, "", &list); len(list.Items) != 1 || list.Items[0] != first {
		t.Errorf("listed are %+v", list)
	}
	var none page.List[subscribed]
	if s.call(t, other, "GET", pushPath, "", &none); len(none.Items) != 0 {
		t.Errorf("another user has %+v", none)
	}
	for i, status := range []int{404, 204, 404} {
		caller := customer
		if i == 0 {
			caller = other
		}
		if got := s.call(t, caller, "DELETE", pushPath+"/"+first.ID, "", nil); got != status {
			t.Errorf("deleting is %d and not %d", got, status)
		}
	}
	for _, route := range []string{"GET /v1/notifications/push-key", "GET " + pushPath, "POST " + pushPath, "DELETE " + pushPath + "/x"} {
		method, target, _ := strings.Cut(route, " ")
		if status := s.call(t, nobody, method, target, "", nil); status != http.StatusUnauthorized {
			t.Errorf("%s without a token is %d", route, status)
		}
	}
}

func TestWrongPushSubscriptionsAreRefused(t *testing.T) {
	s := newServerWith("the-public-key")
	right := (&pushtest.Service{Origin: "https://push.example.com"}).Device().JSON()
	change := func(from, to string) string { return strings.Replace(right, from, to, 1) }
	for name, c := range map[string]struct{ body, field string }{
		"internal":       {change("push.example.com", "127.0.0.1"), "endpoint"},
		"no TLS":         {change("https:", "http:"), "endpoint"},
		"long":           {change("/push/", "/"+strings.Repeat("a", 3000)), "endpoint"},
		"no endpoint":    {change(`"endpoint"`, `"end"`), "end"},
		"keys twice":     {change(`"expirationTime":null`, `"keys":null`), "keys"},
		"wrong key":      {change(`"p256dh":"B`, `"p256dh":"C`), "keys.p256dh"},
		"wrong secret":   {change(`"auth":"`, `"auth":"A`), "keys.auth"},
		"negative time":  {change(`"expirationTime":null`, `"expirationTime":-1`), "expirationTime"},
		"unknown member": {change(`"expirationTime"`, `"expires"`), "expires"},
	} {
		w := s.Do(t, servicetest.Request{Method: "POST", Target: pushPath, Body: c.body, Caller: customer})
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), `"`+c.field+`"`) || strings.Contains(w.Body.String(), "/push/") {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	if status := s.call(t, customer, "POST", pushPath, change(`"expirationTime":null`, `"expirationTime":1800000000000`), nil); status != http.StatusCreated {
		t.Errorf("with an expiration time: %d", status)
	}
}

func TestAShopWithoutAKeySaysSo(t *testing.T) {
	s := newServer()
	body := (&pushtest.Service{Origin: "https://push.example.com"}).Device().JSON()
	for _, request := range []servicetest.Request{
		{Method: "GET", Target: "/v1/notifications/push-key", Caller: customer}, {Method: "POST", Target: pushPath, Body: body, Caller: customer},
	} {
		w := s.Do(t, request)
		if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "push-off") || !strings.Contains(w.Body.String(), "no push messages") {
			t.Errorf("%s: %d %s", request.Target, w.Code, w.Body)
		}
	}
}
