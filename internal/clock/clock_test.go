package clock

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestSleepEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := (System{}).Sleep(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("sleeping returned %v", err)
	}
	if err := (System{}).Sleep(ctx, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("not sleeping returned %v", err)
	}
}

func TestSleepWaits(t *testing.T) {
	began := System{}.Now()
	if err := (System{}).Sleep(context.Background(), 5*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if waited := (System{}).Now().Sub(began); waited < 5*time.Millisecond {
		t.Errorf("it waited %s", waited)
	}
	if began.Location() != time.UTC {
		t.Errorf("the time is in %s", began.Location())
	}
}
