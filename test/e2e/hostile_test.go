package e2e

import (
	"fmt"
	"mime"
	"net/http"
	netmail "net/mail"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode"

	"caravan/internal/id"
	"caravan/services/notifications/domain"
)

// encodedHeader is an encoded word with a header in it (RFC 2047).
const encodedHeader = `=?utf-8?q?=0D=0ABcc:_victim@shop.example?=`

// refusedTexts are in no name and no title.
var refusedTexts = []string{"Ann\r\nBcc: victim@shop.example", "Ann\x00", "Ann \u202egnp.exe", "Ann \u2066x"}

// TestHostileNamesInMails registers people whose names are HTML, commands of mail servers or headers. What no name may contain is
// refused. Only mails have names, and only when the address is verified.
func TestHostileNamesInMails(t *testing.T) {
	s := shared(t)
	s.mailServer(t)
	sh := open(t, s)
	p, visitor := sh.product(100, 100), newClient(t, s, sh.trail)
	for i, name := range refusedTexts {
		email := fmt.Sprintf("hostile-%d-%s@shop.example", i, id.Random{}.New())
		visitor.must(http.StatusBadRequest, http.MethodPost, "/v1/users", map[string]string{"email": email, "password": "correct horse battery", "name": name}, nil)
	}
	for _, name := range []string{
		`<img src=x onerror=alert(1)>`, `"><script>alert(1)</script>`, `Ann" <victim@shop.example>, "x`, `Ann; Bcc: victim@shop.example`,
		encodedHeader, `{{.Name}} %s ${x}`, `Ann <b>Smith</b> &amp; {{template "x"}}`,
	} {
		c := sh.named(name, 0)
		for _, subject := range []string{"Welcome", "confirm your e-mail address"} { // its owner may know nothing of the account
			m := c.mailed(t, subject, 1)[0]
			if to, text := c.source(t, m).To, s.mailParts(t, m).Text; to.Name != "" || !strings.HasPrefix(text, "Hello,") {
				t.Errorf("a mail to %q, which is not verified, is to %q and begins with %.30q", c.email, to.Name, text)
			}
		}
		token := c.mailedToken(t, "confirm your e-mail address", 1)
		visitor.must(http.StatusNoContent, http.MethodPost, verifications, map[string]string{"token": token}, nil)
		c.deposit(100)
		c.buys(p, 1).expect(t, "confirmed", "")
		for _, subject := range []string{"Money added", "order is confirmed"} {
			m := c.mailed(t, subject, 1)[0]
			c.harmless(t, m)
			if parts := s.mailParts(t, m); !strings.Contains(parts.Text, name) {
				t.Errorf("%q is not in the text:\n%s", name, parts.Text)
			}
			if to := c.source(t, m).To; to.Name != strings.ReplaceAll(name, ";", ",") { // the binding splits recipients there
				t.Errorf("%q is addressed as %q", name, to.Name)
			}
		}
	}
}

// TestHostileProductTitles has products with hostile titles become cheaper, and finds the titles as they are in each channel. What no
// title may contain is refused; in stored messages, where it may be all the same, it is harmless.
func TestHostileProductTitles(t *testing.T) {
	s := shared(t)
	s.mailServer(t)
	sh := open(t, s)
	for i, title := range refusedTexts {
		body := map[string]any{"sku": fmt.Sprintf("E2E-HOSTILE-%d", i), "name": title, "category": "tests", "price": euros(100), "stock": 1}
		sh.admin.must(http.StatusBadRequest, http.MethodPost, "/v1/products", body, nil)
	}
	r := sh.recipient(t, domain.English)
	kind, _ := domain.KindNamed("price-drop")
	for _, title := range []string{
		`<img src=x onerror=alert(1)>`, `"><script>alert(1)</script>`, encodedHeader, `=?utf-8?q?x?=`, `=?utf-8?b?PGI+?= Größe`,
		`Lamp; Bcc: victim@shop.example`, `{{.Product}} %s ${x}`, `&lt;b&gt; <b>Lamp</b>`, `שלום`,
	} {
		data := r.watches(title)
		r.gets(kind, data)
		want := r.renders(kind, data)
		if !strings.Contains(want.Title, title) || !strings.Contains(want.Body, title) {
			t.Errorf("%q is shown as %q: %q", title, want.Title, want.Body)
		}
		r.harmlessMails(want)
	}
	planted := sh.recipient(t, domain.English)
	data := planted.watches("A lamp")
	planted.gets(kind, data)
	for _, title := range []string{"Lamp\r\nBcc: victim@shop.example\r\n\r\n<b>x</b>", "Lamp\u202egnp.exe\u2066\u2069\u2069", "\x00\x1b[31mLamp\u2028\u0085" + encodedHeader} {
		planted.stores(data.Product, title)
		for _, d := range search[deliveryBody](sh.admin, deliveries, url.Values{"user": {planted.id}, "kind": {kind.Name}}) {
			sh.resend(d)
		}
		data.Product = title
		planted.gets(kind, data)
		planted.harmlessMails(planted.renders(kind, data))
	}
	planted.stores(data.Product, "A lamp")
}

