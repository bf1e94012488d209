package adapters

import (
	"errors"
	"net/http"

	"caravan/internal/problem"
	"caravan/internal/request"
	"caravan/services/users/app"
	"caravan/services/users/domain"
)

// described wraps a handler so that its errors say to the client what they mean for accounts.
func described(handler request.Handler) request.Handler {
	return func(r *http.Request) (request.Answer, error) {
		answer, err := handler(r)
		return answer, describe(err)
	}
}

// describe turns an error of a use case into a problem; errors that are none of ours stay as they are.
func describe(err error) error {
	if violations := domain.Violations(err); len(violations) > 0 {
		fields := make([]problem.FieldError, len(violations))
		for i, v := range violations {
			fields[i] = problem.FieldError{Field: v.Field, Code: v.Code, Message: v.Message}
		}
		return problem.Invalid(fields...)
	}
	switch {
	case errors.Is(err, domain.ErrEmailTaken):
		return problem.Conflict("email-taken", "An account with this e-mail address exists.")
	case errors.Is(err, domain.ErrCredentials):
		return problem.New(http.StatusUnauthorized, "invalid-credentials", "The credentials are not valid",
			"The e-mail address or the password is wrong.")
	case errors.Is(err, domain.ErrSessionEnded):
		return problem.Unauthorized("The session has ended.")
	case errors.Is(err, domain.ErrNoUser):
		return problem.NotFound("user")
	case errors.Is(err, domain.ErrOwnAdminRole):
		return problem.Conflict("own-admin-role", "An admin cannot give up their own admin role; another admin has to take it.")
	case errors.Is(err, app.ErrNotAllowed):
		return problem.Forbidden("The account may not do this any more.")
	}
	return err
}

// refreshRefused is the one answer to every refresh token that is not good, whatever is wrong with it.
func refreshRefused() error {
	return problem.New(http.StatusUnauthorized, "invalid-refresh-token", "The refresh token is not valid",
		"Log in again to get a new one.")
}
