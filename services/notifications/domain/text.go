package domain

import (
	"fmt"

	orders "caravan/services/orders/contract"
	payments "caravan/services/payments/contract"
	users "caravan/services/users/contract"
)

// Text is the text of a notice. It is made when an inbox is read, so that old entries get a new wording, too.
func Text(typ string, d Data) (title, body string) {
	switch typ {
	case users.EventRegistered:
		return "Welcome to Caravan",
			"Your account is ready. Add money to your wallet and place your first order whenever you like."
	case orders.EventConfirmed:
		return "Your order is confirmed",
			fmt.Sprintf("Thank you! Order %s is paid with %s from your wallet.", short(d.OrderID), d.Amount)
	case orders.EventRejected:
		return "Your order could not be completed",
			fmt.Sprintf("Order %s could not be completed: %s. You have not been charged.", short(d.OrderID), whyRejected(d.Reason))
	case orders.EventCancelled:
		return "Your order was cancelled",
			fmt.Sprintf("Order %s was cancelled%s. You have not been charged.", short(d.OrderID), whyCancelled(d.Reason))
	case orders.EventRefunded:
		return refunded(d)
	case payments.EventDeposited:
		return "Money added to your wallet", fmt.Sprintf("%s arrived in your wallet and can be spent right away.", d.Amount)
	case payments.EventRefunded:
		return "Money back in your wallet", fmt.Sprintf("%s%s is back in your wallet.", d.Amount, forOrder(d.OrderID))
	}
	return "News about your account", "Something about your account has changed."
}

func refunded(d Data) (title, body string) {
	if d.Amount == d.Total {
		return "Your order was refunded", fmt.Sprintf("Order %s was refunded in full: %s.", short(d.OrderID), d.Amount)
	}
	return "Part of your order was refunded",
		fmt.Sprintf("Of the %s that order %s cost, %s has been refunded so far.", d.Total, short(d.OrderID), d.Amount)
}

// whyRejected is the text of a reason of orders. A reason that this version does not know gets a general text.
func whyRejected(reason string) string {
	switch reason {
	case "out_of_stock":
		return "something in it is out of stock"
	case "unknown_product":
		return "something in it is no longer for sale"
	case "price_changed":
		return "a price changed before we could reserve it, so please look at it again"
	case "currency_mismatch":
		return "the total you expected is in another currency than our prices"
	case "insufficient_funds":
		return "your wallet did not hold enough money"
	}
	return "we could not accept it"
}

func whyCancelled(reason string) string {
	switch reason {
	case "cancelled_by_customer":
		return " as you asked"
	case "cancelled_by_staff":
		return " by our staff"
	case "deadline":
		return " because it could not be completed in time"
	}
	return ""
}

func forOrder(orderID string) string {
	if orderID == "" {
		return ""
	}
	return " for order " + short(orderID)
}

// shortID is how many characters of an order id are shown to people. The data has all of them.
const shortID = 8

func short(orderID string) string {
	if len(orderID) > shortID {
		return orderID[:shortID]
	}
	return orderID
}
