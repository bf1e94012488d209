// Package await lets a component wait for its server.
//
// A component of components-contrib connects once, and the sidecar ends when that fails. A sidecar that starts before
// its broker or store then ends several times, and the pauses between its restarts grow. If it is killed minutes later,
// it is still unavailable for 20 s and more on Kubernetes.
package await

import (
	"context"
	"errors"
	"time"

	"github.com/dapr/kit/logger"
)

// pause is the time between two attempts.
const pause = time.Second

// Connected repeats attempts to connect until one succeeds or the context ends (initTimeout of a component's file, when
// the sidecar starts). It returns the error of the last attempt. It logs each different error text once.
func Connected[T any](ctx context.Context, log logger.Logger, attempt func(context.Context) (T, error)) (T, error) {
	said := ""
	for {
		connected, err := attempt(ctx)
		if err == nil {
			return connected, nil
		}
		if text := err.Error(); text != said && ctx.Err() == nil {
			log.Warnf("No connection yet, trying again: %s", text)
			said = text
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			if errors.Is(err, ctx.Err()) {
				return connected, err
			}
			return connected, errors.Join(err, ctx.Err())
		}
	}
}
