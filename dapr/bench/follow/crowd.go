package follow

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// openingMost is how many streams are being opened at once.
const openingMost = 64

// Crowd is many streams.
type Crowd struct {
	Streams []*Stream

	gateway string
	client  *http.Client
	opening chan struct{}
	running sync.WaitGroup
	stop    context.CancelFunc

	mu        sync.Mutex
	now, most int
}

// Start follows one stream for each token function, at the gateway with this base URL, until Stop or until ctx ends.
func Start(ctx context.Context, gateway string, tokens []func(context.Context) (string, error)) *Crowd {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = 30 * time.Second
	transport.DisableCompression = true
	c := &Crowd{gateway: gateway, client: &http.Client{Transport: transport}, opening: make(chan struct{}, openingMost)}
	ctx, c.stop = context.WithCancel(ctx)
	for _, token := range tokens {
		c.Streams = append(c.Streams, &Stream{crowd: c, token: token, pause: pause, seen: Seen{Statuses: make(map[string][]Status)}})
	}
	for _, s := range c.Streams {
		c.running.Go(func() { s.run(ctx) })
	}
	return c
}

// Stop ends all streams. What came on them stays.
func (c *Crowd) Stop() {
	c.stop()
	c.running.Wait()
	c.client.CloseIdleConnections()
}

// Open returns how many streams are open now, and how many were at most.
func (c *Crowd) Open() (now, most int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now, c.most
}

// Problem returns why a stream that is not open could not be opened, or nil.
func (c *Crowd) Problem() error {
	for _, s := range c.Streams {
		s.mu.Lock()
		open, problem := s.open, s.seen.Problem
		s.mu.Unlock()
		if !open && problem != nil {
			return problem
		}
	}
	return nil
}

func (c *Crowd) count(change int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now += change
	c.most = max(c.most, c.now)
}
