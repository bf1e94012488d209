package feed

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"caravan/internal/event"
	"caravan/internal/request"
)

// Path is where a producer serves its feed to other services.
const Path = "/internal/feed"

// Request asks for the events after a cursor; "" is the beginning.
type Request struct {
	Cursor string `json:"cursor"`
}

// Response is a part of the feed. The reader continues at Next and stores Settled. End says that there is nothing more
// for now.
type Response struct {
	Events  []event.Event `json:"events"`
	Next    string        `json:"next"`
	Settled string        `json:"settled"`
	End     bool          `json:"end"`
}

const (
	// pageKeys and pageEvents are about how many documents and events are in one answer. An answer has to stay well
	// below the sidecar's 4 MiB, and an event has up to 700 bytes.
	pageKeys   = 400
	pageEvents = 2000
	// pageTime is how long an answer collects events once it has the keys. A slow store returns fewer events in that
	// time, and the reader asks for the rest later.
	pageTime = 3 * time.Second
)

// Serve answers Path from a Reader. It returns only buckets that have settled, because the broker delivers younger
// events.
func Serve(r *Reader) request.Handler {
	return func(req *http.Request) (request.Answer, error) {
		var in Request
		if err := request.Decode(req, &in, request.WithLimit(4096)); err != nil {
			return request.Answer{}, err
		}
		from, err := ParseCursor(in.Cursor)
		if err != nil {
			return request.Answer{}, err
		}
		out, err := r.page(req.Context(), from)
		if err != nil {
			return request.Answer{}, err
		}
		body, err := json.Marshal(out)
		if err != nil {
			return request.Answer{}, fmt.Errorf("writing the feed: %w", err)
		}
		return request.OK(json.RawMessage(body)), nil
	}
}

// page reads events from a cursor on, as many as fit and as a short time allows. It reads several buckets at once as
// long as they have few events, because most documents of one bucket are in the next one too.
func (r *Reader) page(ctx context.Context, from Cursor) (Response, error) {
	keys, err := r.Keys(ctx, from, pageKeys, r.timing.Settle)
	if err != nil {
		return Response{}, err
	}
	enough := r.clock.Now().Add(pageTime)
	out := Response{Events: []event.Event{}}
	type identity struct { // a malformed event may have the id of another
		id, subject string
		sequence    int64
	}
	served := make(map[identity]bool)
	archive := newSegments(r.store)
	for i, step := 0, 1; i < len(keys.Buckets); {
		part := keys.Buckets[i:min(i+step, len(keys.Buckets))]
		events, err := r.events(ctx, archive, part...)
		if err != nil {
			return Response{}, err
		}
		for _, e := range events {
			if is := (identity{e.ID, e.Subject, e.Sequence}); !served[is] {
				served[is] = true
				out.Events = append(out.Events, e)
			}
		}
		if len(events) < pageEvents/8 {
			step *= 2
		} else {
			step = max(step/2, 1)
		}
		if i += len(part); i < len(keys.Buckets) && (len(out.Events) >= pageEvents || !r.clock.Now().Before(enough)) {
			last := part[len(part)-1].Next
			keys.Next, keys.End = last, false
			if last.Before(keys.Settled) {
				keys.Settled = last
			}
			break
		}
	}
	out.Next, out.Settled, out.End = keys.Next.String(), keys.Settled.String(), keys.End
	return out, nil
}
