package e2e

import (
	"encoding/json"
	"html"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"caravan/internal/id"
	"caravan/internal/money"
	"caravan/services/notifications/adapters/pushtest"
	"caravan/services/notifications/domain"
)

// causes says how a message of each kind comes about: it makes something happen to a recipient, and returns the values in the text.
var causes = map[string]func(*recipient) domain.Data{
	"welcome":          (*recipient).registered,
	"verify-email":     (*recipient).asksForVerification,
	"password-reset":   (*recipient).forgetsPassword,
	"password-changed": (*recipient).changesPassword,
	"new-sign-in":      (*recipient).signsInElsewhere,
	"order-placed":     (*recipient).waitsForAnOrder,
	"order-confirmed":  (*recipient).buysSomething,
	"order-rejected":   (*recipient).buysTooMuch,
	"order-cancelled":  (*recipient).cancelsAnOrder,
	"order-refunded":   func(r *recipient) domain.Data { o := r.returns(); return r.of(o, o.Refunded) },
	"deposit-received": (*recipient).addsMoney,
	"payment-refunded": func(r *recipient) domain.Data { o := r.returns(); return r.of(o, o.Refunded) },
	"payment-declined": (*recipient).cannotPay,
	"price-drop":       (*recipient).watchesAProduct,
	"low-stock":        (*recipient).sellsOut,
}

// recipient is a customer who wants every kind of message by every channel, in one language.
type recipient struct {
	*customer
	test    *testing.T
	locale  domain.Locale
	product *product
	// service and device are nil where the programs do not reach a push service of this machine.
	service *pushtest.Service
	device  *pushtest.Device
	// held is the order of waitsForAnOrder.
	held string
}

// TestEachKindInEachLanguage has something of each kind happen to a person, and finds the text in each channel that the kind has.
func TestEachKindInEachLanguage(t *testing.T) {
	for _, kind := range domain.Kinds() {
		if causes[kind.Name] == nil {
			t.Errorf("nothing here leads to a message of the kind %s: add it to causes", kind.Name)
		}
	}
	for name := range causes {
		if _, known := domain.KindNamed(name); !known {
			t.Errorf("there is no kind %s", name)
		}
	}
	s := shared(t)
	s.mailServer(t)
	sh := open(t, s)
	for _, locale := range domain.Locales() {
		t.Run(string(locale), func(t *testing.T) {
			r := sh.recipient(t, locale)
			for _, kind := range domain.Kinds() {
				if cause := causes[kind.Name]; cause != nil {
					r.gets(kind, cause(r))
				}
			}
			if r.device != nil && len(r.service.Faults()) > 0 {
				t.Errorf("the push service found %v", r.service.Faults())
			}
		})
	}
	sh.settleMails()
}

// recipient registers one.
func (sh *shop) recipient(t *testing.T, locale domain.Locale) *recipient {
	t.Helper()
	r := &recipient{customer: sh.customer(10_000), test: t, locale: locale, product: sh.product(500, 100)}
	wishes := preferencesBody{Locale: string(locale), TimeZone: "Europe/Berlin"}
	for _, kind := range domain.Kinds() {
		for _, channel := range kind.Optional {
			wishes.Rules = append(wishes.Rules, preferenceRule{Kind: kind.Name, Channel: string(channel), Enabled: true})
		}
	}
	r.must(http.StatusOK, http.MethodPut, "/v1/notifications/preferences", wishes, nil)
	if _, here := sh.stack.target.(*launched); here {
		r.service = sh.stack.pushService(t, r.customer)
		r.device = r.service.Device()
		r.subscribed(r.device)
	}
	return r
}

// gets waits until each channel of a kind has its text, once.
func (r *recipient) gets(kind domain.Kind, data domain.Data) {
	r.test.Helper()
	want, err := domain.Render(kind, r.locale, data)
	if err != nil {
		r.test.Fatal(err)
	}
	for _, channel := range domain.Channels() {
		if kind.Offers(channel) {
			eventually(r.test, kind.Name+" by "+string(channel)+" in "+string(r.locale), func() error { return r.has(channel, kind, want) })
		}
	}
}

// has looks for a message in a channel.
func (r *recipient) has(channel domain.Channel, kind domain.Kind, want domain.Message) error {
	switch channel {
	case domain.InApp:
		return r.inInbox(kind, want)
	case domain.Email:
		return r.inMails(want)
	case domain.Push:
		return r.onDevice(kind, want)
	}
	return errorf("this test does not read the channel")
}

