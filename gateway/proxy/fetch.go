package proxy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"

	"caravan/gateway/cache"
)

// Fetch calls the service like [Forwarder.Forward] and returns its whole answer. The error is [cache.ErrUnshared] for an answer
// of more than most bytes, and otherwise contains the problem to answer with.
func (f *Forwarder) Fetch(r *http.Request, c *Call, most int64) (*cache.Answer, error) {
	ctx, cancel := context.WithTimeout(r.Context(), c.Timeout)
	defer cancel()
	out, err := f.request(ctx, r, c, nil)
	if err != nil {
		return nil, err
	}
	response, err := f.ask(r, out, c, nil, false)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.ContentLength > most {
		return nil, tooLong(most)
	}
	var body bytes.Buffer
	body.Grow(int(max(response.ContentLength, 0)) + bytes.MinRead)
	if _, err := body.ReadFrom(io.LimitReader(response.Body, most+1)); err != nil {
		return nil, unavailable("The service did not complete its answer.", err)
	}
	if int64(body.Len()) > most {
		return nil, tooLong(most)
	}
	answer := &cache.Answer{
		Status: response.StatusCode, Header: make(http.Header), Body: body.Bytes(), Cookie: len(response.Header["Set-Cookie"]) > 0,
	}
	f.answer(answer.Header, response.Header)
	return answer, nil
}

func tooLong(most int64) error {
	return fmt.Errorf("an answer of more than %d bytes: %w", most, cache.ErrUnshared)
}
