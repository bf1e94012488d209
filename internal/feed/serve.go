package feed

import (
	"encoding/json"
	"fmt"
	"net/http"

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

// pageKeys is about how many documents one answer covers. An answer has to stay
// well below the sidecar's 4 MiB.
const pageKeys = 400

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
		keys, err := r.Keys(req.Context(), from, pageKeys, r.timing.Settle)
		if err != nil {
			return err
		}
		out := Response{Events: []event.Event{}, Next: keys.Next.String(), Settled: keys.Settled.String(), End: keys.End}
		for _, b := range keys.Buckets {
			events, err := r.Events(req.Context(), b)
			if err != nil {
				return err
			}
			out.Events = append(out.Events, events...)
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(out); err != nil {
			return fmt.Errorf("writing the feed: %w", err)
		}
		return nil
	}
}