func (r *recipient) inInbox(kind domain.Kind, want domain.Message) error {
	notices, err := tryAll[noticeBody](r.client, "/v1/notifications")
	if err != nil {
		return err
	}
	n := 0
	for _, notice := range notices {
		if slices.Contains(kind.Events, notice.Type) && notice.Title == want.Title && notice.Body == want.Body {
			n++
		}
	}
	if n != 1 {
		return errorf("%d entries are %q: %q", n, want.Title, want.Body)
	}
	return nil
}

// inMails looks for a mail with the text in both parts. One that staff had sent again has its Message-ID.
func (r *recipient) inMails(want domain.Message) error {
	ids := make(map[string]bool)
	var text string
	for _, m := range r.mails(r.test, want.Title) {
		if m.Subject != want.Title {
			continue
		}
		parts := r.shop.stack.mailParts(r.test, m)
		shown := html.UnescapeString(parts.HTML)
		missing := slices.ContainsFunc(want.Paragraphs(), func(p string) bool { return !strings.Contains(parts.Text, p) || !strings.Contains(shown, p) })
		if !missing && strings.Contains(parts.HTML, `<html lang="`+string(r.locale)+`">`) {
			ids[m.MessageID] = true
		}
		text = parts.Text
	}
	if len(ids) == 0 {
		return errorf("no mail is %q: %q; the last with this subject is %q", want.Title, want.Body, text)
	}
	return nil
}

func (r *recipient) onDevice(kind domain.Kind, want domain.Message) error {
	if r.device == nil {
		return nil
	}
	n := 0
	for _, m := range r.device.Messages() {
		var got pushedBody
		if err := json.Unmarshal(m.Payload, &got); err != nil {
			return err
		}
		if got.Kind == kind.Name && got.Title == want.Title && got.Body == want.PushBody() && got.Lang == string(r.locale) && m.Urgency == kind.Urgency {
			n++
		}
	}
	if n != 1 {
		return errorf("%d messages are %q: %q", n, want.Title, want.PushBody())
	}
	return nil
}

// outside are the messages about an order, or about no order, of a kind outside the app, by channel.
func (r *recipient) outside(kind, order string) map[string]deliveryBody {
	r.test.Helper()
	found := make(map[string]deliveryBody)
	for _, d := range search[deliveryBody](r.shop.admin, deliveries, url.Values{"user": {r.id}, "kind": {kind}}) {
		if d.OrderID == order {
			found[d.Channel] = d
		}
	}
	return found
}

// sent waits until a message about an order is sent by each channel outside the app.
func (r *recipient) sent(name, order string) {
	r.test.Helper()
	eventually(r.test, name+" to be sent", func() error { return r.allSent(name, order) })
}

func (r *recipient) allSent(name, order string) error {
	found := r.outside(name, order)
	for _, channel := range r.channels() {
		if d := found[channel]; d.Status != "sent" {
			return errorf("by %s it is %+v", channel, d)
		}
	}
	return nil
}

// channels are those outside the app by which the recipient gets messages.
func (r *recipient) channels() []string {
	if r.device == nil {
		return []string{string(domain.Email)}
	}
	return []string{string(domain.Email), string(domain.Push)}
}

func (r *recipient) visitor() *client { return newClient(r.test, r.shop.stack, r.shop.trail) }

// registered: the event came before the person could choose a language, or subscribe. So the mail is sent again, and the event
// comes a second time.
func (r *recipient) registered() domain.Data {
	r.sentWelcome()
	r.shop.resend(r.outside("welcome", "")[string(domain.Email)])
	for _, e := range r.shop.stack.timeline(r.test, "users", "user/"+r.id) {
		if kind, known := domain.KindOf(e.Type); known && kind.Name == "welcome" {
			r.shop.stack.publish(r.test, "users", "users", e)
		}
	}
	return domain.Data{}
}

func (r *recipient) sentWelcome() {
	eventually(r.test, "the first mail", func() error {
		if d := r.outside("welcome", "")[string(domain.Email)]; d.Status != "sent" {
			return errorf("it is %+v", d)
		}
		return nil
	})
}

