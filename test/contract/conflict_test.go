package contract

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"caravan/dapr/launcher/infra"
)

// conflicts are the statuses of a sidecar for writes that must be refused, by store. The stores report them
// differently, so code must not conclude anything from a status. Package document reads the document again instead.
var conflicts = map[string]struct {
	tag                  string // in the format of the store, but outdated
	created, stale, gone int
}{
	"sqlite":   {"00000000-0000-4000-8000-000000000000", http.StatusConflict, http.StatusConflict, http.StatusConflict},
	"postgres": {"00000000-0000-4000-8000-000000000000", http.StatusInternalServerError, http.StatusConflict, http.StatusConflict},
	// It writes a missing document, whatever the ETag. No document is ever deleted.
	"redis": {"77", http.StatusInternalServerError, http.StatusConflict, http.StatusNoContent},
}

func TestConflictCodes(t *testing.T) {
	for _, kind := range infra.Stores() {
		t.Run(kind, func(t *testing.T) {
			s := open(t, kind)
			const first = `[{"key":"%","value":{"n":1},"options":{"concurrency":"first-write"}}]`
			write := func(key, body string) int { return s.write(t, strings.ReplaceAll(body, "%", key)) }
			for key, status := range map[string]int{"created": write("created", first), "stale": write("stale", first)} {
				if status != http.StatusNoContent {
					t.Fatalf("creating %s answers %d", key, status)
				}
			}
			want, known := conflicts[kind]
			if !known {
				t.Fatal("nobody has said how it answers")
			}
			if got := write("created", first); got != want.created {
				t.Errorf("creating what exists answers %d, want %d", got, want.created)
			}
			withTag := `[{"key":"%","value":{"n":2},"etag":"` + want.tag + `","options":{"concurrency":"first-write"}}]`
			if got := write("stale", withTag); got != want.stale {
				t.Errorf("writing with a stale ETag answers %d, want %d", got, want.stale)
			}
			if got := write("gone", withTag); got != want.gone {
				t.Errorf("writing with an ETag what does not exist answers %d, want %d", got, want.gone)
			}
			for _, key := range []string{"created", "stale"} {
				if got := s.read(t, key); got != 1 {
					t.Errorf("%s was overwritten: it is %d", key, got)
				}
			}
		})
	}
}

// write calls the state API and returns the status.
func (s *stack) write(t *testing.T, body string) int {
	t.Helper()
	response := s.call(t, http.MethodPost, "", body)
	defer response.Body.Close()
	return response.StatusCode
}

func (s *stack) read(t *testing.T, key string) int {
	t.Helper()
	response := s.call(t, http.MethodGet, "/"+key, "")
	defer response.Body.Close()
	var document struct{ N int }
	if err := json.NewDecoder(response.Body).Decode(&document); err != nil {
		t.Fatal(err)
	}
	return document.N
}

func (s *stack) call(t *testing.T, method, path, body string) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, s.address+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("dapr-api-token", s.token)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	return response
}
