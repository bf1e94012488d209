package invoke_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"caravan/internal/correlation"
	"caravan/internal/invoke"
	"caravan/internal/problem"
)

type double struct{ N int }

// fakeInvoker calls the served handler in this process. It stands for two sidecars.
type fakeInvoker struct {
	serve func(ctx context.Context, c double) (double, error)
	mu    sync.Mutex
	calls int
}

func (f *fakeInvoker) Invoke(ctx context.Context, app, path string, in, out any) error {
	time.Sleep(time.Millisecond) // a call takes time, which is virtual in a synctest bubble
	f.mu.Lock()
	f.calls++
	f.mu.Unlock()
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(context.WithoutCancel(ctx), "POST", path, strings.NewReader(string(body)))
	answer, err := invoke.Serve(slog.New(slog.DiscardHandler), f.serve)(r)
	if err != nil {
		return &invoke.Error{App: app, Path: path, Status: problem.From(err).Status, Detail: problem.From(err)}
	}
	answer.Write(w)
	return json.Unmarshal(w.Body.Bytes(), out)
}

var errBusy = problem.Unavailable("busy", "busy", 0)

func TestEachCommandGetsItsOwnAnswerAndContext(t *testing.T) {
	synctest.Test(t, eachCommandGetsItsOwnAnswer)
}

func eachCommandGetsItsOwnAnswer(t *testing.T) {
	invoker := &fakeInvoker{serve: func(ctx context.Context, c double) (double, error) {
		if want := fmt.Sprint("c-", c.N); correlation.ID(ctx) != want {
			return double{}, fmt.Errorf("correlation id %q; want %s", correlation.ID(ctx), want)
		}
		switch {
		case c.N%5 == 0:
			return double{}, errBusy
		case c.N%7 == 0:
			panic("a command that panics")
		}
		return double{c.N * 2}, nil
	}}
	b := invoke.NewBatch[double, double](invoker, "doubler", "/internal/double", 64)
	var all sync.WaitGroup
	for n := range 200 {
		all.Go(func() {
			got, err := b.Do(correlation.With(t.Context(), fmt.Sprint("c-", n)), double{n})
			switch {
			case n%5 == 0 || n%7 == 0:
				if !errors.Is(err, invoke.ErrUnavailable) {
					t.Errorf("command %d: %v", n, err)
				}
			case err != nil || got.N != n*2:
				t.Errorf("command %d: %v, %v", n, got, err)
			}
		})
	}
	all.Wait()
	if invoker.calls >= 200 {
		t.Errorf("%d calls for 200 concurrent commands: nothing was batched", invoker.calls)
	}
}

func TestACallInWhichNothingSucceedsFailsAsAWhole(t *testing.T) {
	r := httptest.NewRequest("POST", "/internal/double", strings.NewReader(`{"commands":[{"command":{"N":1}},{"command":{"N":2}}]}`))
	_, err := invoke.Serve(slog.New(slog.DiscardHandler), func(context.Context, double) (double, error) { return double{}, errBusy })(r)
	if p := problem.From(err); p == nil || p.Status != 503 {
		t.Errorf("err = %v: the caller's circuit breaker would not see it", err)
	}
}

// A command that is shed for a reason of its own must not block the path for all others.
func TestACallWithAShedCommandIsAnAnswer(t *testing.T) {
	w := httptest.NewRecorder()
	r := httptest.NewRequest("POST", "/internal/double", strings.NewReader(`{"commands":[{"command":{"N":1}}]}`))
	reply, err := invoke.Serve(slog.New(slog.DiscardHandler), func(context.Context, double) (double, error) {
		return double{}, problem.Busy("too-many-holds", "too many", time.Second)
	})(r)
	reply.Write(w)
	var answer invoke.Response[double]
	if decodeErr := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || decodeErr != nil || w.Code != 200 || len(answer.Results) != 1 ||
		answer.Results[0].Error == nil || answer.Results[0].Error.Status != 503 || !answer.Results[0].Error.Shed {
		t.Errorf("answered %d %s, %v", w.Code, w.Body, err)
	}
}

func TestServeBoundsACall(t *testing.T) {
	for _, body := range []string{``, `{}`, `{"commands":[]}`, `{"commands":[` + strings.Repeat(`{},`, 300) + `{}]}`} {
		r := httptest.NewRequest("POST", "/x", strings.NewReader(body))
		_, err := invoke.Serve(slog.New(slog.DiscardHandler), func(_ context.Context, c double) (double, error) { return c, nil })(r)
		if p := problem.From(err); p == nil || p.Status != 400 {
			t.Errorf("%.40s: %v", body, err)
		}
	}
}
