package harness

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"caravan/dapr/client"
	"caravan/internal/problem"
)

// Outcome is what a client knows about an operation.
type Outcome string

// The outcomes of an operation.
const (
	Acknowledged Outcome = "acknowledged" // answered with success
	Refused      Outcome = "refused"      // answered with a refusal, and every attempt was answered
	Unknown      Outcome = "unknown"      // some attempt may have had an effect that no answer reported
)

// Op is one operation of a client: a request, repeated until it was answered.
type Op struct {
	ID       int       `json:"id"`
	Kind     string    `json:"kind"` // "order", "deposit", "browse" …
	User     int       `json:"user"`
	Key      string    `json:"key,omitempty"`
	Request  any       `json:"request,omitempty"`
	Begun    time.Time `json:"begun"`
	Ended    time.Time `json:"ended"`
	Attempts []Attempt `json:"attempts"`
	Outcome  Outcome   `json:"outcome"`
	Answers  []string  `json:"answers,omitempty"` // of an order: the ids in the answers

	mu sync.Mutex
}

// Attempt is one request of an operation, successful or not.
type Attempt struct {
	Status int           `json:"status"` // 0: no answer
	Slug   string        `json:"slug,omitempty"`
	Error  string        `json:"error,omitempty"`
	Took   time.Duration `json:"took"`
}

// answered records a part of a successful answer.
func (o *Op) answered(text string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !slices.Contains(o.Answers, text) {
		o.Answers = append(o.Answers, text)
	}
}

// answers are the different answers until now.
func (o *Op) answers() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.Answers)
}

// note adds an attempt.
func (o *Op) note(err error, took time.Duration) {
	a := Attempt{Status: client.Status(err), Slug: client.Slug(err), Took: took}
	if err != nil {
		a.Error = err.Error()
		if len(a.Error) > 300 {
			a.Error = a.Error[:300]
		}
	} else {
		a.Status = http.StatusOK
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.Attempts = append(o.Attempts, a)
}

// opLog is every operation of a run.
type opLog struct {
	mu  sync.Mutex
	ops []*Op
}

func (l *opLog) begin(kind string, user int, key string, request any) *Op {
	l.mu.Lock()
	defer l.mu.Unlock()
	op := &Op{ID: len(l.ops) + 1, Kind: kind, User: user, Key: key, Request: request, Begun: time.Now(), Outcome: Unknown}
	l.ops = append(l.ops, op)
	return op
}

// of returns the operations of a kind, or all for "".
func (l *opLog) of(kind string) []*Op {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.ops), func(o *Op) bool { return kind != "" && o.Kind != kind })
}

// some returns a random operation, or nil when there is none.
func (l *opLog) some(random *rand.Rand) *Op {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ops) == 0 {
		return nil
	}
	return l.ops[random.IntN(len(l.ops))]
}

// write writes the log: one line of JSON per operation.
func (l *opLog) write(path string) error {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("writing the log of operations: %w", err)
	}
	buffered := bufio.NewWriter(file)
	encoder := json.NewEncoder(buffered)
	for _, op := range l.of("") {
		op.mu.Lock()
		err = errors.Join(err, encoder.Encode(op))
		op.mu.Unlock()
	}
	if err := errors.Join(err, buffered.Flush(), file.Close()); err != nil {
		return fmt.Errorf("writing the log of operations: %w", err)
	}
	return nil
}

// attemptTimeout limits one request. It is longer than the gateway's own limit.
const attemptTimeout = 20 * time.Second

// persist repeats a request until it is answered or refused, or the limit is over. Repeats have the same key, as the
// API requires.
func (o *Op) persist(ctx context.Context, limit time.Duration, request func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	backoff := 50 * time.Millisecond
	uncertain := false
	for {
		began := time.Now()
		err := once(ctx, request)
		o.note(err, time.Since(began))
		switch {
		case err == nil:
			o.finish(Acknowledged)
			return nil
		case definite(err) && !uncertain:
			o.finish(Refused)
			return err
		case definite(err):
			o.finish(Unknown)
			return err
		}
		uncertain = true
		wait := max(backoff/2+rand.N(backoff), min(retryAfter(err), 2*time.Second))
		backoff = min(2*backoff, time.Second)
		if !pause(ctx, wait) {
			o.finish(Unknown)
			return err
		}
	}
}

func once(ctx context.Context, request func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	return request(ctx)
}

func (o *Op) finish(outcome Outcome) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.Ended = time.Now()
	// A later repeat never changes an acknowledgement.
	if o.Outcome != Acknowledged {
		o.Outcome = outcome
	}
}

// outcome is what is known at present.
func (o *Op) outcome() Outcome {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.Outcome
}

// definite reports whether an error is a refusal that a repeat would get too.
func definite(err error) bool {
	status := client.Status(err)
	return status >= 400 && status < 500 && status != http.StatusTooManyRequests && status != http.StatusRequestTimeout
}

func retryAfter(err error) time.Duration {
	var p *problem.Problem
	if errors.As(err, &p) {
		return p.RetryAfter
	}
	return 0
}
