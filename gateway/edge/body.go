package edge

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"caravan/gateway/proxy"
)

const (
	// dropTime is how long a client may take to send a body that is not used, and dropSize how much of it is read.
	dropTime = time.Second
	dropSize = 64 << 10
)

// drop reads a body that is not used, before the answer is written. net/http does so too, but for as long as a whole
// request may take, so a client that does not send what it announced would not get its answer. The error is the answer
// to a body that cannot be read.
func (e *Edge) drop(x *exchange, r *http.Request) error {
	if r.ContentLength == 0 || x.dropped {
		return nil
	}
	x.dropped = true
	connection := http.NewResponseController(x.ResponseWriter)
	_ = connection.SetReadDeadline(e.Clock.Now().Add(dropTime)) // not every writer supports it, for example in tests
	if r.Header["Expect"] != nil {                              // the client sends nothing until we read, and net/http closes the connection if we do not
		return nil
	}
	switch _, err := io.CopyN(io.Discard, r.Body, dropSize); {
	case err == nil:
		closeAfter(x.ResponseWriter)
	case errors.Is(err, io.EOF):
		_ = connection.SetReadDeadline(time.Time{}) // net/http watches the connection while the request is handled
	case !errors.Is(err, http.ErrBodyReadAfterClose): // a forwarder closes the body that it has read
		closeAfter(x.ResponseWriter)
		return proxy.Unreadable(err)
	}
	return nil
}

// closeAfter makes the next answer the last one of its connection. Closing the connection at once would lose that
// answer if the client still sends, because the unread bytes reset the connection. net/http waits a moment after a body
// that exceeds its limit, so closeAfter sets such a limit.
func closeAfter(w http.ResponseWriter) {
	_, _ = http.MaxBytesReader(w, io.NopCloser(strings.NewReader("x")), 0).Read(make([]byte, 1))
}
