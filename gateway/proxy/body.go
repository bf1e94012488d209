package proxy

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// limitedBody is a request body that passes through without being gathered. It remembers how far the client got: a call
// that failed because its own client was slow, broke off or sent too much says nothing about the service, and must not
// open the breaker for everybody else.
type limitedBody struct {
	io.ReadCloser
	half     time.Time    // when half of the call's time is over
	missing  atomic.Int64 // bytes that were announced and not read yet; negative if none were announced
	asked    atomic.Bool  // whether the transport has begun to read
	complete atomic.Bool
	slow     atomic.Bool // whether it was complete after half of the call's time only
	exceeded atomic.Pointer[http.MaxBytesError]
	late     atomic.Bool
	broken   atomic.Bool
}

// bodyGrace is how long after the call's deadline a client that stopped sending is let go of.
const bodyGrace = 250 * time.Millisecond

// newLimitedBody also bounds the wait for the client: an http.Transport whose context has ended still waits for the
// read of the body that it is in, which only a deadline of the connection can end.
func newLimitedBody(w http.ResponseWriter, r *http.Request, limit int64, deadline time.Time) *limitedBody {
	now := time.Now()
	_ = http.NewResponseController(w).SetReadDeadline(deadline.Add(bodyGrace))  // not every writer can, as in tests
	b := &limitedBody{ReadCloser: r.Body, half: now.Add(deadline.Sub(now) / 2)} // net/http reads no more than was announced
	b.missing.Store(r.ContentLength)
	if r.ContentLength < 0 || r.ContentLength > limit {
		b.ReadCloser = http.MaxBytesReader(w, r.Body, limit)
	}
	return b
}

// Read reads from the client.
func (b *limitedBody) Read(p []byte) (int, error) {
	b.asked.Store(true)
	n, err := b.ReadCloser.Read(p)
	if b.missing.Load() > 0 && b.missing.Add(-int64(n)) <= 0 {
		b.finish()
	}
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
	case err == io.EOF: // readers return it as it is
		b.finish()
	case errors.As(err, &tooLarge):
		b.exceeded.Store(tooLarge)
	case errors.Is(err, os.ErrDeadlineExceeded):
		b.late.Store(true)
	case !b.complete.Load():
		b.broken.Store(true)
	}
	return n, err
}

// finish notes that all has come, and whether that left the service its share of the time.
func (b *limitedBody) finish() {
	if b.complete.CompareAndSwap(false, true) && time.Now().After(b.half) {
		b.slow.Store(true)
	}
}

// dawdled reports whether the client took the time in which the service should have answered.
func (b *limitedBody) dawdled() bool {
	return b.late.Load() || b.slow.Load() || b.asked.Load() && !b.complete.Load()
}
