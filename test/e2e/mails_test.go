package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"caravan/internal/id"
)

// mailBody is an e-mail in the list of the stack's mail server.
type mailBody struct {
	ID        string `json:"id"`
	Subject   string `json:"subject"`
	MessageID string `json:"messageId"`
}

// deliveryBody is a message outside the app, as staff see it.
type deliveryBody struct {
	ID       string `json:"id"`
	Channel  string `json:"channel"`
	UserID   string `json:"userId"`
	EventID  string `json:"eventId"`
	Kind     string `json:"kind"`
	Status   string `json:"status"`
	OrderID  string `json:"orderId"`
	Attempts int    `json:"attempts"`
	Resends  int    `json:"resends"`
}

const deliveries = "/v1/ops/notifications"

// mailServer returns the URL of the stack's mail server.
func (s *stack) mailServer(t *testing.T) string {
	t.Helper()
	switch on := s.target.(type) {
	case *launched:
		return on.MailURL()
	case *contained:
		return on.Mail
	case *clustered:
		return on.mail
	}
	t.Fatalf("%s has no mail server", settings.target)
	return ""
}

// allMails returns the e-mails to a customer, newest first, and whether these are all: the mail server lists only so many.
func (c *customer) allMails(t *testing.T) (found []mailBody, complete bool) {
	t.Helper()
	raw, err := fetch(context.WithoutCancel(t.Context()), c.shop.stack.mailServer(t)+"/mails?to="+url.QueryEscape(c.email))
	if err != nil {
		t.Fatal(err)
	}
	var page struct {
		Items []mailBody `json:"items"`
		Count int        `json:"count"`
	}
	if err := json.Unmarshal(raw, &page); err != nil {
		t.Fatal(err)
	}
	return page.Items, page.Count == len(page.Items)
}

// settleMails compares the messages to the first customers with the mails at the mail server: each that was sent is there, with its
// own Message-ID, once unless it was sent again, and no other mail is.
func (sh *shop) settleMails() {
	sh.t.Helper()
	l, launched := sh.stack.target.(*launched)
	if !launched || l.MailURL() == "" {
		return
	}
	const most = 5 // more would take long
	listed := func() map[string]deliveryBody {
		all := make(map[string]deliveryBody)
		since := sh.opened.Add(-time.Second).UTC().Format(time.RFC3339)
		for _, d := range search[deliveryBody](sh.admin, deliveries, url.Values{"since": {since}, "channel": {"email"}, "limit": {"100"}}) {
			all[d.ID] = d
		}
		return all
	}
	before := listed()
	mails := make(map[string]int)
	for _, c := range sh.customers[:min(len(sh.customers), most)] {
		all, complete := c.allMails(sh.t)
		for _, m := range all {
			mails[deliveryOf(m)]++
		}
		for id, d := range before {
			if complete && d.UserID == c.id && d.Status == "sent" && mails[id] == 0 {
				sh.t.Errorf("the message %+v was sent, and is not at the mail server", d)
			}
		}
	}
	after := listed()
	for id, n := range mails {
		d, known := after[id]
		if !known {
			sh.t.Errorf("the mail server has the mail %s, which is no message", id)
		}
		if n > 1+d.Resends && d.Attempts <= 1 {
			sh.t.Errorf("the mail server has the message %+v %d times", d, n)
		}
	}
}

// deliveryOf is the id of the delivery of a mail.
func deliveryOf(m mailBody) string {
	id, _, _ := strings.Cut(strings.Trim(m.MessageID, "<>"), "@")
	return id
}

// mails returns the e-mails to a customer with such a subject, newest first.
func (c *customer) mails(t *testing.T, subject string) (found []mailBody) {
	t.Helper()
	all, _ := c.allMails(t)
	for _, m := range all {
		if strings.Contains(m.Subject, subject) {
			found = append(found, m)
		}
	}
	return found
}

// mailed waits until a customer has so many e-mails with such a subject.
func (c *customer) mailed(t *testing.T, subject string, want int) (found []mailBody) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d e-mails %q", want, subject), func() error {
		if found = c.mails(t, subject); len(found) != want {
			return errorf("there are %d", len(found))
		}
		return nil
	})
	return found
}

// message waits until staff see a message to a customer in this state.
func (c *customer) message(t *testing.T, kind, order, status string) (found deliveryBody) {
	t.Helper()
	query := url.Values{"user": {c.id}, "kind": {kind}}
	eventually(t, kind+" "+status, func() error {
		for _, d := range search[deliveryBody](c.shop.admin, deliveries, query) {
			if d.OrderID == order {
				if found = d; d.Status == status {
					return nil
				}
			}
		}
		return errorf("it is %+v", found)
	})
	return found
}

// mailFault sets the fault of the mail server, or ends it if mode is "".
func (s *stack) mailFault(t *testing.T, mode string) {
	t.Helper()
	method, body := http.MethodPut, fmt.Appendf(nil, `{"mode":%q}`, mode)
	if mode == "" {
		method, body = http.MethodDelete, nil
	}
	request, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), method, s.mailServer(t)+"/faults", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode >= http.StatusBadRequest {
		t.Fatalf("the fault %q is answered with %s", mode, response.Status)
	}
}

