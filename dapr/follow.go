package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"caravan/internal/clock"
)

// followGoRun calls cancel when the "go run" that started this process has ended. A terminal's Ctrl-C reaches both, but
// after a SIGTERM "go run" ends without passing it on. The stack would then continue to run.
func followGoRun(ctx context.Context, cancel context.CancelFunc) {
	parent := os.Getppid()
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", parent))
	if err != nil || strings.TrimSpace(string(name)) != "go" {
		return
	}
	for (clock.System{}).Sleep(ctx, 200*time.Millisecond) == nil {
		if os.Getppid() != parent {
			cancel()
		}
	}
}
