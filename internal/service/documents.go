package service

import (
	"errors"
	"time"

	"caravan/internal/document"
	"caravan/internal/feed"
)

// Documents are the documents of a program that emits events.
type Documents struct {
	// Store holds them.
	Store document.Store
	// Timing, Index and Reader belong to the program's own feed.
	Timing feed.Timing
	Index  *feed.Index
	Reader *feed.Reader

	options   document.Options // without a relay
	published document.Relay
}

// Documents gives a program documents with events. It also serves the feed of these events to other services and publishes
// them on the topic with the program's name. Events are named after the program. Call it once.
//
// The relay publishes the event types for which publish returns true; nil means all. The feed contains every event.
func (s *Service) Documents(publish func(typ string) bool) *Documents {
	if s.documents != nil {
		s.failures = append(s.failures, errors.New("Documents was called twice: a program has one feed"))
		return s.documents
	}
	store := s.Sidecar.Store()
	timing := feed.Timing{Bucket: s.Settings.Feed.Bucket, Settle: s.Settings.Feed.Settle}
	relay := feed.NewRelay(s.Sidecar.Publisher(), s.Name, s.Clock, s.Log)
	d := &Documents{
		Store: store, Timing: timing,
		Index: feed.NewIndex(store, s.Clock, timing, s.IDs.New()), Reader: feed.NewReader(store, s.Clock, timing),
		published: relay,
	}
	d.options = document.Options{Source: s.Name, Index: d.Index, Clock: s.Clock, IDs: s.IDs}
	if publish != nil {
		d.published = relay.Only(publish)
	}
	s.documents = d
	s.Internal("POST "+feed.Path, feed.Serve(d.Reader))
	s.BackgroundLast("relay", relay.Run)
	return d
}

// Options configure a repository with keys that start with prefix. Its events are in the feed and are published.
func (d *Documents) Options(prefix string) document.Options {
	o := d.Unpublished(prefix)
	o.Relay = d.published
	return o
}

// Unpublished configures a repository whose events are in the feed only.
func (d *Documents) Unpublished(prefix string) document.Options {
	o := d.options
	o.Prefix = prefix
	return o
}

// Waiting returns the same documents for work that would have to begin again if a read failed. Each read waits for up
// to limit while the store is unavailable.
func (d *Documents) Waiting(limit time.Duration) *Documents {
	w := *d
	w.Store = document.Waiting(d.Store, d.options.Clock, limit)
	w.Reader = feed.NewReader(w.Store, d.options.Clock, d.Timing)
	return &w
}

// Trail audits the events. Each call reads the feed separately and uses 4 MiB of memory.
func (d *Documents) Trail() feed.Trail {
	return feed.Trail{Store: d.Store, Source: d.options.Source, Coverage: feed.NewCoverage(d.Reader)}
}
