package request

import (
	stdjson "encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json"
)

// Respond writes v as JSON with the status. For a nil v, or a status that has no body, it writes the status alone. Nil
// slices are [] and nil maps {}. Use `omitzero` rather than `omitempty` for numbers and booleans, because the encoder
// is json/v2. Caches must not store answers, unless the handler set Cache-Control itself.
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
		// The only cause is a mistake in the type of v. The chassis turns the panic into a 500 problem.
		panic(fmt.Sprintf("request: an answer of %T cannot be written as JSON: %v", v, err))
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client has left and cannot get an error
}
