package edge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"caravan/gateway/cache"
	"caravan/gateway/proxy"
)

// cacheable returns the key of a request whose answer may come from the cache and be kept there: the route says so, and the
// request has no credentials.
func (e *Edge) cacheable(x *exchange, r *http.Request) (key string, ok bool) {
	if e.Cache == nil || x.call.Match.Route.Cache == nil || cache.Refused(r.Header) {
		return "", false
	}
	return cache.Key(r.RequestURI)
}

// cached answers a request without credentials from the cache, or by a call that it may share with others.
func (e *Edge) cached(x *exchange, r *http.Request, key string) error {
	if err := e.count(x, x.endpoint.class, e.address(x)); err != nil {
		return err
	}
	if err := e.drop(x, r); err != nil {
		return err
	}
	found, ok := e.Cache.Get(key)
	if !ok {
		var err error
		if found, err = e.load(x, r, key); errors.Is(err, cache.ErrUnshared) {
			return e.forward(x, r)
		}
		if err != nil {
			return err
		}
	}
	x.cache = found.Kind
	x.endpoint.reads.record(r.Context(), found.Kind)
	deliver(x, r, found)
	return nil
}

// load waits for an answer. As many requests may wait for one as may be forwarded.
func (e *Edge) load(x *exchange, r *http.Request, key string) (cache.Found, error) {
	leave, err := enter(&e.waiting, e.Concurrent)
	if err != nil {
		return cache.Found{}, err
	}
	defer leave()
	e.extend(x)
	found, err := e.Cache.Load(r.Context(), key, x.call.Match.Route.Cache, func(ctx context.Context) (*cache.Answer, error) {
		leave, err := enter(&e.running, e.Concurrent)
		if err != nil {
			return nil, err
		}
		defer leave()
		// The answer is for others too, so it cannot depend on the headers of this request.
		plain := r.WithContext(ctx)
		plain.Header = http.Header{}
		return e.Forwarder.Fetch(plain, &x.call, e.Largest)
	})
	if err != nil && r.Context().Err() != nil {
		return cache.Found{}, fmt.Errorf("%w: %w", proxy.ErrCallerLeft, err)
	}
	return found, err
}

// deliver writes an answer, or 304 if the client has it.
func deliver(x *exchange, r *http.Request, found cache.Found) {
	header := x.Header()
	for name, values := range found.Header {
		header[name] = values
	}
	if found.Kind == cache.Hit || found.Kind == cache.Stale {
		header["Age"] = []string{strconv.FormatInt(int64(found.Age.Seconds()), 10)}
	}
	if found.ETag != "" && cache.Matches(r.Header["If-None-Match"], found.ETag) {
		delete(header, "Content-Type")
		x.WriteHeader(http.StatusNotModified)
		return
	}
	header["Content-Length"] = []string{strconv.Itoa(len(found.Body))}
	x.WriteHeader(found.Status)
	if r.Method != http.MethodHead {
		_, _ = x.Write(found.Body) // a client that has left gets no error
	}
}

// reads counts the requests of a route that the cache answered.
type reads struct {
	counter metric.Int64Counter
	kinds   map[cache.Kind][]metric.AddOption
}

func newReads(meter metric.Meter) (metric.Int64Counter, error) {
	counter, err := meter.Int64Counter("gateway.cache.requests",
		metric.WithDescription("Requests without credentials on routes with a cache, by route and how they were answered."))
	if err != nil {
		return nil, fmt.Errorf("making the counter of the cache: %w", err)
	}
	return counter, nil
}

func readsOf(counter metric.Int64Counter, pattern string) *reads {
	of := &reads{counter: counter, kinds: make(map[cache.Kind][]metric.AddOption)}
	for _, kind := range []cache.Kind{cache.Hit, cache.Stale, cache.Shared, cache.Miss} {
		set := attribute.NewSet(attribute.String("http.route", pattern), attribute.String("result", string(kind)))
		of.kinds[kind] = []metric.AddOption{metric.WithAttributeSet(set)}
	}
	return of
}

func (c *reads) record(ctx context.Context, kind cache.Kind) { c.counter.Add(ctx, 1, c.kinds[kind]...) }

// watch has the cache forget what the request changes (RFC 9111, section 4.4), before the client hears that it was changed.
func (e *Edge) watch(x *exchange) {
	if e.Cache == nil || !x.endpoint.changes {
		return
	}
	if key, ok := cache.Key(x.call.Match.Target("")); ok {
		x.changed = func() { e.Cache.Forget(key) }
	}
}

// WriteHeader begins the answer.
func (x *exchange) WriteHeader(status int) {
	if x.changed != nil && status < http.StatusBadRequest {
		x.changed()
	}
	x.recorder.WriteHeader(status)
}