// TestMails follows an order to its e-mail. Staff have it sent again: once for each key, and with the same Message-ID.
func TestMails(t *testing.T) {
	s := shared(t)
	s.mailServer(t)
	sh := open(t, s)
	p, c := sh.product(500, 5), sh.customer(1000)
	o := c.buys(p, 1)
	o.expect(t, "confirmed", "")
	first := c.mailed(t, "order is confirmed", 1)[0]
	c.mailed(t, "Welcome", 1)
	sent := c.message(t, "order-confirmed", o.ID, "sent")
	path, key := deliveries+"/"+sent.ID+"/resend", idempotent(id.Random{}.New())
	for range 2 {
		sh.admin.must(http.StatusAccepted, http.MethodPost, path, nil, nil, key)
	}
	again := c.mailed(t, "order is confirmed", 2)
	if again[0].MessageID != first.MessageID || again[1].MessageID != first.MessageID || first.MessageID == "" {
		t.Errorf("the e-mails are %+v; want the same Message-ID", again)
	}
	if d := c.message(t, "order-confirmed", o.ID, "sent"); d.Resends != 1 {
		t.Errorf("it was sent again %d times", d.Resends)
	}
}

// mailParts is an e-mail with all that belongs to it.
type mailParts struct {
	Headers []struct{ Name, Value string } `json:"headers"`
	Text    string                         `json:"text"`
	HTML    string                         `json:"html"`
}

// header returns the values of a header.
func (p mailParts) header(name string) (values []string) {
	for _, h := range p.Headers {
		if strings.EqualFold(h.Name, name) {
			values = append(values, strings.TrimSpace(h.Value)) // a long value begins on a line of its own
		}
	}
	return values
}

func (s *stack) mailParts(t *testing.T, m mailBody) (parts mailParts) {
	t.Helper()
	raw, err := fetch(t.Context(), s.mailServer(t)+"/mails/"+m.ID)
	if err == nil {
		err = json.Unmarshal(raw, &parts)
	}
	if err != nil {
		t.Fatal(err)
	}
	return parts
}

// TestUnsubscribe switches mails of a kind off by the link in one, as a person does and as a mail program does.
func TestUnsubscribe(t *testing.T) {
	s := shared(t)
	s.mailServer(t)
	sh := open(t, s)
	p, c, visitor := sh.product(500, 5), sh.customer(1000), newClient(t, s, sh.trail)
	c.buys(p, 1).expect(t, "confirmed", "")
	parts := s.mailParts(t, c.mailed(t, "order is confirmed", 1)[0])
	if post := parts.header("List-Unsubscribe-Post"); len(post) != 1 || post[0] != "List-Unsubscribe=One-Click" || len(parts.header("List-Unsubscribe")) != 1 {
		t.Fatalf("the headers are %v", parts.Headers)
	}
	link := strings.Trim(parts.header("List-Unsubscribe")[0], "<>")
	at, err := url.Parse(link)
	if err != nil || !strings.Contains(parts.Text, link) || !strings.Contains(parts.HTML, `href="`+link+`"`) {
		t.Fatalf("the link of the header, %s, is not in the mail: %v\n%s", link, err, parts.Text)
	}
	path := at.RequestURI() // in containers the gateway may have another address for this test than for people
	page := visitor.must(http.StatusOK, http.MethodGet, path, nil, nil, header{"Accept", "text/html"})
	if body := string(page.body); !strings.Contains(body, "<form") || !strings.HasPrefix(page.header.Get("Content-Security-Policy"), "default-src 'none'; style-src 'sha256-") {
		t.Errorf("the page is %s with %v", body, page.header)
	}
	if !c.wants("order-confirmed", "email") {
		t.Error("looking at the page switched the mails off")
	}
	form := header{"Content-Type", "application/x-www-form-urlencoded"}
	for range 2 {
		visitor.must(http.StatusOK, http.MethodPost, path, "List-Unsubscribe=One-Click", nil, form)
	}
	if c.wants("order-confirmed", "email") || !c.wants("welcome", "email") || !c.wants("order-confirmed", "in-app") {
		t.Error("not exactly the mails of this kind are off")
	}
	o := c.buys(p, 1)
	o.expect(t, "confirmed", "")
	c.message(t, "order-confirmed", o.ID, "suppressed")
	c.deposit(100)
	c.mailed(t, "Money added", 2)
	c.mailed(t, "order is confirmed", 1)
	for _, forged := range []string{path[:len(path)-1], path + "A", strings.Split(path, "?")[0]} {
		wrong := visitor.must(http.StatusBadRequest, http.MethodGet, forged, nil, nil, header{"Accept", "text/html"})
		if !strings.Contains(string(wrong.body), "This link does not work") {
			t.Errorf("%s is answered with %s", forged, wrong.body)
		}
		visitor.must(http.StatusBadRequest, http.MethodPost, forged, "List-Unsubscribe=One-Click", nil, form)
	}
}

// wants reports whether the preferences of a customer have a kind in a channel.
func (c *customer) wants(kind, channel string) bool {
	var set preferencesBody
	c.get("/v1/notifications/preferences", &set)
	return slices.Contains(set.Rules, preferenceRule{Kind: kind, Channel: channel, Enabled: true})
}

// mails asks to send again a message that is being sent: the mail server gives no answer meanwhile.
func (r *refused) mails(t *testing.T) {
	s, p := r.shop.stack, r.shop.product(100, 1)
	c := r.shop.customer(100)
	s.mailFault(t, "stall")
	defer s.mailFault(t, "")
	o := c.buys(p, 1)
	d := c.message(t, "order-confirmed", o.ID, "claimed")
	r.shop.admin.must(http.StatusConflict, http.MethodPost, deliveries+"/"+d.ID+"/resend", nil, nil)
	s.mailFault(t, "")
	c.mailed(t, "order is confirmed", 1)
}
