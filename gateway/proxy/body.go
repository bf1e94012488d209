package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"caravan/internal/problem"
)

// ErrBody means that the request's body did not arrive completely, because of the client. What follows it on the
// connection is not a request.
var ErrBody = errors.New("the body did not arrive whole")

// limitedBody is a request body that is forwarded, and kept until the call ends in case it has to be sent again. It
// records how the client behaved: a call that failed because its own client was slow, stopped or sent too much says
// nothing about the service, and must not open the breaker for all others.
type limitedBody struct {
	io.ReadCloser
	kept     []byte       // the bytes read; once complete, they do not change
	half     time.Time    // when half of the call's time is over
	missing  atomic.Int64 // announced bytes that were not read yet; negative if none were announced
	asked    atomic.Bool  // whether the transport has begun to read
	complete atomic.Bool
	slow     atomic.Bool // whether it was complete only after half of the call's time
	exceeded atomic.Pointer[http.MaxBytesError]
	late     atomic.Bool
	left     atomic.Bool           // the connection broke
	broken   atomic.Pointer[error] // the body ended early or violates the framing of HTTP
}

// bodyGrace is how long after the call's deadline the gateway waits for a client that stopped sending.
const bodyGrace = 250 * time.Millisecond

// newLimitedBody also limits the wait for the client. When its context has ended, an http.Transport still waits for its
// current read of the body. Only a deadline of the connection can end that read.
func newLimitedBody(w http.ResponseWriter, r *http.Request, limit int64, deadline time.Time) *limitedBody {
	now := time.Now()
	_ = http.NewResponseController(w).SetReadDeadline(deadline.Add(bodyGrace))  // not every writer supports it, for example in tests
	b := &limitedBody{ReadCloser: r.Body, half: now.Add(deadline.Sub(now) / 2)} // net/http reads no more than was announced
	b.missing.Store(r.ContentLength)
	b.kept = make([]byte, 0, max(0, min(r.ContentLength, limit)))
	if r.ContentLength < 0 || r.ContentLength > limit {
		b.ReadCloser = http.MaxBytesReader(w, r.Body, limit)
	}
	return b
}

// Read reads from the client.
func (b *limitedBody) Read(p []byte) (int, error) {
	b.asked.Store(true)
	n, err := b.ReadCloser.Read(p)
	b.kept = append(b.kept, p[:n]...)
	if b.missing.Load() > 0 && b.missing.Add(-int64(n)) <= 0 {
		b.finish()
	}
	if err != nil {
		b.note(err)
	}
	return n, err
}

// whole returns the body if it is complete.
func (b *limitedBody) whole() ([]byte, bool) {
	if !b.complete.Load() {
		return nil, false
	}
	return b.kept, true
}

// note records why a read was the last one.
func (b *limitedBody) note(err error) {
	var tooLarge *http.MaxBytesError
	var connection *net.OpError
	switch {
	case err == io.EOF: // readers return io.EOF unwrapped
		b.finish()
	case errors.As(err, &tooLarge):
		b.exceeded.Store(tooLarge)
	case errors.Is(err, os.ErrDeadlineExceeded):
		b.late.Store(true)
	case errors.As(err, &connection):
		b.left.Store(true)
	case !b.complete.Load() && !errors.Is(err, http.ErrBodyReadAfterClose): // the transport closes the body when the sidecar fails
		b.broken.Store(&err)
	}
}

// refusal is the answer to a client whose body did not arrive completely, or nil. The edge keeps the request's context
// alive when the client closes its half of the connection, so the failed read has returned before.
func (b *limitedBody) refusal() error {
	if b == nil {
		return nil
	}
	if tooLarge := b.exceeded.Load(); tooLarge != nil {
		return unreadable(problem.TooLarge(tooLarge.Limit), ErrBody)
	}
	if b.late.Load() {
		return errLate
	}
	if err := b.broken.Load(); err != nil {
		return Unreadable(*err)
	}
	return nil
}

// errLate refuses a request whose body took too long.
var errLate = unreadable(problem.New(http.StatusRequestTimeout, "request-timeout", "The request took too long to arrive", ""), ErrBody)

// Unreadable is the problem for a body that could not be read. It is an ErrBody.
func Unreadable(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errLate
	case errors.Is(err, io.ErrUnexpectedEOF):
		return unreadable(problem.Malformed("The body ended before it was complete."), fmt.Errorf("%w: %w", ErrBody, err))
	}
	return unreadable(problem.Malformed("The body is not framed correctly."), fmt.Errorf("%w: %w", ErrBody, err))
}

func unreadable(p *problem.Problem, cause error) error {
	return &failedCall{problem: p, cause: cause}
}

// finish records that the body is complete, and whether enough time was left for the service.
func (b *limitedBody) finish() {
	if b.complete.CompareAndSwap(false, true) && time.Now().After(b.half) {
		b.slow.Store(true)
	}
}

// slowedByClient reports whether the client used up the time of the service.
func (b *limitedBody) slowedByClient() bool {
	return b.late.Load() || b.slow.Load() || b.asked.Load() && !b.complete.Load()
}
