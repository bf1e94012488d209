package domain_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"caravan/internal/event"
	"caravan/internal/money"
	"caravan/services/notifications/domain"
	orders "caravan/services/orders/contract"
	payments "caravan/services/payments/contract"
	products "caravan/services/products/contract"
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
		"deposit declined":    {event: fact(t, payments.EventDepositDeclined, "d1", payments.Moved{UserID: "u1", DepositID: "d1", Amount: ten}), want: domain.Data{Amount: ten}},
		"declined":            {event: fact(t, payments.EventDeclined, "u1", payments.Moved{UserID: "u1", OrderID: "o1", Amount: ten}), want: domain.Data{OrderID: "o1", Amount: ten}},
		"a new product":       {event: fact(t, products.EventCreated, "TEA", products.ProductCreated{SKU: "TEA"}), err: domain.ErrSilent},
		"wallet refunded":     {event: fact(t, payments.EventRefunded, "u1", payments.Moved{UserID: "u1", OrderID: "o1", Amount: three}), want: domain.Data{OrderID: "o1", Amount: three}},
		"signed in":           {event: fact(t, users.EventSignedIn, "u1", users.SignedIn{UserID: "u1"})},
		"password changed":    {event: fact(t, users.EventPasswordChanged, "u1", users.PasswordChanged{UserID: "u1"})},
		"verification":        {event: fact(t, users.EventVerificationRequested, "u1", users.MailRequested{UserID: "u1", RequestID: "r1"}), want: domain.Data{RequestID: "r1"}},
		"a reset":             {event: fact(t, users.EventPasswordResetRequested, "u1", users.MailRequested{UserID: "u1", RequestID: "r1"}), want: domain.Data{RequestID: "r1"}},
		"a request of no id":  {event: fact(t, users.EventPasswordResetRequested, "u1", users.MailRequested{UserID: "u1", RequestID: "r 1"}), err: domain.ErrPayload},
		"a later field":       {event: fact(t, users.EventRegistered, "u1", map[string]any{"userId": "u1", "plan": "gold"})},
		"placed":              {event: fact(t, orders.EventPlaced, "o1", with(func(f *orders.Fact) { f.Total = money.Money{} })), want: domain.Data{OrderID: "o1"}},
		"a later placed":      {event: fact(t, "orders.placed.v2", "o1", order), err: domain.ErrUnknownVersion},
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
			if _, known := domain.KindOf(test.event.Type); known == untold {
				t.Errorf("KindOf(%s) disagrees with Read: %v", test.event.Type, err)
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

// These events are for several users.
func TestReadOfAudiences(t *testing.T) {
	drop := products.PriceDropped{SKU: "TEA", Name: "Tea", Old: ten, New: three, UserIDs: []string{"u1", "u2"}}
	low := products.StockLow{SKU: "TEA", Available: 3, Threshold: 5}
	of := func(data any, typ string) event.Event { return fact(t, typ, "watchers/TEA/1", data) }
	dropWith := func(change func(*products.PriceDropped)) event.Event {
		f := drop
		change(&f)
		return of(f, products.EventPriceDropped)
	}
	many := make([]string, domain.MaxAudience+1)
	for i := range many {
		many[i] = fmt.Sprint("u", i)
	}
	if products.MaxDropUsers != domain.MaxAudience {
		t.Error("an event may have other users than an audience")
	}
	for name, test := range map[string]struct {
		event    event.Event
		audience domain.Audience
		data     domain.Data
		err      error
	}{
		"a price":   {of(drop, products.EventPriceDropped), domain.Audience{Users: drop.UserIDs}, domain.Data{SKU: "TEA", Product: "Tea", Was: ten, Amount: three}, nil},
		"low stock": {of(low, products.EventStockLow), domain.Audience{Permission: users.PermissionInventoryAdjust}, domain.Data{SKU: "TEA", Available: 3}, nil},
		"sold out":  {of(products.StockLow{SKU: "TEA"}, products.EventStockLow), domain.Audience{Permission: users.PermissionInventoryAdjust}, domain.Data{SKU: "TEA"}, nil},

		"for nobody":       {event: dropWith(func(f *products.PriceDropped) { f.UserIDs = nil }), err: domain.ErrPayload},
		"for too many":     {event: dropWith(func(f *products.PriceDropped) { f.UserIDs = many }), err: domain.ErrPayload},
		"for a wrong id":   {event: dropWith(func(f *products.PriceDropped) { f.UserIDs = []string{"u1", "u/2"} }), err: domain.ErrPayload},
		"without a price":  {event: dropWith(func(f *products.PriceDropped) { f.New = money.Money{} }), err: domain.ErrPayload},
		"without a SKU":    {event: dropWith(func(f *products.PriceDropped) { f.SKU = "" }), err: domain.ErrPayload},
		"less than none":   {event: of(products.StockLow{SKU: "TEA", Available: -1}, products.EventStockLow), err: domain.ErrPayload},
		"stock of nothing": {event: of(products.StockLow{Available: 1}, products.EventStockLow), err: domain.ErrPayload},
	} {
		got, err := domain.Read(test.event)
		if !errors.Is(err, test.err) {
			t.Errorf("%s: %v; want %v", name, err, test.err)
		}
		if test.err != nil || err != nil {
			continue
		}
		if got.UserID != "" || got.Audience == nil || !reflect.DeepEqual(*got.Audience, test.audience) || got.Data != test.data {
			t.Errorf("%s: read %+v for %+v", name, got, got.Audience)
		}
		if one := got.For("u1"); one.UserID != "u1" || one.Audience != nil || one.Data != test.data || one.NotificationID() == got.For("u2").NotificationID() {
			t.Errorf("%s: for one user %+v", name, one)
		}
	}
}

// FuzzRead gives payloads of any content to every known type.
func FuzzRead(f *testing.F) {
	types := []string{
		users.EventRegistered, orders.EventConfirmed, orders.EventRejected, orders.EventCancelled, orders.EventRefunded,
		payments.EventDeposited, payments.EventRefunded, orders.EventPlaced, "orders.unheard_of.v1", orders.EventReserved,
		users.EventPasswordResetRequested, users.EventSignedIn,
		payments.EventDeclined, products.EventPriceDropped, products.EventStockLow, payments.EventDepositDeclined,
	}
	for i := range types {
		f.Add(uint8(i), `{"userId":"u1","userIds":["u1","u2"],"sku":"TEA","available":3,"old":{"amount":2,"currency":"EUR"},"new":{"amount":1,"currency":"EUR"},"orderId":"o1","total":{"amount":1,"currency":"EUR"},"amount":{"amount":1,"currency":"EUR"},"refunded":{"amount":1,"currency":"EUR"}}`)
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
		if users := usersOf(n); len(users) > domain.MaxAudience || n.Audience == nil && n.UserID == "" || slices.ContainsFunc(users, func(userID string) bool {
			return userID == "" || strings.ContainsAny(userID, "/|")
		}) {
			t.Fatalf("the users %q cannot be parts of keys", users)
		}
		if strings.ContainsAny(n.UserID, "/|") {
			t.Fatalf("user id %q cannot be part of a key", n.UserID)
		}
		for _, locale := range domain.Locales() {
			if m, err := domain.RenderEntry(n.Type, locale, n.Data); err != nil || m.Title == "" || m.Body == "" {
				t.Fatalf("no words in %s for %+v: %v", locale, n, err)
			}
		}
		if again, err := domain.Read(e); err != nil || !reflect.DeepEqual(again, n) {
			t.Fatalf("read again as %+v, %v", again, err)
		}
	})
}

// usersOf are the users whom a notice names.
func usersOf(n domain.Notice) []string {
	switch {
	case n.Audience == nil:
		return []string{n.UserID}
	case n.Audience.Permission != "":
		return nil
	}
	return n.Audience.Users
}
