package app_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"caravan/internal/document/documenttest"
	"caravan/services/notifications/app"
	"caravan/services/notifications/domain"
)

// A mail has the link in its header and in both parts, unless its kind cannot be switched off or there is no key.
func TestMailsHaveALinkToUnsubscribe(t *testing.T) {
	welcome, _ := domain.KindNamed("welcome")
	fixed := welcome
	fixed.Security = true
	links := app.UnsubscribeLinks{BaseURL: "https://shop.example", Key: []byte("0123456789abcdef0123456789abcdef")}
	for name, c := range map[string]struct {
		kind  domain.Kind
		links app.UnsubscribeLinks
		want  bool
	}{
		"a kind that can be switched off": {welcome, links, true},
		"a kind that cannot":              {fixed, links, false},
		"no key":                          {welcome, app.UnsubscribeLinks{BaseURL: links.BaseURL}, false},
		"no address of the shop":          {welcome, app.UnsubscribeLinks{Key: links.Key}, false},
	} {
		mail := &fakeMail{}
		sender := app.EmailSender{Contacts: mail, Mailer: mail, Unsubscribe: c.links}
		m := app.Message{ID: "d1", UserID: "u1", Kind: c.kind, Wishes: &domain.Preferences{}, Delivery: domain.Delivery{OccurredAt: noon}}
		if err := sender.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		sent := mail.mails()[0]
		link := sent.UnsubscribeURL
		if (link != "") != c.want || c.want && (!strings.HasPrefix(link, "https://shop.example/v1/unsubscribe?token=") || !strings.Contains(sent.Text, link) || !strings.Contains(sent.HTML, link)) {
			t.Errorf("%s: the link is %q in\n%s", name, link, sent.Text)
		}
		if strings.Contains(sent.Text, "No more e-mails") != c.want {
			t.Errorf("%s: the mail is\n%s", name, sent.Text)
		}
	}
}

// Switching off is idempotent, and keeps what the user has set.
func TestUnsubscribeChangesOneRule(t *testing.T) {
	process := replica(documenttest.NewStore(), "a")
	preferences := app.NewPreferences(process.ports())
	links := app.UnsubscribeLinks{BaseURL: "https://shop.example", Key: []byte("0123456789abcdef0123456789abcdef")}
	set := domain.Settings{Locale: domain.German, TimeZone: "Europe/Berlin", Rules: []domain.Rule{{Kind: "welcome", Channel: domain.InApp}}}
	if _, err := (app.SetPreferences{Preferences: preferences}).Do(t.Context(), "u1", set); err != nil {
		t.Fatal(err)
	}
	kind, _ := domain.KindNamed("order-confirmed")
	link, err := url.Parse(links.Of(app.Message{UserID: "u1", Kind: kind, Delivery: domain.Delivery{OccurredAt: noon}}, domain.Email))
	if err != nil {
		t.Fatal(err)
	}
	token := link.Query().Get("token")
	show := app.ShowUnsubscription{Preferences: preferences, Links: links, Clock: process}
	unsubscribe := app.Unsubscribe{Preferences: preferences, Links: links, Clock: process}
	for range 2 { // a look changes nothing
		if found, err := show.Do(t.Context(), token); err != nil || found.Off || found.Kind.Name != kind.Name || found.Wishes.Revision != 1 {
			t.Fatalf("shown %+v, %v", found, err)
		}
	}
	for range 2 {
		found, err := unsubscribe.Do(t.Context(), token)
		if err != nil || !found.Off || found.Wishes.Revision != 2 || found.Wishes.Wants(kind, domain.Email) || found.Wishes.TimeZone != "Europe/Berlin" || len(found.Wishes.Rules) != 2 {
			t.Fatalf("switched off %+v, %v", found.Wishes, err)
		}
	}
	if found, err := show.Do(t.Context(), token); err != nil || !found.Off {
		t.Errorf("shown %+v, %v", found, err)
	}
	for _, forged := range []string{"", token[1:], token + "A"} {
		if _, err := unsubscribe.Do(t.Context(), forged); !errors.Is(err, domain.ErrUnsubscribe) {
			t.Errorf("%q: %v", forged, err)
		}
	}
}
