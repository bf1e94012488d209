package e2e

import (
	"net/http"
	"net/url"
	"path"
	"testing"
	"time"

	"caravan/internal/event"
	"caravan/internal/id"
)

// lettersOf causes the refusals of the operations for the dead letters of a service that "dapr new service" made. Their list is
// at /v1/ops/SERVICE/dead-letters, and the service handles users.registered.v1.
func (r *refused) lettersOf(t *testing.T, list string) {
	admin, reason := r.shop.admin, func(text string) map[string]any { return map[string]any{"reason": text} }
	ignored := list + "/" + r.dead(t, list, "users.made_up.v1", "replayed", 1)[0] // on arrival, as nothing is to do
	admin.must(http.StatusConflict, http.MethodPost, ignored+"/discard", reason("too late"), nil)

	const events = 6 // at one event a second, these keep a batch running long enough
	unreadable := r.dead(t, list, "users.registered.v1", "open", events)
	r.batchesOf(t, list, map[string]any{"type": "users.registered.v1"})
	admin.must(http.StatusUnprocessableEntity, http.MethodPost, list+"/"+unreadable[0]+"/replay", nil, nil)
	for i, letter := range unreadable {
		at, key := list+"/"+letter, idempotent(id.Random{}.New())
		admin.must(http.StatusOK, http.MethodPost, at+"/discard", reason("made up by a test"), nil, key)
		if i == 0 {
			admin.must(http.StatusUnprocessableEntity, http.MethodPost, at+"/discard", reason("another"), nil, key)
			admin.must(http.StatusConflict, http.MethodPost, at+"/replay", nil, nil)
		}
	}
}

// dead publishes n events with unreadable data on the topic of the dead letters of the service, and returns the ids of the
// letters that they become.
func (r *refused) dead(t *testing.T, list, typ, status string, n int) (found []string) {
	t.Helper()
	service := path.Base(path.Dir(list))
	subjects := make(map[string]bool)
	for range n {
		subject := id.Random{}.New()
		subjects[subject] = true
		r.shop.stack.publish(t, service, service+".dead", event.Event{
			ID: event.ID("users", subject, 1), Type: typ, Source: "users", Subject: subject, Sequence: 1, Time: time.Now().UTC(), Data: []byte(`{"userId":7}`),
		})
	}
	eventually(t, "the dead letters at "+list, func() error {
		found = nil
		for _, l := range search[deadLetterBody](r.shop.admin, list, url.Values{"status": {status}, "type": {typ}}) {
			if subjects[l.Subject] {
				found = append(found, l.ID)
			}
		}
		if len(found) < n {
			return errorf("%d of %d are there", len(found), n)
		}
		return nil
	})
	return found
}
