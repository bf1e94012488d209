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
// more often than every 15 s. While the store does not answer, the gauge is missing.
func (q *Queue) ExportOpen(m metric.Meter) error {
	var mu sync.Mutex
	var counted time.Time
	var open int
	_, err := m.Int64ObservableGauge("caravan.deadletters.open",
		metric.WithDescription("Open dead letters of the consumer, among the newest 128."),
		metric.WithInt64Callback(func(ctx context.Context, o metric.Int64Observer) error {
			mu.Lock()
			defer mu.Unlock()
			if now := q.Clock.Now(); counted.IsZero() || now.Sub(counted) >= openEvery {
				ctx, cancel := context.WithTimeout(ctx, openTimeout)
				defer cancel()
				n, err := q.Open(ctx)
				if err != nil {
					return err
				}
				open, counted = n, now
			}
			o.Observe(int64(open))
			return nil
		}))
	if err != nil {
		return fmt.Errorf("making the gauge of open dead letters: %w", err)
	}
	return nil
}
