package domain_test

import (
	"fmt"
	"testing"
	"time"

	"caravan/internal/event"
	"caravan/services/notifications/domain"
)

func TestReadStatus(t *testing.T) {
	const user, order = "0199c6a0-0000-7000-8000-000000000001", "0199c6a0-0000-7000-8000-000000000002"
	at := time.Date(2026, 3, 1, 12, 0, 0, 1_500_000, time.UTC)
	data := func(orderID, userID, status, reason string) []byte {
		return fmt.Appendf(nil, `{"orderId":%q,"userId":%q,"status":%q,"reason":%q}`, orderID, userID, status, reason)
	}
	of := func(source, typ string, data []byte) event.Event {
		return event.Event{Source: source, Type: typ, Subject: order, Sequence: 3, Time: at, Data: data}
	}
	got, ok := domain.ReadStatus(of("orders", "orders.rejected.v1", data(order, user, "rejected", "out_of_stock")))
	want := domain.OrderStatus{UserID: user, OrderID: order, Status: "rejected", Sequence: 3, OccurredAt: at.Truncate(time.Millisecond), Reason: "out_of_stock"}
	if !ok || got != want {
		t.Errorf("got %+v, %v", got, ok)
	}
	if got, ok := domain.ReadStatus(of("orders", "orders.rejected.v1", data(order, user, "rejected", "<b>Text for people</b>"))); !ok || got.Reason != "" {
		t.Errorf("a reason that is no code: %+v, %v", got, ok)
	}
	if got, ok := domain.ReadStatus(of("orders", "orders.refunded.v1", data(order, user, "confirmed", ""))); !ok || got.Status != "confirmed" || !got.Refund {
		t.Errorf("after a part was refunded: %+v, %v", got, ok)
	}
	for name, e := range map[string]event.Event{
		"another source": of("payments", "orders.rejected.v1", data(order, user, "rejected", "")),
		"another type":   of("orders", "payments.deposited.v1", data(order, user, "rejected", "")),
		"another order":  of("orders", "orders.rejected.v1", data("o2", user, "rejected", "")),
		"no status":      of("orders", "orders.rejected.v1", data(order, user, "", "")),
		"no user":        of("orders", "orders.rejected.v1", data(order, "", "rejected", "")),
		"no JSON":        of("orders", "orders.rejected.v1", []byte("{")),
	} {
		if got, ok := domain.ReadStatus(e); ok {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
