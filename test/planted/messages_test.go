package planted

import (
	"fmt"
	"strings"
	"time"

	"caravan/internal/feed"
	notifications "caravan/services/notifications/contract"
	orders "caravan/services/orders/contract"
)

// thread changes a thread of e-mails about an order, one with a confirmation that was sent.
func thread(change func(doc, sent object)) func(*scene) {
	return func(s *scene) {
		s.edit(notifications.App, s.thread(), func(doc object) { change(doc, delivery(doc, orders.EventConfirmed)) })
	}
}

// thread is the key of such a thread.
func (s *scene) thread() string {
	return s.find(notifications.App, "delivery/", func(doc object) bool { return delivery(doc, orders.EventConfirmed)["state"] == "sent" })
}

// delivery is the delivery of an event of a type in a thread, or an empty object.
func delivery(doc object, typ string) object {
	all, _ := doc["deliveries"].([]any)
	for _, d := range all {
		if d.(object)["type"] == typ {
			return d.(object)
		}
	}
	return object{}
}

// refunded adds to a thread the delivery of a refund after its confirmation.
func refunded(doc, sent object) object {
	d := copied(sent)
	d["event"], d["type"], d["kind"], d["rank"] = fmt.Sprint(sent["event"], "9"), orders.EventRefunded, "order-refunded", 3
	doc["deliveries"] = append(doc["deliveries"].([]any), d)
	return d
}

// later is a time some minutes after one of a document.
func later(t any, minutes int) string {
	at, err := time.Parse(time.RFC3339Nano, t.(string))
	if err != nil {
		panic(err)
	}
	return at.Add(time.Duration(minutes) * time.Minute).Format(time.RFC3339Nano)
}

var spoiledMessages = []spoiled{
	{"a message that is gone", notifications.App, notifications.InvariantMessage, func(s *scene) { s.stored(notifications.App).Remove(s.thread()) }},
	{"a welcome that is gone", notifications.App, notifications.InvariantMessage, func(s *scene) {
		s.stored(notifications.App).Remove(s.find(notifications.App, "delivery/", func(doc object) bool { return delivery(doc, "users.registered.v1")["state"] != nil }))
	}},
	{"a message that is gone from its thread", notifications.App, notifications.InvariantMessage, thread(func(doc, _ object) { doc["deliveries"] = []any{} })},
	{"a thread without a message", notifications.App, notifications.InvariantThread, thread(func(doc, _ object) { doc["deliveries"] = []any{} })},
	{"a message that came twice", notifications.App, notifications.InvariantOneMessage, thread(func(doc, sent object) {
		doc["deliveries"] = append(doc["deliveries"].([]any), sent)
	})},
	{"a message to another person", notifications.App, notifications.InvariantThread, thread(func(doc, _ object) { doc["userId"] = "another" })},
	{"a message about another order", notifications.App, notifications.InvariantThread, thread(func(_, sent object) {
		sent["data"].(object)["orderId"] = "11111111-2222-4333-8444-555555555555"
	})},
	{"a message of what never was", orders.App, orders.InvariantMessageFact, thread(func(_, sent object) { sent["event"] = fmt.Sprint(sent["event"], "99") })},
	{"a message that was sent twice", notifications.App, notifications.InvariantSentOnce, thread(func(_, sent object) { sent["sends"] = 2 })},
	{"a message that was sent and never claimed", notifications.App, notifications.InvariantMessageState, thread(func(_, sent object) { delete(sent, "claim") })},
	{"a claim that is lost", notifications.App, notifications.InvariantMessageState, thread(func(_, sent object) {
		sent["state"] = "claimed"
		delete(sent, "claim")
		delete(sent, "sends")
		delete(sent, "sentAt")
	})},
	{"a message that nobody sends", notifications.App, notifications.InvariantMessageEnd, thread(func(_, sent object) {
		sent["state"], sent["nextAttemptAt"] = "waiting", sent["createdAt"]
		delete(sent, "sends")
		delete(sent, "sentAt")
	})},
	{"a claim that nobody takes over", notifications.App, notifications.InvariantMessageEnd, thread(func(_, sent object) {
		sent["state"] = "claimed"
		delete(sent, "sends")
		delete(sent, "sentAt")
	})},
	{"a message that was sent before it was added", notifications.App, notifications.InvariantMessageState, thread(func(_, sent object) {
		sent["sentAt"] = later(sent["createdAt"], -5)
	})},
	{"a status that was sent after a later one", notifications.App, notifications.InvariantMessageOrder, thread(func(doc, sent object) {
		refunded(doc, sent)
		sent["sentAt"] = later(sent["sentAt"], 5)
		sent["claim"].(object)["until"] = later(sent["sentAt"], 1)
	})},
	{"a status that waits after a later one", notifications.App, notifications.InvariantMessageOrder, thread(func(doc, sent object) {
		refunded(doc, sent)
		sent["state"], sent["nextAttemptAt"] = "waiting", sent["createdAt"]
	})},
	{"a status that nothing superseded", notifications.App, notifications.InvariantMessageOrder, thread(func(_, sent object) {
		sent["state"], sent["supersededBy"] = "superseded", "orders/nothing/1"
	})},
	{"a message that was suppressed as too old and was not", notifications.App, notifications.InvariantWishes, thread(func(_, sent object) {
		sent["state"], sent["reason"] = "suppressed", "too old"
		delete(sent, "attempts")
	})},
	{"a message that was suppressed and is wanted", notifications.App, notifications.InvariantWishes, thread(func(_, sent object) {
		sent["state"], sent["reason"] = "suppressed", "switched off by the user"
	})},
	{"a message that nobody wants", notifications.App, notifications.InvariantWishes, func(s *scene) {
		var doc object
		s.get(notifications.App, s.thread(), &doc)
		s.put(notifications.App, "preferences/"+doc["userId"].(string), object{
			"revision": 1, "writeId": "planted", "userId": doc["userId"], "changedAt": later(delivery(doc, orders.EventConfirmed)["createdAt"], -60),
			"rules": []any{object{"kind": "order-confirmed", "channel": "email", "enabled": false}},
		})
	}},
	{"a message that somebody asked for", notifications.App, notifications.InvariantMessage, func(s *scene) {
		// Refunds of money are not mailed unless somebody switches them on.
		for _, key := range s.stored(notifications.App).Keys() {
			if userID, ok := strings.CutPrefix(key, "inbox/"); ok && !strings.Contains(userID, "/") {
				s.put(notifications.App, "preferences/"+userID, object{
					"revision": 1, "writeId": "planted", "userId": userID, "changedAt": "1999-01-01T00:00:00Z",
					"rules": []any{object{"kind": "payment-refunded", "channel": "email", "enabled": true}},
				})
			}
		}
	}},
	{"a message that the feed does not lead to", notifications.App, feed.InvariantIndexed, func(s *scene) { s.unindex(notifications.App, s.thread()) }},
}
