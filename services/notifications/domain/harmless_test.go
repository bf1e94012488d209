package domain_test

import (
	"encoding/xml"
	"errors"
	"html"
	"io"
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"

	"caravan/internal/money"
	"caravan/services/notifications/domain"
)

// hostile are texts that try to leave the place where they are shown.
var hostile = []string{
	"<script>alert(1)</script>", `"><img src=x onerror=alert(1)>`, "</p></body>", "{{.Name}}", "&lt;b&gt;", "<!--", "<a href=//evil.example>click</a>",
	"a\r\nBcc: all@example.com", "a\nSubject: b", "a\u2028b\u2029c\u0085d", "\x00\x1b[31m", "safe\u202Egnp.exe", "\u2066\u2067\u2068open", "\u2069\u2069closed",
	"שלום", "محمد 12", "\u200B\u200D\uFEFF", strings.Repeat("long ", 5000), strings.Repeat("W", 5000), strings.Repeat("a\u0301", 3000), "\xff\xfe", "",
}

// evil generates hostile texts, alone, joined and mixed with others.
func evil() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		parts := rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom(hostile), rapid.String()), 1, 3).Draw(t, "parts")
		return strings.Join(parts, "")
	})
}

// anyData sets every text of Data to a hostile one, also those that later versions add.
func anyData(t *rapid.T) domain.Data {
	var d domain.Data
	fields := reflect.ValueOf(&d).Elem()
	for i := range fields.NumField() {
		switch f := fields.Field(i); value := f.Interface().(type) {
		case string:
			f.SetString(evil().Draw(t, "text"))
		case money.Money:
			value = money.New(rapid.Int64().Draw(t, "amount"), rapid.OneOf(rapid.SampledFrom([]string{"EUR", "JPY", "KWD", ""}), evil()).Draw(t, "currency"))
			f.Set(reflect.ValueOf(value))
		case int64:
			f.SetInt(rapid.Int64().Draw(t, "number"))
		default:
			t.Fatalf("Data has a field of type %T: fill it here", value)
		}
	}
	return d
}

func TestHostileTextIsHarmlessInEveryChannel(t *testing.T) {
	kinds := append(domain.Kinds(), domain.Kind{Name: "other"})
	rapid.Check(t, func(t *rapid.T) {
		k := rapid.SampledFrom(kinds).Draw(t, "kind")
		locale := rapid.SampledFrom(append(domain.Locales(), "", "fr", "../en")).Draw(t, "locale")
		d := anyData(t)
		frame := domain.MailFrame{
			Name: evil().Draw(t, "name"), BaseURL: rapid.SampledFrom([]string{"", "https://caravan.example", "javascript:alert(1)"}).Draw(t, "base"),
			UnsubscribeURL: rapid.SampledFrom([]string{"", "https://caravan.example/u?a=1&b=2", `https://x/" onclick="alert(1)`}).Draw(t, "unsubscribe"),
		}
		if k.Link != "" {
			frame.LinkURL = rapid.SampledFrom([]string{"", "https://caravan.example/p#token=v1.a.b", `https://x/" onclick="alert(1)`, "javascript:alert(1)"}).Draw(t, "link")
		}
		m, err := domain.Render(k, locale, d)
		if err != nil {
			t.Fatal(err)
		}
		mail, err := domain.RenderMail(k, locale, d, frame)
		if err != nil {
			t.Fatal(err)
		}
		line(t, "title", m.Title, 150)
		line(t, "push body", m.PushBody(), 240)
		line(t, "subject", mail.Subject, 150)
		for _, p := range m.Paragraphs() {
			line(t, "paragraph", p, 2000)
		}
		for text := range strings.SplitSeq(mail.Text, "\n") {
			line(t, "line of the mail", text, 2000)
		}
		if n := strings.Count(mail.Text, "\n"); n > 25 {
			t.Fatalf("the text of the mail has %d lines:\n%s", n, mail.Text)
		}
		checkHTML(t, mail.HTML)
	})
}

