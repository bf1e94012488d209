package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	notifications "caravan/services/notifications/domain"
)

// taken is a message that the other side has taken.
type taken struct {
	by       *life
	at       time.Time
	answered atomic.Bool // its program knows
}

// mailed is one e-mail that the mail server has taken.
type mailed struct {
	*taken
	to, text string
}

// taken are the e-mails of a delivery.
func (w *World) taken(id string) []*taken {
	all := make([]*taken, len(w.mails[id]))
	for i, m := range w.mails[id] {
		all[i] = m.taken
	}
	return all
}

// mailTimeout is a little more than the time limit of an attempt of notifications. A sidecar that was paused for longer sends for
// a program that does not wait any more.
const mailTimeout = 31 * time.Second

// mail sends an e-mail through the binding of a sidecar.
func (w *World) mail(ctx context.Context, l *life, in request) (response *http.Response, err error) {
	var asked struct {
		Metadata struct{ EmailTo, MessageID, TextBody string } `json:"metadata"`
	}
	if err := json.Unmarshal(in.body, &asked); err != nil {
		return nil, err
	}
	id, began := asked.Metadata.MessageID, w.now()
	var took *mailed
	err = w.ask(ctx, l, "mail "+id, func(c *call) {
		w.through(c, l.replica, func(reply func(error)) {
			if w.chance("mail deferred", w.faults.MailFails) {
				response = respond(http.StatusInternalServerError, "application/json",
					[]byte(`{"errorCode":"ERR_INVOKE_OUTPUT_BINDING","message":"451 4.7.1 try again later"}`))
				reply(nil)
				return
			}
			m := &mailed{&taken{by: l, at: w.now()}, asked.Metadata.EmailTo, asked.Metadata.TextBody}
			if w.now().Sub(began) < mailTimeout {
				w.checkMessage("mail", id, w.taken(id))
			}
			w.mails[id] = append(w.mails[id], m)
			if w.chance("mail reply lost", w.faults.MailReplyLost) {
				return
			}
			took, response = m, respond(http.StatusNoContent, "", nil)
			reply(nil)
		})
	})
	if err != nil {
		return nil, err
	}
	if took != nil {
		took.answered.Store(true)
	}
	return response, nil
}

// checkMessage checks that a message is claimed, and that it is not sent a second time except where nobody can know: the program
// of the first time got no answer, or stopped before it stored the answer.
func (w *World) checkMessage(what, id string, before []*taken) {
	d, ok := w.delivery(id)
	if !ok || d.State != notifications.DeliveryClaimed {
		w.wrongMessages = append(w.wrongMessages, fmt.Sprintf("the %s %s is sent while its delivery is %q", what, id, d.State))
	}
	for _, m := range before {
		if m.answered.Load() && !m.by.over() && m.by.replica.frozen == "" {
			w.wrongMessages = append(w.wrongMessages, fmt.Sprintf("the %s %s is sent twice, and the first program runs and knows", what, id))
		}
	}
}

// token waits for an e-mail to an address with a link to a page, and returns the token in it.
func (w *World) token(address, page string) string {
	link := regexp.MustCompile("/" + page + "#token=(\\S+)")
	for {
		found := make(chan string, 1)
		w.arrive("looking for a link", func() {
			token := ""
			for _, mails := range w.mails {
				for _, m := range mails {
					if match := link.FindStringSubmatch(m.text); match != nil && strings.Contains(m.to, address) {
						token = match[1]
					}
				}
			}
			found <- token
		})
		if token := <-found; token != "" {
			return token
		}
		time.Sleep(time.Second)
	}
}

// delivery reads a delivery from the store.
func (w *World) delivery(id string) (notifications.Delivery, bool) {
	threadID, place, ok := notifications.ParseDeliveryID(id)
	record, stored := w.stores["notifications"].records[threadPrefix+threadID]
	var thread notifications.Thread
	if !ok || !stored || json.Unmarshal(record.value, &thread) != nil || place >= len(thread.Deliveries) {
		return notifications.Delivery{}, false
	}
	return thread.Deliveries[place], true
}

// threadPrefix starts the key of a thread of deliveries.
const threadPrefix = "delivery/"

