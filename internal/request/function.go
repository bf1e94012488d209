package request

import (
	"context"
	"net/http"
)

// Function serves a function of a body: it reads the body, as Decode does, and answers 200 with the result. It is for
// calls from other services, which put everything in the body.
func Function[In, Out any](do func(ctx context.Context, in In) (Out, error), options ...Option) Handler {
	return func(r *http.Request) (Answer, error) {
		var in In
		if err := Decode(r, &in, options...); err != nil {
			return Answer{}, err
		}
		out, err := do(r.Context(), in)
		if err != nil {
			return Answer{}, err
		}
		return OK(out), nil
	}
}
