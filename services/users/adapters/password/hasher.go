// Package password hashes passwords with Argon2id (RFC 9106), a bounded number at a time.
package password

import (
	"context"
	"crypto/subtle"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"caravan/internal/problem"
	"caravan/services/users/app"
)

// busyError says that too many passwords are being hashed.
type busyError struct{}

func (busyError) Error() string { return "too many passwords are being hashed" }

// Temporary implements the interface of temporary errors.
func (busyError) Temporary() bool { return true }

// Problem is the problem for the client.
func (busyError) Problem() *problem.Problem {
	return problem.Busy("busy", "Too many people are logging in. Try again in a moment.", time.Second)
}

// ErrBusy is returned immediately when the queue is full, so that many logins cost no more than the queue.
var ErrBusy error = busyError{}

// Hasher is an app.Passwords. It hashes with its parameters and compares with those of the stored hash.
type Hasher struct {
	parameters Parameters
	random     io.Reader
	nobody     Hash // for a login without an account
	slots      chan struct{}
	queue      int64
	waiting    atomic.Int64
}

// New makes a Hasher that hashes slots passwords at the same time, which should be the number of cores. queue more may wait.
func New(parameters Parameters, slots, queue int, random io.Reader) (*Hasher, error) {
	if err := parameters.Check(); err != nil {
		return nil, err
	}
	hasher := &Hasher{parameters: parameters, random: random, slots: make(chan struct{}, max(slots, 1)), queue: int64(queue)}
	var err error
	if hasher.nobody, err = hasher.fresh(); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(random, hasher.nobody.Tag); err != nil {
		return nil, fmt.Errorf("reading randomness: %w", err)
	}
	return hasher, nil
}

// fresh returns a hash with a new salt and an empty tag.
func (h *Hasher) fresh() (Hash, error) {
	hash := Hash{Parameters: h.parameters, Salt: make([]byte, saltLength), Tag: make([]byte, tagLength)}
	if _, err := io.ReadFull(h.random, hash.Salt); err != nil {
		return Hash{}, fmt.Errorf("reading randomness: %w", err)
	}
	return hash, nil
}

// Hash returns the PHC string of a password.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	hash, err := h.fresh()
	if err != nil {
		return "", err
	}
	if err := h.acquire(ctx); err != nil {
		return "", err
	}
	defer h.release()
	hash.Tag = hash.tag(password)
	return hash.String(), nil
}

// Verify compares a password with a PHC string, or with the hash of a password that nobody has if it is empty. Both take the
// same time.
func (h *Hasher) Verify(ctx context.Context, encoded, password string) (app.Verdict, error) {
	hash := h.nobody
	if encoded != "" {
		var err error
		if hash, err = Parse(encoded); err != nil {
			return app.Verdict{}, err
		}
	}
	if err := h.acquire(ctx); err != nil {
		return app.Verdict{}, err
	}
	defer h.release()
	match := subtle.ConstantTimeCompare(hash.tag(password), hash.Tag) == 1
	return app.Verdict{Match: match && encoded != "", Outdated: hash.Parameters != h.parameters}, nil
}

// acquire takes a slot. It waits in the queue if the queue is not full.
func (h *Hasher) acquire(ctx context.Context) error {
	select {
	case h.slots <- struct{}{}:
		return nil
	default:
	}
	if h.waiting.Add(1) > h.queue {
		h.waiting.Add(-1)
		return ErrBusy
	}
	defer h.waiting.Add(-1)
	select {
	case h.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting to hash a password: %w", ctx.Err())
	}
}

func (h *Hasher) release() { <-h.slots }
