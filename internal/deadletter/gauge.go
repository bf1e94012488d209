package deadletter

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"
)

const (
	// openScanned limits the letters that one count examines: the newest ones.
	openScanned = 8 * lettersPerRead
	// openEvery is the least time between two counts, openTimeout the longest time for one.
	openEvery   = 15 * time.Second
	openTimeout = 2 * time.Second
)

// Open counts the open letters among the newest 128.
func (q *Queue) Open(ctx context.Context) (int, error) {
	open, scanned, cursor := 0, 0, ""
	for {
		s, err := q.lettersFrom(ctx, Filter{}, cursor)
		if err != nil {
			return 0, fmt.Errorf("counting open dead letters: %w", err)
		}
		for _, l := range s.letters {
			if l.Status == StatusOpen {
				open++
			}
		}
		scanned += s.length
		if cursor = s.next; cursor == "" || scanned >= openScanned {
			return open, nil
		}
	}
}

// ExportOpen exports what Open counts as the gauge caravan.deadletters.open. It counts only when somebody reads the metrics, and not
// more often than every 15 s. The gauge is missing while the store does not answer.
func (q *Queue) ExportOpen(m metric.Meter) error {
	count := openCount{queue: q}
	_, err := m.Int64ObservableGauge("caravan.deadletters.open",
		metric.WithDescription("Open dead letters of the consumer, among the newest 128."),
		metric.WithInt64Callback(func(ctx context.Context, o metric.Int64Observer) error {
			if open, known := count.read(ctx); known {
				o.Observe(int64(open))
			}
			return nil
		}))
	if err != nil {
		return fmt.Errorf("making the gauge of open dead letters: %w", err)
	}
	return nil
}

// openCount is the last count of open letters. It is safe for concurrent use.
type openCount struct {
	queue *Queue

	mu    sync.Mutex
	at    time.Time
	open  int
	known bool
}

func (c *openCount) read(ctx context.Context) (open int, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.queue.Clock.Now()
	if !c.at.IsZero() && now.Sub(c.at) < openEvery {
		return c.open, c.known
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	open, err := c.queue.Open(ctx)
	if err != nil {
		c.queue.Log.WarnContext(ctx, "open dead letters could not be counted", "error", err)
	}
	c.at, c.open, c.known = now, open, err == nil
	return c.open, c.known
}
