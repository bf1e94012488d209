package token

import (
	"crypto/sha256"
	"sync"
	"time"
)

const (
	verifiedFor = time.Minute // how long a result is kept, so the longest time for which a withdrawn key still works
	verifiedMax = 8192        // results per generation; two generations are kept
)

// verified remembers valid tokens by their hash, because the tokens themselves are credentials. Two generations limit
// the memory: when the new one is full it becomes the old one, and the previous old one is dropped. Invalid tokens are
// not remembered, so nobody can use them to displace valid ones.
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
		return // accepted only because of the leeway
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.young) >= verifiedMax {
		v.old, v.young = v.young, make(map[[sha256.Size]byte]verdict)
	}
	v.young[digest] = verdict{claims: c, until: until}
}
