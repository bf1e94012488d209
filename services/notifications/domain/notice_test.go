package domain_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"caravan/internal/event"
	"caravan/internal/money"
	"caravan/services/notifications/domain"
	orders "caravan/services/orders/contract"
	payments "caravan/services/payments/contract"
	users "caravan/services/users/contract"
)

var (
	noon  = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	ten   = money.Money{Amount: 1000, Currency: "EUR"}
	three = money.Money{Amount: 300, Currency: "EUR"}
)

func fact(t testing.TB, typ, subject string, data any) event.Event {
	t.Helper()
	encoded, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	source, _, _ := strings.Cut(typ, ".")
	return event.Event{ID: event.ID(source, subject, 1), Type: typ, Source: source, Subject: subject, Sequence: 1, Time: noon, Data: encoded}
}

func TestRead(t *testing.T) {
	order := orders.Fact{OrderID: "o1", UserID: "u1", Total: ten}
	with := func(change func(*orders.Fact)) orders.Fact {
		f := order
		change(&f)
		return f
	}
	tests := map[string]struct {
		event event.Event
		want  domain.Data
		err   error
	}{
		"registered":          {event: fact(t, users.EventRegistered, "u1", users.Registered{UserID: "u1", Roles: []string{"customer"}})},
		"confirmed":           {event: fact(t, orders.EventConfirmed, "o1", order), want: domain.Data{OrderID: "o1", Amount: ten}},
		"rejected":            {event: fact(t, orders.EventRejected, "o1", with(func(f *orders.Fact) { f.Reason, f.Total = "out_of_stock", money.Money{} })), want: domain.Data{OrderID: "o1", Reason: "out_of_stock"}},
		"cancelled":           {event: fact(t, orders.EventCancelled, "o1", with(func(f *orders.Fact) { f.Reason = "deadline" })), want: domain.Data{OrderID: "o1", Reason: "deadline"}},
		"a reason in prose":   {event: fact(t, orders.EventCancelled, "o1", with(func(f *orders.Fact) { f.Reason = "Mrs Miller called" })), want: domain.Data{OrderID: "o1"}},
		"refunded":            {event: fact(t, orders.EventRefunded, "o1", with(func(f *orders.Fact) { f.Refunded, f.Reason = three, "broken lid" })), want: domain.Data{OrderID: "o1", Amount: three, Total: ten}},
		"deposited":           {event: fact(t, payments.EventDeposited, "u1", payments.Moved{UserID: "u1", DepositID: "d1", Amount: ten}), want: domain.Data{Amount: ten}},
		"wallet refunded":     {event: fact(t, payments.EventRefunded, "u1", payments.Moved{UserID: "u1", OrderID: "o1", Amount: three}), want: domain.Data{OrderID: "o1", Amount: three}},
		"a later field":       {event: fact(t, users.EventRegistered, "u1", map[string]any{"userId": "u1", "plan": "gold"})},
		"placed":              {event: fact(t, orders.EventPlaced, "o1", order), err: domain.ErrSilent},
		"captured":            {event: fact(t, payments.EventCaptured, "u1", payments.Moved{}), err: domain.ErrSilent},
		"a step of the saga":  {event: fact(t, orders.EventReserved, "o1", order), err: domain.ErrSilent},
		"roles changed":       {event: fact(t, users.EventRolesChanged, "u1", users.RolesChanged{}), err: domain.ErrSilent},
		"of the future":       {event: fact(t, "orders.gift_wrapped.v1", "o1", order), err: domain.ErrUnknownType},
		"of a later version":  {event: fact(t, "orders.confirmed.v2", "o1", order), err: domain.ErrUnknownVersion},
		"a later quiet step":  {event: fact(t, "orders.reserved.v2", "o1", order), err: domain.ErrUnknownType},
		"without a user":      {event: fact(t, users.EventRegistered, "u1", users.Registered{}), err: domain.ErrPayload},
		"a user with a slash": {event: fact(t, users.EventRegistered, "u1", users.Registered{UserID: "u1/2"}), err: domain.ErrPayload},
		"another order":       {event: fact(t, orders.EventConfirmed, "o2", order), err: domain.ErrPayload},
		"without a total":     {event: fact(t, orders.EventConfirmed, "o1", with(func(f *orders.Fact) { f.Total = money.Money{} })), err: domain.ErrPayload},
		"a negative amount":   {event: fact(t, payments.EventDeposited, "u1", payments.Moved{UserID: "u1", Amount: money.Money{Amount: -1, Currency: "EUR"}}), err: domain.ErrPayload},
		"a wrong type":        {event: fact(t, payments.EventDeposited, "u1", map[string]any{"userId": 7}), err: domain.ErrPayload},
		"no payload":          {event: event.Event{Type: users.EventRegistered, Time: noon}, err: domain.ErrPayload},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := domain.Read(test.event)
			if !errors.Is(err, test.err) {
				t.Fatalf("err = %v; want %v", err, test.err)
			}
			untold := errors.Is(err, domain.ErrSilent) || errors.Is(err, domain.ErrUnknownType) || errors.Is(err, domain.ErrUnknownVersion)
			if domain.Notifiable(test.event.Type) == untold {
				t.Errorf("Notifiable(%s) disagrees with Read: %v", test.event.Type, err)
			}
			if test.err != nil {
				return
			}
			if got.UserID != "u1" || got.EventID != test.event.ID || got.Type != test.event.Type || got.Data != test.want {
				t.Errorf("read %+v; want data %+v", got, test.want)
			}
			if !got.OccurredAt.Equal(noon.Truncate(time.Millisecond)) {
				t.Errorf("occurred at %v", got.OccurredAt)
			}
		})
	}
}

// FuzzRead gives payloads of any content to every known type.
func FuzzRead(f *testing.F) {
	types := []string{
		users.EventRegistered, orders.EventConfirmed, orders.EventRejected, orders.EventCancelled, orders.EventRefunded,
		payments.EventDeposited, payments.EventRefunded, orders.EventPlaced, "orders.unheard_of.v1",
	}
	for i := range types {
		f.Add(uint8(i), `{"userId":"u1","orderId":"o1","total":{"amount":1,"currency":"EUR"},"amount":{"amount":1,"currency":"EUR"},"refunded":{"amount":1,"currency":"EUR"}}`)
	}
	f.Add(uint8(1), `{"userId":"u1","orderId":"o1","total":{"amount":1e30,"currency":"EUR"}}`)
	f.Add(uint8(0), `{"userId":null}`)
	f.Add(uint8(2), `[]`)
	f.Fuzz(func(t *testing.T, which uint8, data string) {
		e := event.Event{ID: "s/o1/1", Type: types[int(which)%len(types)], Subject: "o1", Time: noon, Data: []byte(data)}
		n, err := domain.Read(e)
		if err != nil {
			if !errors.Is(err, domain.ErrPayload) && !errors.Is(err, domain.ErrSilent) && !errors.Is(err, domain.ErrUnknownType) {
				t.Fatalf("an error without a class: %v", err)
			}
			return
		}
		if n.UserID == "" || strings.ContainsAny(n.UserID, "/|") {
			t.Fatalf("user id %q cannot be part of a key", n.UserID)
		}
		if title, body := domain.Text(n.Type, n.Data); title == "" || body == "" {
			t.Fatalf("no words for %+v", n)
		}
		if again, err := domain.Read(e); err != nil || again != n {
			t.Fatalf("read again as %+v, %v", again, err)
		}
	})
}
