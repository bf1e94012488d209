package token

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"sync"
	"time"

	"caravan/internal/clock"
)

const (
	keysFresh   = 5 * time.Minute  // the age at which a set is fetched again
	keysUsable  = time.Hour        // the age up to which a set is used while fetching fails
	keysRefresh = 30 * time.Second // between two attempts, also when many unknown key ids arrive
	keysRetry   = time.Second      // between two attempts while there is no key
	keysTimeout = 5 * time.Second  // of one attempt
)

// keys caches the issuer's key set.
type keys struct {
	fetch func(ctx context.Context) (KeySet, error)
	clock clock.Clock

	mu        sync.Mutex
	set       KeySet
	fetched   time.Time     // when set was fetched; zero if never
	attempted time.Time     // when the last attempt began
	failure   error         // of the last attempt
	running   chan struct{} // closed when the attempt in progress ends; nil if there is none
}

func newKeys(fetch func(ctx context.Context) (KeySet, error), clk clock.Clock) *keys {
	return &keys{fetch: fetch, clock: clk}
}

// find returns the key. It fetches the set when the set is old or does not contain the id, at most once per
// keysRefresh. So neither invented key ids nor an unavailable issuer cause many fetches.
func (k *keys) find(ctx context.Context, id string) (ed25519.PublicKey, error) {
	public, known, fresh := k.lookup(id)
	if known && fresh {
		return public, nil
	}
	if err := k.refresh(ctx, known); err != nil {
		return nil, err
	}
	public, known, _ = k.lookup(id)
	if known {
		return public, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.failure != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeysUnavailable, k.failure)
	}
	return nil, fmt.Errorf("%w: the key is not the issuer's", ErrInvalid)
}

func (k *keys) lookup(id string) (public ed25519.PublicKey, known, fresh bool) {
	now := k.clock.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	age := now.Sub(k.fetched)
	if k.fetched.IsZero() || age > keysUsable {
		return nil, false, false
	}
	public, known = k.set.find(id)
	return public, known, age <= keysFresh
}

// refresh fetches the set unless an attempt was made recently. One caller fetches. Other callers with a usable key
// continue with it, and the rest wait for the result.
func (k *keys) refresh(ctx context.Context, known bool) error {
	now := k.clock.Now()
	k.mu.Lock()
	if running := k.running; running != nil {
		k.mu.Unlock()
		if known {
			return nil
		}
		return wait(ctx, running)
	}
	pause := keysRefresh
	if k.fetched.IsZero() || now.Sub(k.fetched) > keysUsable {
		pause = keysRetry
	}
	if !k.attempted.IsZero() && now.Sub(k.attempted) < pause {
		k.mu.Unlock()
		return nil
	}
	running := make(chan struct{})
	k.running, k.attempted = running, now
	k.mu.Unlock()

	k.attempt(ctx, running)
	return nil
}

// attempt fetches for all waiting callers, so it does not end with the first caller's context. It keeps that context's
// values and has its own deadline.
func (k *keys) attempt(ctx context.Context, running chan struct{}) {
	set, err := KeySet{}, errors.New("the fetch did not finish")
	defer func() { // also when fetch panics: otherwise callers wait for ever
		k.mu.Lock()
		defer k.mu.Unlock()
		k.failure = err
		if err == nil {
			k.set, k.fetched = set, k.attempted
		}
		k.running = nil
		close(running)
	}()
	fetchCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keysTimeout)
	defer cancel()
	set, err = k.fetch(fetchCtx)
	if err == nil && len(set.Keys) == 0 {
		err = errors.New("the key set is empty")
	}
}

func wait(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for the issuer's keys: %w", ctx.Err())
	}
}