// watches has a product with a title become cheaper that the recipient watches.
func (r *recipient) watches(title string) domain.Data {
	r.test.Helper()
	p := r.shop.product(2000, 10)
	path := "/v1/products/" + p.SKU
	r.shop.admin.must(http.StatusOK, http.MethodPatch, path, map[string]any{"name": title}, nil)
	r.must(http.StatusOK, http.MethodPut, path+"/watch", nil, nil)
	r.shop.admin.must(http.StatusOK, http.MethodPatch, path, map[string]any{"price": euros(1500)}, nil)
	r.cheaper(p, 1)
	return domain.Data{SKU: p.SKU, Product: title, Was: euros(2000), Amount: euros(1500)}
}

// renders is the text of a message, which must be harmless.
func (r *recipient) renders(kind domain.Kind, data domain.Data) domain.Message {
	r.test.Helper()
	m, err := domain.Render(kind, r.locale, data)
	if err != nil {
		r.test.Fatal(err)
	}
	for _, text := range append(m.Paragraphs(), m.Title, m.PushBody()) {
		if strings.ContainsFunc(text, changesTheLine) {
			r.test.Errorf("%q is not harmless", text)
		}
	}
	return m
}

// changesTheLine reports whether a character ends a line, or changes the direction of what follows. An isolate (U+2068 to U+2069) does
// not.
func changesTheLine(c rune) bool {
	return unicode.IsControl(c) || c == '\u2028' || c == '\u2029' || c >= '\u202a' && c <= '\u202e' || c == '\u2066' || c == '\u2067'
}

// harmlessMails checks the mails with the text of a message.
func (r *recipient) harmlessMails(want domain.Message) {
	r.test.Helper()
	for _, m := range r.mails(r.test, want.Title) {
		r.harmless(r.test, m)
		if subject := r.source(r.test, m).Subject; subject != want.Title {
			r.test.Errorf("the subject is %q and not %q", subject, want.Title)
		}
	}
}

// stores replaces the title of a product in the stored messages of the recipient: the inbox, and the messages outside the app.
func (r *recipient) stores(from, to string) {
	r.test.Helper()
	documents, keys := r.shop.stack.documents(r.test, "notifications"), []string{"inbox/" + r.id}
	for _, d := range search[deliveryBody](r.shop.admin, deliveries, url.Values{"user": {r.id}, "kind": {"price-drop"}}) {
		thread, _, _ := strings.Cut(d.ID, ".")
		keys = append(keys, "delivery/"+thread)
	}
	for _, key := range keys {
		documents.Change(key, func(document map[string]any) {
			if replaced := replaceProduct(document, from, to); replaced != 1 {
				r.test.Errorf("%s has the product %d times: %v", key, replaced, document)
			}
		})
	}
}

// replaceProduct replaces the values of "product" anywhere in a document, except in its events.
func replaceProduct(in any, from, to string) (replaced int) {
	switch in := in.(type) {
	case map[string]any:
		for name, value := range in {
			if name == "product" && value == from {
				in[name] = to
				replaced++
			} else if name != "timeline" {
				replaced += replaceProduct(value, from, to)
			}
		}
	case []any:
		for _, value := range in {
			replaced += replaceProduct(value, from, to)
		}
	}
	return replaced
}

// source are the headers of a mail as it came, decoded once as a mail program does.
type source struct {
	Subject string
	To      *netmail.Address
	header  netmail.Header
}

func (c *customer) source(t *testing.T, m mailBody) source {
	t.Helper()
	raw, err := fetch(t.Context(), c.shop.stack.mailServer(t)+"/mails/"+m.ID+"/source")
	if err != nil {
		t.Fatal(err)
	}
	message, err := netmail.ReadMessage(strings.NewReader(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	found := source{header: message.Header}
	if found.Subject, err = new(mime.WordDecoder).DecodeHeader(message.Header.Get("Subject")); err != nil {
		t.Fatal(err)
	}
	if found.To, err = netmail.ParseAddress(message.Header.Get("To")); err != nil {
		t.Fatal(err)
	}
	return found
}

// tags are elements that no mail has by itself.
var tags = []string{"<img", "<script", "<b>"}

// harmless checks that a mail goes to its recipient only, and that neither its headers nor its parts have something of a text.
func (c *customer) harmless(t *testing.T, m mailBody) {
	t.Helper()
	head, parts := c.source(t, m), c.shop.stack.mailParts(t, m)
	for name, values := range head.header {
		if slices.Contains([]string{"Bcc", "Cc"}, name) || slices.Contains([]string{"Subject", "To", "From"}, name) && len(values) != 1 {
			t.Errorf("the mail %q has the header %s: %q", m.Subject, name, values)
		}
	}
	if head.To.Address != c.email {
		t.Errorf("the mail %q goes to %s", m.Subject, head.To)
	}
	if strings.ContainsFunc(head.Subject, changesTheLine) || strings.ContainsFunc(head.To.Name, changesTheLine) {
		t.Errorf("the headers are %q and %q", head.Subject, head.To.Name)
	}
	for line := range strings.Lines(parts.Text + "\n" + parts.HTML) {
		if strings.ContainsFunc(strings.TrimRight(line, "\r\n"), changesTheLine) {
			t.Errorf("the mail has the line %q", line)
		}
	}
	for _, tag := range tags {
		if strings.Contains(strings.ToLower(parts.HTML), tag) {
			t.Errorf("the mail has %s:\n%s", tag, parts.HTML)
		}
	}
}
