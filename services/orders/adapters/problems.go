package adapters

import (
	"errors"

	"caravan/internal/problem"
	"caravan/services/orders/domain"
)

// problemOf turns the errors of domain and app into problems. Other errors stay as they are.
func problemOf(err error) error {
	var past *domain.PastPivotError
	switch {
	case errors.Is(err, domain.ErrFingerprint):
		return problem.ReusedKey()
	case errors.As(err, &past):
		return problem.Conflict("order-past-cancelling",
			"The order is paid or about to be. Ask for a refund instead, once it is confirmed: POST /v1/orders/"+past.OrderID+"/refund.")
	case errors.Is(err, domain.ErrEnded):
		return problem.Conflict("order-ended", "The order has already ended.")
	case errors.Is(err, domain.ErrNotRefundable):
		return problem.Conflict("order-not-confirmed", "Only a confirmed order can be refunded.")
	case errors.Is(err, domain.ErrRefundUnderWay):
		return problem.Conflict("refund-under-way", "Another refund of this order has to end first.")
	case errors.Is(err, domain.ErrRefundAmount):
		return problem.Unprocessable("refund-amount", "The amount must be at least 1 and at most what is left to refund, in the order's currency.")
	case errors.Is(err, domain.ErrTooManyRefunds):
		return problem.Unprocessable("too-many-refunds", "This order takes no more refunds.")
	}
	return err
}
