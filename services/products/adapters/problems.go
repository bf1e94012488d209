package adapters

import (
	"context"
	"errors"
	"time"

	"caravan/internal/problem"
	"caravan/services/products/contract"
	"caravan/services/products/domain"
)

// describe turns an error of the use cases into the problem that a client is told. Errors it does not know pass as
// they are.
func describe(err error) error {
	var violations domain.Violations
	var shortage *domain.ShortageError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &violations):
		return invalid(violations)
	case errors.As(err, &shortage):
		p := problem.Conflict("stock-shortage", "so many units are not there, or are reserved for orders")
		p.Extra = map[string]any{
			"onHand": shortage.Level.OnHand, "reserved": shortage.Level.Reserved, "available": shortage.Level.Available(),
		}
		return p
	case errors.Is(err, domain.ErrNoProduct):
		return problem.NotFound("product")
	case errors.Is(err, domain.ErrExists):
		return problem.Conflict("product-exists", "there is a product with this SKU already")
	case errors.Is(err, domain.ErrOtherCorrection):
		return problem.Unprocessable("idempotency-key-reused", "the Idempotency-Key was used for another correction of this stock")
	case errors.Is(err, domain.ErrOtherQuantity):
		return problem.Unprocessable(contract.SlugOtherQuantity, domain.ErrOtherQuantity.Error())
	case errors.Is(err, domain.ErrFull):
		return problem.Unprocessable("catalogue-full", "the catalogue cannot hold more products")
	case errors.Is(err, domain.ErrTooManyHolds):
		return problem.Busy(contract.SlugTooManyHolds, domain.ErrTooManyHolds.Error(), time.Second)
	}
	return err
}

func invalid(violations domain.Violations) *problem.Problem {
	fields := make([]problem.FieldError, len(violations))
	for i, v := range violations {
		fields[i] = problem.FieldError{Field: v.Field, Code: v.Code, Message: v.Message}
	}
	return problem.Invalid(fields...)
}

// described is a command whose errors are problems.
func described[C, R any](run func(context.Context, C) (R, error)) func(context.Context, C) (R, error) {
	return func(ctx context.Context, command C) (R, error) {
		result, err := run(ctx, command)
		return result, describe(err)
	}
}
