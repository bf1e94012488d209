package resiliency

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"caravan/internal/event"
	"caravan/internal/id"
)

// These are the values of dapr/resources/resiliency.yaml for the delivery of an event: the first attempt and six more.
// The pauses begin at 500 ms, grow by half, are at most 5 s, and randomly differ by up to half.
const (
	deliveries  = 1 + 6
	firstPause  = 500 * time.Millisecond
	pauseGrows  = 1.5
	pauseAtMost = 5 * time.Second
	pauseSpread = 0.5
)

// TestDeliveriesAreRepeatedAndThenDeadLettered counts the deliveries of events that a consumer cannot handle, measures
// the gaps between them, and finds each event among the dead letters.
func TestDeliveriesAreRepeatedAndThenDeadLettered(t *testing.T) {
	s := shared(t)
	for what, c := range map[string]struct {
		answer http.HandlerFunc
		want   int
	}{
		"it asks for another delivery": {telling("RETRY"), deliveries},
		"it fails":                     {saying(500), deliveries},
		"it is overloaded":             {saying(503), deliveries},
		"it does not answer":           {vanishing, deliveries},
		"it never will":                {telling("DROP"), 1},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			e := event.Event{Type: "orders.probe.v1", Source: "orders", Subject: "probe-" + id.Random{}.New(), Sequence: 1, Time: time.Now()}
			e.ID = event.ID(e.Source, e.Subject, e.Sequence)
			seen := s.watch(t, e.ID, c.answer)
			s.publish(t, e)
			eventually(t, "the event among the dead letters", func() bool { return seen.put.Load() })
			came := seen.times()
			if len(came) != c.want {
				t.Fatalf("it was delivered %d times, want %d", len(came), c.want)
			}
			pause := firstPause
			for n := 1; n < len(came); n++ {
				gap := came[n].Sub(came[n-1])
				t.Logf("pause %d: %s", n, gap.Round(time.Millisecond))
				least, most := scale(pause, 1-pauseSpread), scale(pause, 1+pauseSpread)
				if gap < least-50*time.Millisecond || gap > most+slack {
					t.Errorf("pause %d was %s; declared is %s to %s", n, gap, least, most)
				}
				pause = min(scale(pause, pauseGrows), pauseAtMost)
			}
		})
	}
}

func scale(d time.Duration, by float64) time.Duration { return time.Duration(float64(d) * by) }

// telling answers a delivery with a status of Dapr: RETRY, DROP or SUCCESS.
func telling(status string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"status":"`+status+`"}`)
	}
}

// deliveriesOf are the deliveries of one event.
type deliveriesOf struct {
	mu   sync.Mutex
	came []time.Time
	put  atomic.Bool // it was delivered as a dead letter
}

func (d *deliveriesOf) times() []time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]time.Time(nil), d.came...)
}

// watch answers the deliveries of one event with answer and records them, until the test ends.
func (s *stack) watch(t *testing.T, event string, answer http.HandlerFunc) *deliveriesOf {
	t.Helper()
	d := new(deliveriesOf)
	s.listen(t, func(path string, body []byte) http.HandlerFunc {
		if !strings.Contains(content(body), event) {
			return nil
		}
		if path == "/events/dead" {
			d.put.Store(true)
			return telling("SUCCESS")
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.came = append(d.came, time.Now())
		return answer
	})
	return d
}

// content returns the text of a delivery, unwrapped if it is a raw one.
func content(body []byte) string {
	var raw struct {
		Data string `json:"data_base64"`
	}
	if json.Unmarshal(body, &raw) == nil && raw.Data != "" {
		if inner, err := base64.StdEncoding.DecodeString(raw.Data); err == nil {
			return string(inner)
		}
	}
	return string(body)
}

// listen passes the deliveries to notifications to hear, which returns the answer to one, or nil to pass it on.
func (s *stack) listen(t *testing.T, hear func(path string, body []byte) http.HandlerFunc) {
	t.Helper()
	a := s.apps["notifications"]
	a.mu.Lock()
	defer a.mu.Unlock()
	key := new(int)
	if a.hears == nil {
		a.hears = make(map[*int]func(string, []byte) http.HandlerFunc)
	}
	a.hears[key] = hear
	t.Cleanup(func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.hears, key)
	})
}

// heard asks the listeners for an answer to a delivery.
func (a *app) heard(r *http.Request) http.HandlerFunc {
	a.mu.Lock()
	hears := make([]func(string, []byte) http.HandlerFunc, 0, len(a.hears))
	for _, hear := range a.hears {
		hears = append(hears, hear)
	}
	a.mu.Unlock()
	if len(hears) == 0 || !strings.HasPrefix(r.URL.Path, "/events/") {
		return nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return vanishing
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	for _, hear := range hears {
		if answer := hear(r.URL.Path, body); answer != nil {
			return answer
		}
	}
	return nil
}

// publish publishes an event to the topic of orders, as orders does.
func (s *stack) publish(t *testing.T, e event.Event) {
	t.Helper()
	raw, err := e.CloudEvent()
	if err != nil {
		t.Fatal(err)
	}
	orders, err := s.Process("orders-daprd")
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, orders.URL+"/v1.0/publish/pubsub/orders", bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("dapr-api-token", s.APIToken())
	request.Header.Set("Content-Type", event.ContentType)
	response, err := s.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusNoContent {
		t.Fatalf("publishing answers %s", response.Status)
	}
}
