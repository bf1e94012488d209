package launcher

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"caravan/dapr/launcher/infra"
)

// TestTheComponentGetsTheMailServer: the sidecar of notifications, and no other, loads the component with the address of
// the mail server in use.
func TestTheComponentGetsTheMailServer(t *testing.T) {
	s, err := newStack(Options{Root: repository, Dir: t.TempDir(), Mail: "smtp://caravan:secret@mail.example:587"})
	if err != nil {
		t.Fatal(err)
	}
	if !s.plan.sendsMail() {
		t.Fatal("no app sends e-mails")
	}
	place := infra.Place{Dir: s.dir, Getenv: func(string) string { return "" }, Program: func(string) string { return "" }}
	place.Port = func() (int, error) { return 20000, nil }
	if s.mail, err = infra.Mail(s.options.Mail, place); err != nil {
		t.Fatal(err)
	}
	if s.broker, err = infra.Broker("kafka", place); err != nil {
		t.Fatal(err)
	}
	if s.store, err = infra.Store("sqlite", place); err != nil {
		t.Fatal(err)
	}
	if err := s.render(); err != nil {
		t.Fatal(err)
	}
	for _, a := range s.plan.Apps {
		raw, err := os.ReadFile(filepath.Join(s.resources(a), "component-email.yaml"))
		if (err == nil) != (a.ID == "notifications") {
			t.Errorf("%s: %v", a.ID, err)
		}
		for _, want := range []string{"mail.example", `"587"`, "caravan", "secret", "bindings.smtp"} {
			if err == nil && !strings.Contains(string(raw), want) {
				t.Errorf("%s does not have %s: %s", a.ID, want, raw)
			}
		}
	}
	if s.MailServer() != "smtp://mail.example:587" || s.MailURL() != "" || s.Metadata().Mail != "" {
		t.Errorf("the server is %q with the page %q", s.MailServer(), s.MailURL())
	}
	others, err := newStack(Options{Root: repository, Dir: t.TempDir(), Only: []string{"orders", "gateway"}})
	if err != nil || others.plan.sendsMail() {
		t.Errorf("a stack without notifications has a mail server: %v", err)
	}
}