// line checks text that is on one line.
func line(t *rapid.T, what, s string, most int) {
	if !utf8.ValidString(s) || utf8.RuneCountInString(s) > most {
		t.Fatalf("the %s is not UTF-8 or has %d characters: %q", what, utf8.RuneCountInString(s), s)
	}
	depth := 0
	for _, c := range s {
		switch {
		case c == '\u2068':
			depth++
		case c == '\u2069':
			depth--
		case unicode.IsControl(c), c == '\u2028', c == '\u2029', c >= '\u202A' && c <= '\u202E', c == '\u2066', c == '\u2067', c == '\uFEFF', c == '\u200B':
			t.Fatalf("the %s contains U+%04X: %q", what, c, s)
		}
		if depth < 0 || depth > 1 {
			t.Fatalf("the %s closes or nests isolates: %q", what, s)
		}
	}
	if depth != 0 && !strings.HasSuffix(s, "…") {
		t.Fatalf("the %s leaves an isolate open: %q", what, s)
	}
}

// elements are those of the layout, with the attributes that they have.
var elements = map[string]string{
	"html": "lang", "head": "", "meta": "charset name content", "title": "", "body": "style", "div": "style", "h1": "style", "p": "style", "a": "href style", "br": "",
}

// checkHTML checks that a document has the elements of the layout only, and loads nothing.
func checkHTML(t *rapid.T, document string) {
	d := xml.NewDecoder(strings.NewReader(document))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	count := make(map[string]int)
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("the HTML cannot be read: %v\n%s", err, document)
		}
		if _, comment := token.(xml.Comment); comment {
			t.Fatalf("the HTML has a comment:\n%s", document)
		}
		start, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		attributes, known := elements[start.Name.Local]
		if count[start.Name.Local]++; !known {
			t.Fatalf("the HTML has an element %s:\n%s", start.Name.Local, document)
		}
		for _, a := range start.Attr {
			if !strings.Contains(" "+attributes+" ", " "+a.Name.Local+" ") {
				t.Fatalf("%s has the attribute %s:\n%s", start.Name.Local, a.Name.Local, document)
			}
			if a.Name.Local == "href" && !strings.HasPrefix(html.UnescapeString(a.Value), "https://") && a.Value != "#ZgotmplZ" {
				t.Fatalf("a link goes to %s", a.Value)
			}
			if a.Name.Local == "style" && strings.Contains(a.Value, "url(") {
				t.Fatalf("a style loads %s", a.Value)
			}
		}
	}
	if count["html"] != 1 || count["body"] != 1 || count["title"] != 1 || count["h1"] != 1 || count["a"] > 3 {
		t.Fatalf("the HTML has %v", count)
	}
}

// FuzzMail gives any name to a mail.
func FuzzMail(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	k, _ := domain.KindNamed("order-confirmed")
	clean, err := domain.RenderMail(k, domain.English, sample, domain.MailFrame{Name: "Ada"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name string) {
		mail, err := domain.RenderMail(k, domain.English, sample, domain.MailFrame{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		if mail.Subject != clean.Subject || strings.Count(mail.Text, "\n") != strings.Count(clean.Text, "\n") {
			t.Fatalf("%q changes the form of the mail: %q\n%s", name, mail.Subject, mail.Text)
		}
		if tags(mail.HTML) != tags(clean.HTML) {
			t.Fatalf("%q changes the HTML:\n%s", name, mail.HTML)
		}
	})
}

// tags counts the places where a tag may begin or end.
func tags(document string) [2]int {
	return [2]int{strings.Count(document, "<"), strings.Count(document, ">")}
}

func TestANameIsShownAsItIs(t *testing.T) {
	k, _ := domain.KindNamed("welcome")
	for name, want := range map[string]string{
		"": "Hello,", "Zoë O'Brien": "Hello Zoë O'Brien,", "שלום": "Hello \u2068שלום\u2069,", " \u202E": "Hello,", "a\r\nb": "Hello a b,",
	} {
		mail, err := domain.RenderMail(k, domain.English, domain.Data{}, domain.MailFrame{Name: name})
		if err != nil || !strings.HasPrefix(mail.Text, want+"\n") {
			t.Errorf("%q is greeted with %q, %v", name, mail.Text, err)
		}
		if !strings.Contains(html.UnescapeString(mail.HTML), ">"+want+"</p>") {
			t.Errorf("%q is not greeted in HTML:\n%s", name, mail.HTML)
		}
	}
}
