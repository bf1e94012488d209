package cache

import (
	"container/list"
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"net/http"
	"strings"
	"time"
)

// entry is an answer that is kept. Only failedAt changes.
type entry struct {
	key      string
	answer   *Answer
	began    time.Time     // of the call
	failedAt time.Time     // when a call for a new answer failed, if one did
	fresh    time.Duration // ends of its uses, from began
	stale    time.Duration
	failing  time.Duration
	size     int64
}

// overhead is about what an entry needs besides its key, headers and body.
const overhead = 1 << 10

// keep makes the entry of an answer. It is not for several requests if it is not a success, if it belongs to somebody or depends
// on a header of the request, or if the service does not say that it may be kept.
func keep(key string, p *Policy, a *Answer, began time.Time) (*entry, bool) {
	if a.Status != http.StatusOK || a.Cookie || len(a.Header["Vary"]) > 0 {
		return nil, false
	}
	allowed, ok := ParseControl(a.Header["Cache-Control"])
	life := allowed.lifetime()
	if !ok || life <= 0 || allowed.NoStore || allowed.NoCache || allowed.Private {
		return nil, false
	}
	e := &entry{key: strings.Clone(key), began: began, fresh: min(p.Fresh, life), stale: min(p.Fresh+p.Stale, life), failing: min(p.Error, life)}
	if !allowed.MustRevalidate {
		e.stale = min(p.Fresh+p.Stale, life+allowed.StaleWhileRevalidate)
		e.failing = min(p.Error, life+allowed.StaleIfError)
	}
	e.answer = &Answer{Status: a.Status, Header: maps.Clone(a.Header), Body: a.Body}
	delete(e.answer.Header, "Expires") // older caches would heed it
	e.answer.Header["Cache-Control"] = p.Control
	if e.answer.ETag = a.Header.Get("Etag"); !validTag(e.answer.ETag) {
		e.answer.ETag = tagOf(a.Body)
		e.answer.Header["Etag"] = []string{e.answer.ETag}
	}
	e.size = overhead + int64(len(key)+len(a.Body))
	for name, values := range e.answer.Header {
		e.size += int64(len(name) + len(strings.Join(values, "")))
	}
	return e, true
}

// tagOf is the strong entity tag of a body, the same in all replicas of the gateway.
func tagOf(body []byte) string {
	digest := sha256.Sum256(body)
	return `"` + base64.RawURLEncoding.EncodeToString(digest[:15]) + `"`
}

// store has the entries, up to a number and a size. What was not used for the longest time leaves first.
type store struct {
	most      int
	mostBytes int64

	entries map[string]*list.Element
	used    *list.List // of *entry, the last used first
	bytes   int64
}

func newStore(entries int, bytes int64) store {
	return store{most: entries, mostBytes: bytes, entries: make(map[string]*list.Element), used: list.New()}
}

func (s *store) get(key string) *entry {
	at := s.entries[key]
	if at == nil {
		return nil
	}
	s.used.MoveToFront(at)
	return at.Value.(*entry)
}

// add keeps an entry unless there is one of a younger call, or it is too large.
func (s *store) add(e *entry) {
	s.removeOlder(e.key, e.began)
	if s.entries[e.key] != nil || e.size > s.mostBytes {
		return
	}
	s.entries[e.key] = s.used.PushFront(e)
	s.bytes += e.size
	for len(s.entries) > s.most || s.bytes > s.mostBytes {
		s.remove(s.used.Back().Value.(*entry).key)
	}
}

// removeOlder removes an entry whose call did not begin after a time.
func (s *store) removeOlder(key string, began time.Time) {
	if at := s.entries[key]; at != nil && !at.Value.(*entry).began.After(began) {
		s.remove(key)
	}
}

func (s *store) remove(key string) {
	if at := s.entries[key]; at != nil {
		s.bytes -= s.used.Remove(at).(*entry).size
		delete(s.entries, key)
	}
}
