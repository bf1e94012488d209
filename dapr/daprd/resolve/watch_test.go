package resolve

import (
	"context"
	"os"
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dapr/kit/logger"
	"google.golang.org/grpc/resolver"
)

// TestAReplicaThatLeavesIsNoticedInTime removes a replica from the table at different moments, and measures how long a
// connection still knows it.
func TestAReplicaThatLeavesIsNoticedInTime(t *testing.T) {
	for after := time.Duration(0); after < 2*everyListed; after += everyListed / 7 {
		synctest.Test(t, func(t *testing.T) {
			const aLook = 20 * time.Millisecond
			began, seen := time.Now(), make(chan resolver.State, 2)
			w := &watch{
				log: logger.NewLogger("test"), name: "orders", every: everyListed, connection: seeing{seen: seen},
				now: make(chan struct{}, 1), ended: make(chan struct{}),
				look: func(context.Context) ([]string, error) {
					found := []string{"127.0.0.1:50002"}
					if time.Since(began) < after {
						found = append(found, "127.0.0.2:50002")
					}
					time.Sleep(aLook)
					return found, nil
				},
			}
			ctx, stop := context.WithCancel(t.Context())
			w.stop = stop
			go w.run(ctx)
			defer w.Close()
			for state := range seen {
				if len(state.Addresses) == 1 {
					break
				}
			}
			if took, most := time.Since(began)-after, everyListed+2*aLook; took > most {
				t.Errorf("removed after %s, it was known for another %s, want %s at most", after, took, most)
			}
		})
	}
}

// TestDrainingOutwaitsTheLooks compares how long the launcher drains a replica with how long others may still know it.
func TestDrainingOutwaitsTheLooks(t *testing.T) {
	source, err := os.ReadFile("../../launcher/drain.go")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^const drainTime = (\d+) \* time\.Millisecond$`).FindSubmatch(source)
	if found == nil {
		t.Fatal("the launcher has no drainTime in milliseconds")
	}
	if drain, err := time.ParseDuration(string(found[1]) + "ms"); err != nil || drain < 2*everyListed {
		t.Errorf("it drains for %s, %v; others may know a replica for %s, and need as much to finish their calls", drain, err, everyListed)
	}
}
