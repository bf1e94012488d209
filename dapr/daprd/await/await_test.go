package await

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dapr/kit/logger"
)

func quiet() logger.Logger {
	log := logger.NewLogger("await")
	log.SetOutputLevel(logger.FatalLevel)
	return log
}

var errRefused = errors.New("connection refused")

func TestConnectedWaitsForTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := time.Now().Add(20 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		attempts := 0
		got, err := Connected(ctx, quiet(), func(context.Context) (string, error) {
			if attempts++; time.Now().Before(up) {
				return "", errRefused
			}
			return "connection", nil
		})
		if err != nil || got != "connection" {
			t.Errorf("%q, %v", got, err)
		}
		if attempts != 21 {
			t.Errorf("%d attempts in 20 s, want one a second", attempts)
		}
	})
}

func TestConnectedEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 10500*time.Millisecond)
		defer cancel()
		_, err := Connected(ctx, quiet(), func(context.Context) (string, error) { return "", errRefused })
		if !errors.Is(err, errRefused) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the error says neither why nor that the time was over: %v", err)
		}
		if took := time.Since(began); took != 10500*time.Millisecond {
			t.Errorf("it took %s", took)
		}
	})
}
