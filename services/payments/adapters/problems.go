package adapters

import (
	"errors"
	"time"

	"caravan/internal/money"
	"caravan/internal/problem"
	"caravan/services/payments/app"
	"caravan/services/payments/contract"
	"caravan/services/payments/domain"
)

// declined is the problem of a deposit that the bank declined.
func declined(d *domain.Deposit, location string) error {
	p := problem.Unprocessable("payment-declined", "The bank declined the payment: "+d.Reason+".")
	p.Instance = location
	p.Extra = map[string]any{"depositId": d.ID, "reason": d.Reason}
	return p
}

// problemOf returns the problem of an error of the domain and the use cases, and other errors as they are.
func problemOf(err error) error {
	var currency *app.CurrencyError
	switch {
	case errors.As(err, &currency):
		return problem.Unprocessable(contract.SlugCurrency, "The currency of the wallet is "+currency.Wallet+".")
	case errors.Is(err, domain.ErrKeyReused):
		return problem.ReusedKey()
	case errors.Is(err, domain.ErrNoDeposit):
		return problem.NotFound("deposit")
	case errors.Is(err, domain.ErrOperationReused):
		return problem.Unprocessable(contract.SlugOperationReused, "The id was used before with another amount.")
	case errors.Is(err, domain.ErrNotAuthorized):
		return problem.Conflict(contract.SlugNotAuthorized, "The order was never authorized.")
	case errors.Is(err, domain.ErrTooManyHolds):
		return problem.Busy(contract.SlugTooManyHolds, "The wallet has too many open holds. Try again when one has ended.", time.Second)
	case errors.Is(err, domain.ErrTooManyRefunds):
		return problem.Unprocessable(contract.SlugTooManyRefunds, "The order has too many refunds.")
	case errors.Is(err, domain.ErrAmount):
		return problem.Unprocessable(contract.SlugAmount, "The amount is out of range.")
	case errors.Is(err, money.ErrOverflow):
		return problem.Unprocessable(contract.SlugAmountOverflow, "The sum of the amounts is too large.")
	case errors.Is(err, money.ErrCurrency):
		return problem.Unprocessable(contract.SlugCurrency, "The wallet has another currency.")
	}
	return err
}