func (r *recipient) asksForVerification() domain.Data {
	r.must(http.StatusAccepted, http.MethodPost, "/v1/users/me/verification", nil, nil)
	return domain.Data{}
}

func (r *recipient) forgetsPassword() domain.Data {
	r.visitor().must(http.StatusAccepted, http.MethodPost, resets, map[string]string{"email": r.email}, nil)
	return domain.Data{}
}

func (r *recipient) changesPassword() domain.Data {
	fresh := "another horse " + id.Random{}.New()
	body := map[string]string{"currentPassword": r.password, "newPassword": fresh}
	r.must(http.StatusNoContent, http.MethodPut, "/v1/users/me/password", body, nil)
	r.password = fresh
	r.fact("users.password_changed.v1")
	return domain.Data{}
}

func (r *recipient) signsInElsewhere() domain.Data {
	body := map[string]string{"email": r.email, "password": r.password}
	agent := header{"User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"}
	r.visitor().must(http.StatusCreated, http.MethodPost, "/v1/sessions", body, nil, agent)
	r.fact("users.signed_in.v1")
	return domain.Data{}
}

// waitsForAnOrder: the event comes with the feed a minute later, or now. It stays held for cancelsAnOrder.
func (r *recipient) waitsForAnOrder() domain.Data {
	r.held = holdAt("payments", "authorize")(r.test, r.customer, r.product)
	r.shop.stack.publish(r.test, "orders", "orders", r.shop.stack.events(r.test, r.held)[0])
	r.sent("order-placed", r.held)
	r.must(http.StatusAccepted, http.MethodPost, "/v1/orders/"+r.held+"/cancel", nil, nil)
	r.shop.stack.raise(r.test, "payments")
	return domain.Data{OrderID: r.held}
}

func (r *recipient) cancelsAnOrder() domain.Data {
	o := r.await(r.held)
	o.expect(r.test, "cancelled", "cancelled_by_customer")
	return domain.Data{OrderID: o.ID, Reason: o.Reason}
}

func (r *recipient) buysSomething() domain.Data {
	o := r.buys(r.product, 1)
	o.expect(r.test, "confirmed", "")
	return r.of(o, o.Total)
}

func (r *recipient) buysTooMuch() domain.Data {
	o := r.buys(r.shop.product(100, 1), 2)
	o.expect(r.test, "rejected", "out_of_stock")
	return domain.Data{OrderID: o.ID, Reason: o.Reason}
}

// returns has an order refunded.
func (r *recipient) returns() orderBody {
	o := r.buys(r.product, 2)
	r.shop.admin.must(http.StatusAccepted, http.MethodPost, "/v1/orders/"+o.ID+"/refund", map[string]any{"reason": "broken"}, nil)
	return r.until(o.ID, "a refund", func(o orderBody) bool { return o.Status == "refunded" })
}

func (r *recipient) addsMoney() domain.Data {
	const cents = 4321
	r.deposit(cents)
	return domain.Data{Amount: euros(cents)}
}

// cannotPay: a decline is not sent after the rejection of its order. So products is down, which the rejection needs to free the stock,
// until the decline is sent.
func (r *recipient) cannotPay() domain.Data {
	order := holdAt("payments", "authorize")(r.test, r.customer, r.shop.product(1_000_000, 100))
	r.shop.stack.crash(r.test, "products")
	r.shop.stack.raise(r.test, "payments")
	r.waits(order, "undo reserve")
	r.sent("payment-declined", order)
	r.shop.stack.raise(r.test, "products")
	o := r.await(order)
	o.expect(r.test, "rejected", "insufficient_funds")
	return r.of(o, o.Total)
}

func (r *recipient) watchesAProduct() domain.Data { return r.watches("A watched lamp") }

// sellsOut: the recipient becomes staff.
func (r *recipient) sellsOut() domain.Data {
	roles := map[string]any{"roles": []string{"customer", "staff"}}
	r.shop.admin.must(http.StatusOK, http.MethodPut, "/v1/users/"+r.id+"/roles", roles, nil)
	p := r.shop.product(100, 7)
	r.buys(p, 3).expect(r.test, "confirmed", "")
	return domain.Data{SKU: p.SKU, Available: 4}
}

// of are the values in texts about an order.
func (r *recipient) of(o orderBody, amount money.Money) domain.Data {
	return domain.Data{OrderID: o.ID, Amount: amount, Total: o.Total}
}
