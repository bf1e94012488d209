package adapters

import (
	"context"
	"errors"
	"time"

	"caravan/internal/problem"
	"caravan/internal/request"
	"caravan/services/products/contract"
	"caravan/services/products/domain"
)

// problemOf turns an error of the use cases into the problem for the client. It returns other errors as they are.
func problemOf(err error) error {
	var violations domain.Violations
	var shortage *domain.ShortageError
	switch {
	case errors.As(err, &violations):
		return problem.Invalid(faultsOf(violations)...)
	case errors.As(err, &shortage):
		p := problem.Conflict("stock-shortage", "Not enough stock. Units that are reserved for orders cannot be taken away.")
		p.Extra = map[string]any{
			"onHand": shortage.Level.OnHand, "reserved": shortage.Level.Reserved, "available": shortage.Level.Available(),
		}
		return p
	case errors.Is(err, domain.ErrNoProduct):
		return problem.NotFound("product")
	case errors.Is(err, domain.ErrExists):
		return problem.Conflict("product-exists", "A product with this SKU exists. Change it with PATCH, or use another SKU.")
	case errors.Is(err, domain.ErrOtherCorrection):
		return problem.ReusedKey()
	case errors.Is(err, domain.ErrOtherQuantity):
		return problem.Unprocessable(contract.SlugOtherQuantity, "The order holds another quantity of this SKU.")
	case errors.Is(err, domain.ErrFull):
		return problem.Unprocessable("catalogue-full", "The catalogue is full.")
	case errors.Is(err, domain.ErrTooManyWatches):
		return problem.Unprocessable("too-many-watches", "You watch as many products as you may. End a watch first.")
	case errors.Is(err, domain.ErrTooManyWatchers):
		return problem.Unprocessable("too-many-watchers", "This product has too many watchers.")
	case errors.Is(err, domain.ErrTooManyHolds):
		return problem.Busy(contract.SlugTooManyHolds, "This SKU has too many reservations at the moment. Try again.", time.Second)
	}
	return err
}

func faultsOf(violations domain.Violations) []problem.FieldError {
	faults := make([]problem.FieldError, len(violations))
	for i, v := range violations {
		faults[i] = problem.FieldError{Field: v.Field, Code: v.Code, Message: v.Message}
	}
	return faults
}

// command is a command of orders that is validated first, and whose errors are problems.
func command[C, R any](do func(context.Context, C) (R, error)) func(context.Context, C) (R, error) {
	return func(ctx context.Context, c C) (result R, err error) {
		if err := request.Validate(c); err != nil {
			return result, err
		}
		if result, err = do(ctx, c); err != nil {
			return result, problemOf(err)
		}
		return result, nil
	}
}
