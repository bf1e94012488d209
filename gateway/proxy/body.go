package proxy

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
)

// limitedBody is a request body that passes through without being gathered, and remembers when it was cut off for its
// size: the transport does not always hand that error back.
type limitedBody struct {
	io.ReadCloser
	exceeded atomic.Pointer[http.MaxBytesError]
}

func newLimitedBody(w http.ResponseWriter, r *http.Request, limit int64) *limitedBody {
	if r.ContentLength >= 0 && r.ContentLength <= limit {
		return &limitedBody{ReadCloser: r.Body} // net/http reads no more than was announced
	}
	return &limitedBody{ReadCloser: http.MaxBytesReader(w, r.Body, limit)}
}

// Read reads from the client.
func (b *limitedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	var tooLarge *http.MaxBytesError
	if err != nil && err != io.EOF && errors.As(err, &tooLarge) {
		b.exceeded.Store(tooLarge)
	}
	return n, err
}
