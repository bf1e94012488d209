package proxy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"

	"caravan/gateway/route"
)

// Loss is how a call failed without an answer of the program that it was for.
type Loss int

// The kinds of loss.
const (
	None   Loss = iota // there is an answer, or the time is over
	Unsent             // no program received the call
	Lost               // a program may have received it; the answer was lost
)

// String returns the loss as in logs and metrics.
func (l Loss) String() string { return [...]string{"none", "unsent", "lost"}[l] }

// Repeat is a call that was sent a second time.
type Repeat struct {
	Route  *route.Route
	Loss   Loss
	Cause  error // the error of the first try
	Failed bool  // whether the second try got no answer either
}

// answer is the result of a try. The text of a sidecar is read; that of a service is not.
type answer struct {
	response *http.Response
	err      error
	foreign  bool
	said     []byte
}

// try makes one call.
func (f *Forwarder) try(out *http.Request) answer {
	response, err := f.transport.RoundTrip(out)
	a := answer{response: response, err: err}
	if err != nil || !foreign(response) {
		return a
	}
	a.foreign = true
	a.said, err = io.ReadAll(io.LimitReader(response.Body, maxErrorBody))
	if err != nil {
		a.said = append(a.said, (" (cut off: " + err.Error() + ")")...)
	}
	_ = response.Body.Close()
	return a
}

// exchange makes a call, and once more if the call was lost and may be sent again. By then the sidecar knows which
// replica is unavailable, and calls another one (dapr/daprd/resolve).
func (f *Forwarder) exchange(out *http.Request, c *Call, body *limitedBody) answer {
	first := f.try(out)
	loss := first.loss()
	if !mayRepeat(c, out, loss) || out.Context().Err() != nil {
		return first
	}
	next := out.WithContext(out.Context())
	if body != nil {
		sent, whole := body.whole()
		if !whole {
			return first
		}
		next.Body = io.NopCloser(bytes.NewReader(sent))
	}
	second := f.try(next)
	if f.repeated != nil {
		f.repeated(out.Context(), Repeat{Route: c.Match.Route, Loss: loss, Cause: first.cause(), Failed: second.loss() != None || second.err != nil})
	}
	return second
}

// mayRepeat reports whether a lost call may be sent again. A call that no program received always may. A call that a
// program may have received may if a second one changes nothing. A long poll has its own repeats, see await.
func mayRepeat(c *Call, out *http.Request, loss Loss) bool {
	if c.Wait > 0 && c.Match.Route.Retry == route.RetrySafe {
		return false
	}
	switch loss {
	case Unsent:
		return true
	case Lost:
		switch c.Match.Route.Retry {
		case route.RetrySafe:
			return true
		case route.RetryKeyed:
			return out.Header.Get("Idempotency-Key") != ""
		}
	}
	return false
}

// loss returns whether and how a call was lost.
func (a answer) loss() Loss {
	switch {
	case errors.Is(a.err, syscall.ECONNREFUSED): // the gateway's own sidecar is unavailable
		return Unsent
	case a.err != nil && connectionFailed(a.err):
		return Lost
	case a.err != nil || !a.foreign:
		return None
	case a.response.StatusCode == http.StatusOK: // see foreign
		return Lost
	}
	var said struct{ ErrorCode, Message string }
	if json.Unmarshal(a.said, &said) != nil || said.ErrorCode != "ERR_DIRECT_INVOKE" {
		return None
	}
	return lossOf(said.Message)
}

// lossOf reads the loss from the messages of daprd 1.18.1, ours or a stock one. A client cannot put these texts there:
// of its request only the path gets into an error, and there it has no spaces.
func lossOf(message string) Loss {
	has := func(words string) bool { return strings.Contains(message, words) }
	switch {
	case has("context deadline exceeded"), has("context canceled"): // it was called, and is slow
		return None
	case has("no replica can be reached"), // dapr/daprd/resolve
		has("Error while dialing"),                             // gRPC, about another sidecar
		has("error invoking app channel") && has(": dial tcp"), // the other sidecar, about its program
		has("app channel is not initialized"), has("app is not in a healthy state"),
		has("invoke API is not ready"): // the gateway's own sidecar, while it starts
		return Unsent
	case has("code = Unavailable"), // the connection to the other sidecar broke
		has("error invoking app channel"): // the connection between the other sidecar and its program
		return Lost
	}
	return None
}

// cause is the reason why there is no answer of a program.
func (a answer) cause() error {
	if a.err != nil {
		return a.err
	}
	return fmt.Errorf("the sidecar answered %d: %s", a.response.StatusCode, a.said)
}

// connectionFailed reports whether err means that the connection broke or was never made.
func connectionFailed(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// Repeated is called for every repeat.
type Repeated func(ctx context.Context, r Repeat)
