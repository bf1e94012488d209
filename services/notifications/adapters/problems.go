package adapters

import (
	"errors"
	"time"

	"caravan/internal/problem"
	"caravan/services/notifications/app"
	"caravan/services/notifications/domain"
)

// fullRetry is when a client may try again whose stream was refused.
const fullRetry = 10 * time.Second

// errPushOff says that this shop has no key for push.
var errPushOff = errors.New("push is off")

// problemOf turns the errors of domain and app into problems. Other errors stay as they are.
func problemOf(err error) error {
	switch {
	case errors.Is(err, domain.ErrUnderWay):
		return problem.Conflict("delivery-under-way", "An attempt is sending this message right now.")
	case errors.Is(err, domain.ErrUnsubscribe):
		return problem.Invalid(problem.FieldError{Field: "token", Code: "token", Message: "is damaged or too old"})
	case errors.Is(err, errPushOff):
		return problem.Busy("push-off", "This shop sends no push messages: it has no key for them (push.private_key).", time.Hour)
	case errors.Is(err, app.ErrTooManyStreams):
		return problem.TooMany(fullRetry)
	case errors.Is(err, app.ErrNoRoom):
		return problem.Busy("too-many-streams", "This replica has as many streams as it can serve.", fullRetry)
	}
	return err
}
