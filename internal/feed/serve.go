package feed

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"caravan/internal/event"
	"caravan/internal/problem"
)

// Path is where a producer serves its feed to other services.
const Path = "/internal/feed"

// Request asks for events from a cursor ("" for the beginning) on.
type Request struct {
	Cursor string `json:"cursor"`
}

// Response is a part of the feed. The reader goes on at Next and stores
// Settled; End says that there is nothing more for now.
type Response struct {
	Events  []event.Event `json:"events"`
	Next    string        `json:"next"`
	Settled string        `json:"settled"`
	End     bool          `json:"end"`
}

const (
	// pageKeys is about how many documents one answer covers. An answer has to stay
	// well below the sidecar's 4 MiB.
	pageKeys = 400
	// pageTime is how long an answer gathers events, once it has the keys. What a slow
	// store gives in that time is enough; the reader comes again for the rest.
	pageTime = 3 * time.Second
)

// Serve answers Path from a Reader. It gives only buckets that have settled:
// younger events are on their way through the broker.
func Serve(r *Reader) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, req *http.Request) error {
		var in Request
		if err := json.NewDecoder(http.MaxBytesReader(w, req.Body, 4096)).Decode(&in); err != nil {
			return problem.Malformed(err.Error())
		}
		from, err := ParseCursor(in.Cursor)
		if err != nil {
			return err
		}
		out, err := r.page(req.Context(), from)
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(out); err != nil {
			return fmt.Errorf("writing the feed: %w", err)
		}
		return nil
	}
}

// page reads events from a cursor on: as many as fit, and as many as can be had in a moment.
func (r *Reader) page(ctx context.Context, from Cursor) (Response, error) {
	keys, err := r.Keys(ctx, from, pageKeys, r.timing.Settle)
	if err != nil {
		return Response{}, err
	}
	enough := r.clock.Now().Add(pageTime)
	out := Response{Events: []event.Event{}}
	for i, b := range keys.Buckets {
		events, err := r.Events(ctx, b)
		if err != nil {
			return Response{}, err
		}
		out.Events = append(out.Events, events...)
		if i+1 < len(keys.Buckets) && !r.clock.Now().Before(enough) {
			keys.Next, keys.End = b.Next, false
			if b.Next.Before(keys.Settled) {
				keys.Settled = b.Next
			}
			break
		}
	}
	out.Next, out.Settled, out.End = keys.Next.String(), keys.Settled.String(), keys.End
	return out, nil
}
