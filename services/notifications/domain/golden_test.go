package domain_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"caravan/services/notifications/domain"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

// sample has every value that a template may use.
var (
	sample      = domain.Data{OrderID: orderID, Amount: three, Total: ten, Reason: "out_of_stock", SKU: "TEA-1", Product: "Assam <Tea>", Available: 3, Was: ten}
	sampleFrame = domain.MailFrame{
		Name: "Ada <Lovelace>", BaseURL: "https://caravan.example",
		UnsubscribeURL: "https://caravan.example/v1/notifications/unsubscribe?token=abc&x=1",
		At:             time.Date(2026, 3, 1, 13, 0, 0, 0, time.FixedZone("", 3600)),
	}
)

// frameOf is what a mail of a kind has around its message.
func frameOf(k domain.Kind) domain.MailFrame {
	f := sampleFrame
	if k.Fixed(domain.Email) {
		f.UnsubscribeURL = ""
	}
	if k.Link != "" {
		f.LinkURL, f.LinkUntil = "https://caravan.example/page#token=v1.0198.abc-_", f.At.Add(30*time.Minute)
	}
	return f
}

// TestGolden compares each kind in each language and channel with its golden file.
func TestGolden(t *testing.T) {
	folder := filepath.Join("testdata", "golden")
	wanted := map[string]bool{"other.golden": true}
	golden := func(name, event string, k domain.Kind) {
		got := everywhere(t, event, k)
		file := filepath.Join(folder, name+".golden")
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Errorf("%v: go test ./services/notifications/domain -run TestGolden -update writes it", err)
		} else if got != string(want) {
			t.Errorf("%s has changed; see it and run with -update if it is meant so:\n%s", file, got)
		}
	}
	for _, k := range domain.Kinds() {
		wanted[k.Name+".golden"] = true
		golden(k.Name, k.Events[0], k)
	}
	golden("other", "orders.gone.v1", domain.Kind{Name: "other"})
	found, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if !wanted[f.Name()] {
			t.Errorf("%s belongs to no kind", f.Name())
		}
	}
}

// everywhere is a message in every language and channel.
func everywhere(t *testing.T, event string, k domain.Kind) string {
	t.Helper()
	var b strings.Builder
	for _, locale := range domain.Locales() {
		entry, err := domain.RenderEntry(event, locale, sample)
		if err != nil {
			t.Fatal(err)
		}
		push, err := domain.Render(k, locale, sample)
		if err != nil {
			t.Fatal(err)
		}
		mail, err := domain.RenderMail(k, locale, sample, frameOf(k))
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []struct{ name, text string }{
			{"in-app", entry.Title + "\n\n" + entry.Body},
			{"push", push.Title + "\n\n" + push.PushBody()},
			{"e-mail, subject", mail.Subject},
			{"e-mail, text", mail.Text},
			{"e-mail, HTML", mail.HTML},
		} {
			fmt.Fprintf(&b, "=== %s, %s\n%s\n", locale, part.name, strings.TrimSuffix(part.text, "\n"))
		}
	}
	return b.String()
}

// A folder of templates has the files of all kinds, and no other.
func TestTemplatesBelongToKinds(t *testing.T) {
	wanted := map[string]bool{"frame.tmpl": true, "other.tmpl": true, "unsubscribe.tmpl": true}
	for _, k := range domain.Kinds() {
		wanted[k.Name+".tmpl"] = true
	}
	for _, locale := range domain.Locales() {
		files, err := os.ReadDir(filepath.Join("templates", string(locale)))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if !wanted[f.Name()] {
				t.Errorf("the template %s of %s belongs to no kind", f.Name(), locale)
			}
		}
		if len(files) != len(wanted) {
			t.Errorf("%s has %d templates; want %d", locale, len(files), len(wanted))
		}
	}
}
