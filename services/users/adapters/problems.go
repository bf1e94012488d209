package adapters

import (
	"errors"
	"net/http"

	"caravan/internal/problem"
	"caravan/services/users/app"
	"caravan/services/users/domain"
)

// problemOf returns the problem of an error of the domain and the use cases, and other errors as they are.
func problemOf(err error) error {
	if fields := faultsOf(err); len(fields) > 0 {
		return problem.Invalid(fields...)
	}
	var early *domain.TooSoonError
	switch {
	case errors.As(err, &early):
		return problem.TooMany(early.Wait)
	case errors.Is(err, domain.ErrMailToken):
		return problem.Invalid(problem.FieldError{
			Field: "token", Code: "not_valid", Message: "is not valid: it is unknown, was used or has expired. Ask for a new mail.",
		})
	case errors.Is(err, domain.ErrVerified):
		return problem.Conflict("email-verified", "The e-mail address is verified already.")
	case errors.Is(err, domain.ErrEmailTaken):
		return problem.Conflict("email-taken", "An account with this e-mail address exists.")
	case errors.Is(err, domain.ErrCredentials):
		return problem.New(http.StatusUnauthorized, "invalid-credentials", "The credentials are not valid",
			"The e-mail address or the password is wrong.")
	case errors.Is(err, app.ErrRefresh):
		return problem.New(http.StatusUnauthorized, "invalid-refresh-token", "The refresh token is not valid",
			"Log in again to get a new one.")
	case errors.Is(err, domain.ErrSessionEnded):
		return problem.Unauthorized("The session has ended. Log in again.")
	case errors.Is(err, domain.ErrNoUser):
		return problem.NotFound("user")
	case errors.Is(err, domain.ErrOwnAdminRole):
		return problem.Conflict("own-admin-role", "You cannot remove your own admin role. Another admin must do it.")
	case errors.Is(err, app.ErrNotAllowed):
		return problem.Forbidden("The account does not have the permission any more.")
	}
	return err
}

// faultsOf returns the fields that break rules of the domain.
func faultsOf(err error) []problem.FieldError {
	violations := domain.Violations(err)
	fields := make([]problem.FieldError, len(violations))
	for i, v := range violations {
		fields[i] = problem.FieldError{Field: v.Field, Code: v.Code, Message: v.Message}
	}
	return fields
}