// threads reads all threads of deliveries, by id.
func (w *World) threads() map[string]*notifications.Thread {
	found := make(map[string]*notifications.Thread)
	for key, record := range w.stores["notifications"].records {
		id, ok := strings.CutPrefix(key, threadPrefix)
		thread := &notifications.Thread{}
		if ok && !strings.Contains(id, "/") && json.Unmarshal(record.value, thread) == nil { // not a part of a timeline
			found[id] = thread
		}
	}
	return found
}

// posted reports whether every e-mail has been sent.
func (w *World) posted() bool {
	for _, thread := range w.threads() {
		if !thread.Ended() {
			return false
		}
	}
	return true
}

// strangeMails checks that each e-mail of the mail server belongs to a delivery.
func (w *World) strangeMails() (violations []string) {
	for id := range w.mails {
		if _, known := w.delivery(id); !known {
			violations = append(violations, "the mail server has the mail "+id+", of which there is no delivery")
		}
	}
	slices.Sort(violations)
	return violations
}

// mails checks that a customer got an e-mail about each fact: about each deposit, and about the last status of each order. Each of
// them came once, except where nobody can know.
func (c *customer) mails(facts map[string]int, statuses map[string]string) (violations []string) {
	found := func(format string, args ...any) {
		violations = append(violations, c.name+": "+fmt.Sprintf(format, args...))
	}
	me, err := read(c, "the account", c.client.GetOwnUser)
	if err != nil {
		return []string{fmt.Sprintf("%s: the account can not be read: %v", c.name, err)}
	}
	sent := make(map[string]int) // by type
	for threadID, thread := range c.shop.threads {
		if thread.UserID != me.ID || thread.Channel != notifications.Email {
			continue
		}
		for place, d := range thread.Deliveries {
			mails := c.shop.world.mails[notifications.DeliveryID(threadID, place)]
			if d.State == notifications.DeliverySent && len(mails) == 0 {
				found("the delivery of %s is %s, and the mail server has %d of it", d.EventID, d.State, len(mails))
			}
			if d.State == notifications.DeliverySent && d.Resends == 0 && !d.Unknown && len(mails) != 1 {
				found("the mail server has %d mails of %s, all outcomes of which are known", len(mails), d.EventID)
			}
			for _, m := range mails {
				if m.to != me.Email && !strings.Contains(m.to, "<"+me.Email+">") {
					found("the mail of %s went to %s", d.EventID, m.to)
				}
			}
			if d.State == notifications.DeliverySent {
				sent[d.Type]++
			}
		}
	}
	for typ, kind := range map[string]string{"users.registered.v1": "welcome", "payments.deposited.v1": "deposit-received"} {
		want := facts[typ]
		if slices.Contains(c.off, kind) {
			want = 0
		}
		if sent[typ] != want {
			found("%d mails of %s were sent; it should be %d", sent[typ], typ, want)
		}
	}
	if n := sent["users.verification_requested.v1"]; n != 1 {
		found("%d mails to verify the address were sent; it should be 1", n)
	}
	for orderID, want := range statuses {
		last := c.lastStatus(notifications.Email, me.ID, orderID, c.shop.world.taken)
		if want == "orders.refunded.v1" && slices.Contains(c.off, "order-refunded") {
			if last == want {
				found("a refund of order %s was mailed, which is switched off", orderID)
			}
		} else if last != want {
			found("the last mail of order %s is %q; it should be %s", orderID, last, want)
		}
	}
	return violations
}

// lastStatus is the type of the last status of an order that was sent by a channel, or "". The order is that in which the messages
// were taken for the first time, by one clock; those of the programs differ.
func (c *customer) lastStatus(channel notifications.Channel, userID, orderID string, of func(deliveryID string) []*taken) (typ string) {
	threadID := notifications.ThreadID(channel, notifications.Notice{UserID: userID, Data: notifications.Data{OrderID: orderID}})
	thread := c.shop.threads[threadID]
	if thread == nil {
		return ""
	}
	var at time.Time
	for place, d := range thread.Deliveries {
		messages := of(notifications.DeliveryID(threadID, place))
		if d.State == notifications.DeliverySent && d.Rank > 0 && len(messages) > 0 && messages[0].at.After(at) {
			typ, at = d.Type, messages[0].at
		}
	}
	return typ
}
