package request

import (
	stdjson "encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json"
)

// Respond writes v as JSON with the status. A nil v, or a status that has no body, writes the
// status alone. Nil slices are [] and nil maps {}; use `omitzero` rather than `omitempty` for
// numbers and booleans, as the encoder is the one of json/v2. Answers are not to be stored by
// caches unless the handler set Cache-Control itself.
func Respond(w http.ResponseWriter, status int, v any) {
	h := w.Header()
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	if v == nil || status == http.StatusNoContent || status == http.StatusNotModified {
		w.WriteHeader(status)
		return
	}
	body, raw := v.(stdjson.RawMessage)
	var err error
	if !raw {
		body, err = json.Marshal(v)
	}
	if err != nil {
		// Only a mistake in the type of v comes here; the chassis turns it into a 500 problem.
		panic(fmt.Sprintf("request: an answer of %T cannot be written as JSON: %v", v, err))
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that went away cannot be told
}
