package app

import (
	"errors"
	"time"

	"caravan/internal/money"
	"caravan/internal/problem"
	"caravan/services/payments/contract"
	"caravan/services/payments/domain"
)

// refused is an error of the rules in the words of the interface.
type refused struct {
	err     error
	problem *problem.Problem
}

// Error implements error.
func (r *refused) Error() string { return r.err.Error() }

// Unwrap gives the rule that was broken.
func (r *refused) Unwrap() error { return r.err }

// Problem is what the caller is told.
func (r *refused) Problem() *problem.Problem { return r.problem }

// refusal gives an error of the rules its problem; other errors stay as they are.
func refusal(err error) error {
	for _, rule := range []struct {
		err     error
		problem func(slug, detail string) *problem.Problem
		slug    string
	}{
		{domain.ErrOperationReused, problem.Unprocessable, contract.SlugOperationReused},
		{domain.ErrNotAuthorized, problem.Conflict, contract.SlugNotAuthorized},
		{domain.ErrTooManyHolds, later, contract.SlugTooManyHolds},
		{domain.ErrTooManyRefunds, problem.Unprocessable, contract.SlugTooManyRefunds},
		{domain.ErrAmount, problem.Unprocessable, contract.SlugAmount},
		{money.ErrOverflow, problem.Unprocessable, contract.SlugAmountOverflow},
		{money.ErrCurrency, problem.Unprocessable, contract.SlugCurrency},
	} {
		if errors.Is(err, rule.err) {
			return &refused{err: err, problem: rule.problem(rule.slug, rule.err.Error())}
		}
	}
	return err
}

func later(slug, detail string) *problem.Problem {
	return problem.Busy(slug, detail, time.Second)
}
