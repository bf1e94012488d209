package document

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"caravan/internal/event"
)

// An aggregate keeps at most timelineMax events in its head, unless Options.KeepEvents says otherwise. When the head is
// full, the oldest TimelineSegment of them move to a segment document.
const timelineMax = 32

// TimelineSegment is how many events a segment of a timeline has.
const TimelineSegment = 16

// Root is embedded in every aggregate document. It contains the revision that compare-and-swap protects and the events
// that the aggregate produced. So a state change and its events are one write.
type Root struct {
	// Revision counts the writes of the document from 1; 0 means that it does not exist yet. A decision that shares its
	// write with earlier ones sees the revision of this write.
	Revision int64 `json:"revision"`
	// WriteID is the id of the write that produced this revision. After a write with an unknown outcome it shows whose
	// write is stored.
	WriteID string `json:"writeId"`
	// Sequence is the number of events produced so far.
	Sequence int64 `json:"sequence,omitempty"`
	// Timeline holds the most recent events, oldest first.
	Timeline []event.Event `json:"timeline,omitempty"`
	// TimelineSegments counts the segment documents that older events moved to.
	TimelineSegments int64 `json:"TimelineSegments,omitempty"`

	// Sealed holds what Archive moved out of the aggregate, until a later write has stored it in documents of its own.
	Sealed []Sealed `json:"sealed,omitempty"`
}

// Sealed is the content of an archive document that is not yet written.
type Sealed struct {
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value"`
}

func (r *Root) root() *Root { return r }

// Exists reports whether the document has been written before.
func (r *Root) Exists() bool { return r.Revision > 0 }

// Emit appends an event to the timeline. The repository adds source, subject, correlation id and trace context. data
// must encode to a JSON object. Data that cannot be encoded is a programming error, and Emit panics.
func (r *Root) Emit(typ string, now time.Time, data any) {
	r.Sequence++
	r.Timeline = append(r.Timeline, event.Event{Type: typ, Sequence: r.Sequence, Time: now.UTC(), Data: encode(typ, data)})
}

// Archive moves value out of the aggregate into an immutable document under key. The move takes two writes. The first
// one keeps the value in Sealed, where compare-and-swap fixes its content. The next one writes the archive document and
// then removes the value from Sealed. So two concurrent writers always agree about an archive, and a crash between the
// writes loses nothing. ReadArchive reads it.
func (r *Root) Archive(key string, value any) {
	r.Sealed = append(r.Sealed, Sealed{Key: key, Value: encode(key, value)})
}

func encode(what string, v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encoding %s: %v", what, err))
	}
	return b
}

// ReadArchive reads into v what Archive stored under key. It reports false when nothing was ever archived there. r must
// be the root of the aggregate, read after the call of Archive.
func ReadArchive(ctx context.Context, store Store, r *Root, key string, v any) (bool, error) {
	for _, s := range r.Sealed {
		if s.Key == key {
			return true, json.Unmarshal(s.Value, v)
		}
	}
	records, err := store.Get(ctx, key)
	if err != nil {
		return false, fmt.Errorf("reading archive %s: %w", key, err)
	}
	record, ok := records[key]
	if !ok {
		return false, nil
	}
	if err := json.Unmarshal(record.Value, v); err != nil {
		return false, fmt.Errorf("decoding archive %s: %w", key, err)
	}
	return true, nil
}

// trimTimeline moves the oldest events out of a head with more than keep of them.
func (r *Root) trimTimeline(key string, keep int) {
	for len(r.Timeline) > keep { // many commands may share a write
		r.Archive(TimelineSegmentKey(key, r.TimelineSegments), r.Timeline[:TimelineSegment])
		r.TimelineSegments++
		r.Timeline = append([]event.Event(nil), r.Timeline[TimelineSegment:]...)
	}
}

// TimelineSegmentKey is the key of segment n (from 0) of older events of the aggregate under key. The segment is a JSON
// array of events, oldest first.
func TimelineSegmentKey(key string, n int64) string {
	return fmt.Sprintf("%s/timeline/%d", key, n)
}
