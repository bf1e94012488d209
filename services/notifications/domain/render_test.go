package domain_test

import (
	"strings"
	"testing"

	"caravan/services/notifications/domain"
	orders "caravan/services/orders/contract"
	payments "caravan/services/payments/contract"
	users "caravan/services/users/contract"
)

const orderID = "3f1c5a0e-8b4d-5c61-9e27-6d1f52c4a790"

func TestText(t *testing.T) {
	order := func(d domain.Data) domain.Data { d.OrderID = orderID; return d }
	tests := []struct {
		name        string
		typ         string
		data        domain.Data
		title, body string
	}{
		{"welcome", users.EventRegistered, domain.Data{}, "Welcome to Caravan",
			"Your account is ready. Add money to your wallet and place your first order whenever you like."},
		{"confirmed", orders.EventConfirmed, order(domain.Data{Amount: ten}), "Your order is confirmed",
			"Thank you! Order 3f1c5a0e is paid with 10.00 EUR from your wallet."},
		{"out of stock", orders.EventRejected, order(domain.Data{Reason: "out_of_stock"}), "Your order could not be completed",
			"Order 3f1c5a0e could not be completed: something in it is out of stock. You have not been charged."},
		{"not for sale", orders.EventRejected, order(domain.Data{Reason: "unknown_product"}), "Your order could not be completed",
			"Order 3f1c5a0e could not be completed: something in it is no longer for sale. You have not been charged."},
		{"price changed", orders.EventRejected, order(domain.Data{Reason: "price_changed"}), "Your order could not be completed",
			"Order 3f1c5a0e could not be completed: a price changed before we could reserve it, so please look at it again. You have not been charged."},
		{"another currency", orders.EventRejected, order(domain.Data{Reason: "currency_mismatch"}), "Your order could not be completed",
			"Order 3f1c5a0e could not be completed: the total you expected is in another currency than our prices. You have not been charged."},
		{"too little money", orders.EventRejected, order(domain.Data{Reason: "insufficient_funds"}), "Your order could not be completed",
			"Order 3f1c5a0e could not be completed: your wallet did not hold enough money. You have not been charged."},
		{"a reason of the future", orders.EventRejected, order(domain.Data{Reason: "full_moon"}), "Your order could not be completed",
			"Order 3f1c5a0e could not be completed: we could not accept it. You have not been charged."},
		{"cancelled by the customer", orders.EventCancelled, order(domain.Data{Reason: "cancelled_by_customer"}), "Your order was cancelled",
			"Order 3f1c5a0e was cancelled as you asked. You have not been charged."},
		{"cancelled by staff", orders.EventCancelled, order(domain.Data{Reason: "cancelled_by_staff"}), "Your order was cancelled",
			"Order 3f1c5a0e was cancelled by our staff. You have not been charged."},
		{"too late", orders.EventCancelled, order(domain.Data{Reason: "deadline"}), "Your order was cancelled",
			"Order 3f1c5a0e was cancelled because it could not be completed in time. You have not been charged."},
		{"cancelled", orders.EventCancelled, order(domain.Data{}), "Your order was cancelled",
			"Order 3f1c5a0e was cancelled. You have not been charged."},
		{"refunded", orders.EventRefunded, order(domain.Data{Amount: ten, Total: ten}), "Your order was refunded",
			"Order 3f1c5a0e was refunded in full: 10.00 EUR."},
		{"refunded in part", orders.EventRefunded, order(domain.Data{Amount: three, Total: ten}), "Part of your order was refunded",
			"Of the 10.00 EUR that order 3f1c5a0e cost, 3.00 EUR has been refunded so far."},
		{"deposited", payments.EventDeposited, domain.Data{Amount: ten}, "Money added to your wallet",
			"10.00 EUR arrived in your wallet and can be spent right away."},
		{"money back", payments.EventRefunded, order(domain.Data{Amount: three}), "Money back in your wallet",
			"3.00 EUR for order 3f1c5a0e is back in your wallet."},
		{"money back without an order", payments.EventRefunded, domain.Data{Amount: three}, "Money back in your wallet",
			"3.00 EUR is back in your wallet."},
		{"new sign-in", users.EventSignedIn, domain.Data{}, "New sign-in to your account",
			"Somebody signed in to your account on a device or in a network that you did not use before.\n\n" +
				"If it was you, you need do nothing. If it was not you, change your password at once."},
		{"password changed", users.EventPasswordChanged, domain.Data{}, "Your password was changed",
			"The password of your account was changed, and other devices were signed out.\n\nIf it was not you, reset your password at once."},
		{"a type without a notification", "orders.gone.v1", domain.Data{}, "News about your account", "Something about your account has changed."},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m, err := domain.RenderEntry(test.typ, domain.English, test.data)
			if err != nil || m.Title != test.title || m.Body != test.body {
				t.Errorf("said %q: %q, %v", m.Title, m.Body, err)
			}
			if strings.Contains(m.Body, orderID) {
				t.Error("the words name the whole id of the order")
			}
		})
	}
}
