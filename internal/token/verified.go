package token

import (
	"crypto/sha256"
	"sync"
	"time"
)

const (
	verifiedFor = time.Minute // how long a verdict is kept: so a withdrawn key is felt within it
	verifiedMax = 8192        // verdicts per generation; two generations are kept
)

// verified remembers the tokens that were found good, by their hash: the tokens themselves are
// credentials and are not kept. Memory is bounded by two generations: when the young one is full
// it becomes the old one, which is dropped whole. Bad tokens are not remembered, so that nobody can
// push good ones out.
type verified struct {
	mu         sync.RWMutex
	young, old map[[sha256.Size]byte]verdict
}

type verdict struct {
	claims Claims
	until  time.Time
}

func newVerified() *verified {
	return &verified{young: make(map[[sha256.Size]byte]verdict)}
}

func (v *verified) get(digest [sha256.Size]byte, now time.Time) (Claims, bool) {
	v.mu.RLock()
	found, ok := v.young[digest]
	if !ok {
		found, ok = v.old[digest]
	}
	v.mu.RUnlock()
	if !ok || !now.Before(found.until) {
		return Claims{}, false
	}
	return found.claims, true
}

func (v *verified) put(digest [sha256.Size]byte, c Claims, now time.Time) {
	until := now.Add(verifiedFor)
	if c.Expiry.Before(until) {
		until = c.Expiry
	}
	if !now.Before(until) {
		return // accepted within the leeway only
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.young) >= verifiedMax {
		v.old, v.young = v.young, make(map[[sha256.Size]byte]verdict)
	}
	v.young[digest] = verdict{claims: c, until: until}
}
