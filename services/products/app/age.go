package app

import "time"

const (
	// staleIfError is how long what was read is served while the store fails.
	staleIfError = 30 * time.Second
	// readTimeout is the deadline of a read of the store that several readers wait for.
	readTimeout = 3 * time.Second
)

// age decides whether what was read may be served.
type age struct {
	readAt   time.Time // when the store was last read
	failedAt time.Time // when the last read failed, if it did
}

// fresh reports whether there is no need to read: the last read was less than maxAge ago, or it failed less than maxAge ago
// and what was read before is usable.
func (a age) fresh(now time.Time, maxAge time.Duration) bool {
	return now.Sub(a.readAt) < maxAge || now.Sub(a.failedAt) < maxAge && a.usable(now)
}

// usable reports whether what was read may be served while the store fails.
func (a age) usable(now time.Time) bool { return now.Sub(a.readAt) < staleIfError }
