package adapters

import (
	"context"
	"errors"
	"maps"
	"net/mail"
	"strings"
	"testing"

	"caravan/services/notifications/app"
)

// fakeBinding records the latest call of a binding, and answers as told.
type fakeBinding struct {
	name, operation, data string
	metadata              map[string]string
	answer                string
	err                   error
}

func (f *fakeBinding) Bind(_ context.Context, name, operation string, data []byte, metadata map[string]string) ([]byte, error) {
	f.name, f.operation, f.data, f.metadata = name, operation, string(data), metadata
	return []byte(f.answer), f.err
}

func TestEmailFillsTheRequest(t *testing.T) {
	binding := &fakeBinding{}
	m := app.Mail{
		ID: "d1", To: "ada@example.com", ToName: "Ada", Subject: "Hi", Text: "text", HTML: "<p>html</p>",
		UnsubscribeURL: "https://shop.example/u/1",
	}
	want := map[string]string{
		"emailTo": `"Ada" <ada@example.com>`, "subject": "Hi", "textBody": "text", "messageId": "d1", "emailFrom": "shop@example.com",
		"replyTo": "help@example.com", "listUnsubscribe": "https://shop.example/u/1", "listUnsubscribePost": "List-Unsubscribe=One-Click",
	}
	if err := (Email{Sidecar: binding, From: "shop@example.com", ReplyTo: "help@example.com"}).Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if binding.name != "email" || binding.operation != "create" || binding.data != m.HTML || !maps.Equal(binding.metadata, want) {
		t.Errorf("called %+v", binding)
	}
	m.UnsubscribeURL, m.ToName = "", ""
	if err := (Email{Sidecar: binding}).Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	want = map[string]string{"emailTo": "ada@example.com", "subject": "Hi", "textBody": "text", "messageId": "d1"}
	if !maps.Equal(binding.metadata, want) {
		t.Errorf("the metadata are %v", binding.metadata)
	}
}

func TestEmailOutcomes(t *testing.T) {
	failure := errors.New("451 later")
	for name, c := range map[string]struct {
		answer  string
		err     error
		refused bool
		failed  bool
	}{
		"sent":              {"", nil, false, false},
		"sent with data":    {`{"id":"abc"}`, nil, false, false},
		"sent, other data":  {`accepted`, nil, false, false},
		"refused":           {`{"refused":"550 no such user"}`, nil, true, true},
		"may be sent later": {"", failure, false, true},
	} {
		err := Email{Sidecar: &fakeBinding{answer: c.answer, err: c.err}}.Send(t.Context(), app.Mail{ID: "d1", To: "ada@example.com"})
		if (err != nil) != c.failed || errors.Is(err, app.ErrMailRefused) != c.refused || c.err != nil && !errors.Is(err, c.err) {
			t.Errorf("%s: %v", name, err)
		}
		if c.refused && !strings.Contains(err.Error(), "550 no such user") {
			t.Errorf("%s: %v does not say why", name, err)
		}
	}
}

func TestNamesAreHarmless(t *testing.T) {
	for _, name := range []string{
		"Jürgen", `A "quoted" \ name`, "a;b@example.com;c", "x>\r\nBcc: thief@example.com", "<script>", "a, b <thief@example.com>", "\u202egnol",
	} {
		text := address(name, "ada@example.com")
		if strings.ContainsAny(text, ";\r\n") {
			t.Errorf("%q became %q", name, text)
		}
		parsed, err := mail.ParseAddress(text)
		if err != nil || parsed.Address != "ada@example.com" {
			t.Errorf("%q became %q: %v %v", name, text, parsed, err)
		}
	}
}
