package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"caravan/dapr/launcher"
	"caravan/internal/event"
	"caravan/internal/id"
)

// The answers of operations, as far as tests read them.
type (
	deadLetterBody struct {
		letterBody
		Consumer    string    `json:"consumer"`
		Type        string    `json:"type"`
		Subject     string    `json:"subject"`
		Attempts    int       `json:"attempts"`
		LastFailure string    `json:"lastFailure"`
		Note        string    `json:"note"`
		DecidedBy   string    `json:"decidedBy"`
		FirstSeen   time.Time `json:"firstSeen"`
		Event       *struct{} `json:"event"`
		History     []struct {
			Kind   string `json:"kind"`
			By     string `json:"by"`
			Reason string `json:"reason"`
		} `json:"history"`
	}
	batchBody struct {
		ID       string `json:"id"`
		Action   string `json:"action"`
		Status   string `json:"status"`
		Scanned  int    `json:"scanned"`
		Done     int    `json:"done"`
		Failed   int    `json:"failed"`
		EndedBy  string `json:"endedBy"`
		Failures []struct {
			ID string `json:"id"`
		} `json:"failures"`
		RequestedAt time.Time `json:"requestedAt"`
		EndedAt     time.Time `json:"endedAt"`
	}
	waitingBody struct {
		ID      string `json:"id"`
		Status  string `json:"status"`
		Waiting *struct {
			Step          string    `json:"step"`
			Reason        string    `json:"reason"`
			Attempts      int       `json:"attempts"`
			NextAttemptAt time.Time `json:"nextAttemptAt"`
			Since         time.Time `json:"since"`
			AgeSeconds    *int64    `json:"ageSeconds"`
		} `json:"waiting"`
	}
	historyBody struct {
		Timeline []struct {
			Type string `json:"type"`
			By   string `json:"by"`
			Note string `json:"note"`
		} `json:"timeline"`
	}
)

const letters = "/v1/ops/dead-letters"

// search reads all pages of a search in a list for staff.
func search[T any](c *client, path string, query url.Values) []T {
	c.t.Helper()
	var items []T
	for {
		var page listBody[T]
		c.get(path+"?"+query.Encode(), &page)
		items = append(items, page.Items...)
		if page.Next == "" {
			return items
		}
		query.Set("cursor", page.Next)
	}
}

// publishRaw publishes any bytes through a service's sidecar.
func (s *stack) publishRaw(t *testing.T, service, topic, contentType, body string) {
	t.Helper()
	address := s.status(t, service+"-daprd").URL + "/v1.0/publish/pubsub/" + topic
	request, err := http.NewRequest(http.MethodPost, address, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("dapr-api-token", s.APIToken(service))
	request.Header.Set("Content-Type", contentType)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusNoContent {
		t.Fatalf("publishing answers %s", response.Status)
	}
}

// TestPoisonOfEveryKindLands publishes messages of every form that no consumer can handle, through a real sidecar. Each
// message is stored once, can be found by its attributes, is shown completely, and is discarded with a reason that
// stays.
func TestPoisonOfEveryKindLands(t *testing.T) {
	s := shared(t)
	sh := open(t, s)
	since := time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)
	fact := func(typ, data string) event.Event {
		subject := id.Random{}.New()
		return event.Event{
			ID: event.ID("orders", subject, 1), Type: typ, Source: "orders", Subject: subject, Sequence: 1, Time: time.Now().UTC(), Data: []byte(data),
		}
	}
	for _, kind := range []struct {
		name, reason string
		publish      func(t *testing.T) (mark string) // mark is in this message only
		query        url.Values
		isEvent      bool
	}{
		{name: "a payload against its contract", reason: "malformed payload", isEvent: true, query: url.Values{"type": {"orders.confirmed.v1"}, "topic": {"orders"}},
			publish: func(t *testing.T) string {
				e := fact("orders.confirmed.v1", `{"userId":7}`)
				s.publish(t, "orders", "orders", e)
				return e.Subject
			}},
		{name: "a version from the future", reason: "unknown version", isEvent: true, query: url.Values{"type": {"orders.confirmed.v9"}, "reason": {"UNKNOWN version"}},
			publish: func(t *testing.T) string {
				e := fact("orders.confirmed.v9", `{"orderId":"x"}`)
				s.publish(t, "orders", "orders", e)
				return e.Subject
			}},
		{name: "an event without what ours have", reason: "malformed event", query: url.Values{"reason": {"malformed event"}},
			publish: func(t *testing.T) string {
				mark := id.Random{}.New()
				s.publishRaw(t, "payments", "payments", "application/cloudevents+json", `{"specversion":"1.0","id":"`+mark+`","type":"Not Ours","source":"x","data":{}}`)
				return mark
			}},
		{name: "text", reason: "malformed event", query: url.Values{"consumer": {"notifications"}},
			publish: func(t *testing.T) string {
				mark := id.Random{}.New()
				s.publishRaw(t, "users", "users", "text/plain", "hello "+mark)
				return mark
			}},
	} {
		t.Run(kind.name, func(t *testing.T) {
			mark := kind.publish(t)
			kind.query.Set("status", "open")
			kind.query.Set("since", since)
			var found deadLetterBody
			eventually(t, "the message to land", func() error {
				all := search[deadLetterBody](sh.admin, letters, kind.query)
				all = slices.DeleteFunc(all, func(l deadLetterBody) bool { return !strings.Contains(l.Payload, mark) })
				if len(all) != 1 {
					return errorf("%d letters", len(all))
				}
				sh.admin.get(letters+"/"+all[0].ID, &found)
				if len(found.History) < 2 { // the worker tries it once after it was stored
					return errorf("its history is %+v", found.History)
				}
				return nil
			})
			path := letters + "/" + found.ID
			sh.admin.must(http.StatusUnprocessableEntity, http.MethodPost, path+"/replay", map[string]any{"reason": "hope"}, nil)
			sh.admin.must(http.StatusBadRequest, http.MethodPost, path+"/discard", map[string]any{"reason": ""}, nil)
			var one deadLetterBody
			for range 2 { // discarding again changes nothing
				sh.admin.must(http.StatusOK, http.MethodPost, path+"/discard", map[string]any{"reason": "made up by a test"}, nil)
			}
			sh.admin.must(http.StatusConflict, http.MethodPost, path+"/replay", nil, nil)
			sh.admin.get(path, &one)
			if !strings.Contains(one.Reason, kind.reason) || one.Consumer != "notifications" || one.Status != "discarded" || one.Note != "made up by a test" ||
				(one.Event != nil) != kind.isEvent || one.Attempts < 2 {
				t.Errorf("the letter is %+v", one)
			}
			var did []string
			for _, a := range one.History {
				did = append(did, a.Kind)
			}
			if want := []string{"received", "replay_failed", "replay_failed", "discarded"}; !slices.Equal(did, want) {
				t.Errorf("its history is %v; want %v", did, want)
			}
			last := one.History[len(one.History)-1]
			if last.By != one.DecidedBy || last.By == "" || last.Reason != one.Note {
				t.Errorf("it was discarded as %+v", last)
			}
			eventually(t, "a line of the audit", func() error {
				for _, line := range s.mention(t, found.ID) {
					if strings.Contains(line.Raw, `"audit"`) && strings.Contains(line.Raw, "dead_letter.discarded") && strings.Contains(line.Raw, last.By) {
						return nil
					}
				}
				return errorf("no line of the audit reports it")
			})
		})
	}
	// Later events are delivered.
	sh.customer(100).buys(sh.product(100, 1), 1).expect(t, "confirmed", "")
}

// unreadable makes a customer's inbox unreadable, so that none of their events can be stored until repair is called.
func (c *customer) unreadable() (repair func()) {
	c.t.Helper()
	told := 1
	if len(c.deposits) > 0 {
		told++
	}
	eventually(c.t, "the inbox to be at rest", func() error {
		if notices := all[noticeBody](c.client, "/v1/notifications"); len(notices) < told {
			return errorf("%d notices", len(notices))
		}
		return nil
	})
	store, key := c.shop.stack.documents(c.t, "notifications"), "inbox/"+c.id
	var entries any
	store.Change(key, func(d map[string]any) { entries, d["entries"] = d["entries"], "unreadable" })
	repair = sync.OnceFunc(func() {
		store.Change(key, func(d map[string]any) { d["entries"] = entries })
	})
	c.t.Cleanup(repair)
	return repair
}

// lost waits until n events of a customer with an unreadable inbox are dead letters, and returns these.
func (c *customer) lost(n int) []deadLetterBody {
	c.t.Helper()
	var found []deadLetterBody
	eventually(c.t, "the dead letters of "+c.id, func() error {
		found = search[deadLetterBody](c.shop.admin, letters, url.Values{"status": {"open"}, "reason": {"inbox/" + c.id}, "limit": {"7"}})
		if len(found) != n {
			return errorf("%d of %d", len(found), n)
		}
		return nil
	})
	return found
}

// TestADeadLetterIsReplayedAfterRepair has a consumer refuse an event until something is repaired. The books, checked
// at the end, show that the customer got exactly one notice.
func TestADeadLetterIsReplayedAfterRepair(t *testing.T) {
	sh := open(t, shared(t))
	c := sh.customer(0)
	repair := c.unreadable()
	c.deposit(500)
	letter := c.lost(1)[0]
	path := letters + "/" + letter.ID
	if letter.Type != "payments.deposited.v1" || !strings.Contains(letter.Reason, "decoding") {
		t.Errorf("the letter is %+v", letter)
	}
	sh.admin.must(http.StatusUnprocessableEntity, http.MethodPost, path+"/replay", map[string]any{"reason": "too early"}, nil)
	repair()
	key, body := idempotent(id.Random{}.New()), map[string]any{"reason": "the inbox is repaired"}
	for range 3 {
		var replayed deadLetterBody
		sh.admin.must(http.StatusOK, http.MethodPost, path+"/replay", body, &replayed, key)
		if replayed.Status != "replayed" || replayed.DecidedBy == "" {
			t.Errorf("replayed %+v", replayed)
		}
	}
	reused := sh.admin.must(http.StatusUnprocessableEntity, http.MethodPost, path+"/replay", map[string]any{"reason": "another"}, nil, key)
	if p := reused.problem(t); !strings.Contains(p.Type, "idempotency-key-reused") {
		t.Errorf("the key again answers %s", reused)
	}
	sh.admin.must(http.StatusOK, http.MethodPost, path+"/replay", nil, nil) // also without a key
	sh.admin.must(http.StatusConflict, http.MethodPost, path+"/discard", map[string]any{"reason": "too late"}, nil)
	var one deadLetterBody
	sh.admin.get(path, &one)
	if n := len(one.History); n != 3 || one.History[2].Kind != "replayed" || one.History[2].Reason != "the inbox is repaired" {
		t.Errorf("its history is %+v", one.History)
	}
}

// TestAllDeadLettersOfAFilterAreReplayed has 30 events refused, then replays all of them at a limited rate while the
// service that replays them is killed. The books show that each led to one notice.
func TestAllDeadLettersOfAFilterAreReplayed(t *testing.T) {
	s := shared(t)
	sh := open(t, s)
	const events, perSecond = 30, 5
	c, other := sh.customer(0), sh.customer(0)
	repair, repairOther := c.unreadable(), other.unreadable()
	for range events {
		c.deposit(100)
	}
	other.deposit(100)
	c.lost(events)
	untouched := other.lost(1)[0]
	repair()

	request := map[string]any{"filter": map[string]any{"reason": "inbox/" + c.id}, "perSecond": perSecond, "reason": "repaired"}
	key := idempotent(id.Random{}.New())
	var batch, again batchBody
	got := sh.admin.must(http.StatusAccepted, http.MethodPost, letters+"/replay", request, &batch, key)
	path := got.header.Get("Location")
	if path != letters+"/replays/"+batch.ID || batch.Status != "running" {
		t.Fatalf("%s with location %q", got, path)
	}
	sh.admin.must(http.StatusAccepted, http.MethodPost, letters+"/replay", request, &again, key)
	if again.ID != batch.ID {
		t.Errorf("the same request again made batch %s", again.ID)
	}
	progress := func(enough func() bool) func() error {
		return func() error {
			if err := sh.admin.try(path, &batch); err != nil {
				return err
			}
			if !enough() {
				return errorf("it is %+v", batch)
			}
			return nil
		}
	}
	eventually(t, "the batch to be under way", progress(func() bool { return batch.Done >= perSecond }))
	if batch.Status == "running" { // true unless this machine is very slow to ask
		s.kill(t, "notifications")
	}
	eventually(t, "the batch to finish", progress(func() bool { return batch.Status == "finished" }))
	if batch.Done != events || batch.Failed != 0 || len(batch.Failures) != 0 {
		t.Errorf("the batch is %+v", batch)
	}
	if took := batch.EndedAt.Sub(batch.RequestedAt); took < (events-1)/perSecond*time.Second {
		t.Errorf("%d letters at %d a second took %s", events, perSecond, took)
	}
	for _, l := range search[deadLetterBody](sh.admin, letters, url.Values{"status": {"replayed"}, "reason": {"inbox/" + c.id}}) {
		if l.DecidedBy == "" || l.LastFailure != "" {
			t.Errorf("a letter is %+v", l)
		}
	}
	var still deadLetterBody
	if sh.admin.get(letters+"/"+untouched.ID, &still); still.Status != "open" {
		t.Errorf("a letter outside of the filter is %+v", still)
	}
	found := search[batchBody](sh.admin, letters+"/replays", url.Values{"limit": {"100"}})
	if !slices.ContainsFunc(found, func(b batchBody) bool { return b.ID == batch.ID && b.Status == "finished" }) {
		t.Errorf("the list of batches is %+v", found)
	}
	sh.admin.must(http.StatusConflict, http.MethodPost, path+"/cancel", nil, nil)
	repairOther()
	sh.admin.must(http.StatusOK, http.MethodPost, letters+"/"+untouched.ID+"/replay", nil, nil)
}

// TestDeadLettersAreDiscardedByFilter discards all dead letters of a filter, and stops a batch.
func TestDeadLettersAreDiscardedByFilter(t *testing.T) {
	s := shared(t)
	sh := open(t, s)
	const n = 12
	typ := "orders.confirmed.v" + fmt.Sprint(100+time.Now().UnixNano()%800) // used only by this test
	for range n {
		subject := id.Random{}.New()
		s.publish(t, "orders", "orders", event.Event{
			ID: event.ID("orders", subject, 1), Type: typ, Source: "orders", Subject: subject, Sequence: 1, Time: time.Now().UTC(), Data: []byte(`{}`),
		})
	}
	count := func(status string) int {
		return len(search[deadLetterBody](sh.admin, letters, url.Values{"type": {typ}, "status": {status}}))
	}
	eventually(t, "the letters", func() error {
		if got := count("open"); got != n {
			return errorf("%d of %d", got, n)
		}
		return nil
	})
	var batch batchBody
	filter := map[string]any{"type": typ}
	// None of these can be replayed: they are reported and stay open. At one a second there is time to stop the batch.
	sh.admin.must(http.StatusAccepted, http.MethodPost, letters+"/replay", map[string]any{"filter": filter, "perSecond": 1}, &batch, idempotent(id.Random{}.New()))
	replay := letters + "/replays/" + batch.ID
	eventually(t, "a failure", func() error {
		if sh.admin.get(replay, &batch); batch.Failed == 0 {
			return errorf("it is %+v", batch)
		}
		return nil
	})
	for range 2 {
		sh.admin.must(http.StatusOK, http.MethodPost, replay+"/cancel", nil, &batch)
	}
	if batch.Status != "cancelled" || batch.EndedBy == "" || batch.Done != 0 {
		t.Errorf("the batch is %+v", batch)
	}
	// A discard that is stopped at once, unless it was already finished.
	sh.admin.must(http.StatusAccepted, http.MethodPost, letters+"/discard", map[string]any{"filter": filter, "perSecond": 1, "reason": "made up by a test"}, &batch, idempotent(id.Random{}.New()))
	sh.admin.must(http.StatusOK, http.MethodPost, letters+"/discards/"+batch.ID+"/cancel", nil, &batch)
	sh.admin.must(http.StatusBadRequest, http.MethodPost, letters+"/discard", map[string]any{"filter": filter}, nil, idempotent(id.Random{}.New()))
	sh.admin.must(http.StatusAccepted, http.MethodPost, letters+"/discard", map[string]any{"filter": filter, "reason": "made up by a test"}, &batch, idempotent(id.Random{}.New()))
	eventually(t, "the discard to finish", func() error {
		if sh.admin.get(letters+"/discards/"+batch.ID, &batch); batch.Status != "finished" {
			return errorf("it is %+v", batch)
		}
		return nil
	})
	if open, discarded := count("open"), count("discarded"); open != 0 || discarded != n {
		t.Errorf("%d are open, %d discarded", open, discarded)
	}
	if found := search[batchBody](sh.admin, letters+"/discards", url.Values{}); !slices.ContainsFunc(found, func(b batchBody) bool { return b.ID == batch.ID }) {
		t.Errorf("the list of discards is %+v", found)
	}
}

// TestWaitingOrders stops payments. Staff see which orders wait, for what and how long. They retry one and cancel
// another. Both timelines contain who did it and why, which only staff can read.
func TestWaitingOrders(t *testing.T) {
	s := shared(t)
	sh := open(t, s)
	p := sh.product(100, 10)
	c := sh.customer(1000)
	s.crash(t, "payments")
	retried, _ := c.place(items(p, 1))
	cancelled, _ := c.place(items(p, 2))
	waiting := func(query url.Values, orders ...string) map[string]waitingBody {
		t.Helper()
		found := make(map[string]waitingBody)
		eventually(t, fmt.Sprintf("orders in the list of %v", query), func() error {
			clear(found)
			query.Del("cursor")
			for _, o := range search[waitingBody](sh.admin, "/v1/ops/orders", query) {
				found[o.ID] = o
			}
			for _, o := range orders {
				if _, ok := found[o]; !ok {
					return errorf("%d orders, and not %s", len(found), o)
				}
			}
			return nil
		})
		return found
	}
	both := []string{retried.ID, cancelled.ID}
	for _, o := range waiting(url.Values{"waiting": {"2s"}, "step": {"authorize"}, "limit": {"1"}}, both...) {
		if w := o.Waiting; w == nil || w.Step != "authorize" || w.Attempts < 1 || w.Reason == "" || w.AgeSeconds == nil || *w.AgeSeconds < 2 ||
			w.Since.IsZero() || w.NextAttemptAt.Before(w.Since) || o.Status != "reserved" {
			t.Errorf("an order waits as %+v, %+v", o, o.Waiting)
		}
	}
	for _, none := range []url.Values{{"waiting": {"1h"}}, {"waiting": {""}, "step": {"capture"}}, {"waiting": {"1s"}, "status": {"capturing"}}} {
		if found := waiting(none); len(found) != 0 {
			t.Errorf("%v finds %v", none, found)
		}
	}
	sh.admin.must(http.StatusBadRequest, http.MethodGet, "/v1/ops/orders?waiting=long", nil, nil)
	c.must(http.StatusForbidden, http.MethodPost, "/v1/ops/orders/"+retried.ID+"/retry", nil, nil)
	c.must(http.StatusForbidden, http.MethodPost, "/v1/ops/orders/"+cancelled.ID+"/cancel", map[string]any{"reason": "x"}, nil)

	sh.admin.must(http.StatusBadRequest, http.MethodPost, "/v1/ops/orders/"+cancelled.ID+"/cancel", map[string]any{}, nil)
	for range 2 {
		sh.admin.must(http.StatusAccepted, http.MethodPost, "/v1/ops/orders/"+cancelled.ID+"/cancel", map[string]any{"reason": "the customer called"}, nil)
	}
	waiting(url.Values{"waiting": {"0s"}, "status": {"cancelling"}, "step": {"undo authorize"}}, cancelled.ID)
	// The pause between two attempts may end at any moment. Then a retry has no effect.
	eventually(t, "a retry that brings something forward", func() error {
		sh.admin.must(http.StatusAccepted, http.MethodPost, "/v1/ops/orders/"+retried.ID+"/retry", map[string]any{"reason": "payments is coming"}, nil)
		return noted(sh.admin, retried.ID, "retried", "payments is coming")
	})
	s.raise(t, "payments")
	again, err := sh.admin.call(http.MethodPost, "/v1/ops/orders/"+retried.ID+"/retry", nil, idempotent(id.Random{}.New()))
	if err != nil || again.status != http.StatusAccepted && !strings.Contains(string(again.body), "order-ended") { // the driver's own attempt may come first
		t.Errorf("a retry by staff is answered %s, %v", again, err)
	}
	c.await(retried.ID).expect(t, "confirmed", "")
	c.await(cancelled.ID).expect(t, "cancelled", "cancelled_by_staff")

	if err := noted(sh.admin, cancelled.ID, "cancelling", "the customer called"); err != nil {
		t.Error(err)
	}
	if err := noted(c.client, cancelled.ID, "cancelling", "the customer called"); err == nil {
		t.Error("the customer reads what staff noted")
	}
	refused := sh.admin.must(http.StatusConflict, http.MethodPost, "/v1/ops/orders/"+retried.ID+"/cancel", map[string]any{"reason": "x"}, nil).problem(t)
	if !strings.HasSuffix(refused.Type, ":order-past-cancelling") || !strings.Contains(refused.Detail, "/v1/orders/"+retried.ID+"/refund") {
		t.Errorf("cancelling what is paid answers %+v", refused)
	}
	sh.admin.must(http.StatusConflict, http.MethodPost, "/v1/ops/orders/"+retried.ID+"/retry", nil, nil)
	sh.admin.must(http.StatusNotFound, http.MethodPost, "/v1/ops/orders/"+id.Random{}.New()+"/retry", nil, nil)
	for _, o := range both {
		lines := s.mention(t, o)
		if !slices.ContainsFunc(lines, func(l launcher.LogLine) bool {
			return strings.Contains(l.Raw, `"audit"`) && strings.Contains(l.Raw, `"actor"`)
		}) {
			t.Errorf("no line of the audit reports %s", o)
		}
	}
}

// TestTheAlarmOfAnOrderPastThePivot holds an order where nobody can cancel it. A gauge and the log report it to
// operators until it has ended.
func TestTheAlarmOfAnOrderPastThePivot(t *testing.T) {
	s := shared(t)
	sh := open(t, s)
	c := sh.customer(1000)
	order := atCommit(t, c, items(sh.product(100, 5), 1))
	overdue := func() bool {
		return slices.ContainsFunc(s.replicas(t, "orders"), func(replica string) bool { return s.gauge(t, replica, "caravan_orders_overdue") > 0 })
	}
	eventually(t, "the alarm in the metrics", func() error {
		if !overdue() {
			return errorf("no replica has one")
		}
		return nil
	})
	// The log reports at most once a minute, so it may just have reported another test's order.
	if err := within(2*waitLimit, func() error {
		for _, line := range s.mention(t, "orders past the pivot wait too long") {
			if strings.Contains(line.Raw, order) && strings.Contains(line.Raw, `"step":"capture"`) {
				return nil
			}
		}
		return errorf("no line of the log reports it")
	}); err != nil {
		t.Error(err)
	}
	s.raise(t, "products")
	c.await(order).expect(t, "confirmed", "")
	eventually(t, "the alarm to be over", func() error {
		if overdue() {
			return errorf("it is not")
		}
		return nil
	})
}

// gauge reads a gauge without labels from the metrics of a process.
func (s *stack) gauge(t *testing.T, process, name string) float64 {
	t.Helper()
	raw, err := fetch(t.Context(), s.status(t, process).URL+"/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			value, err := strconv.ParseFloat(text, 64)
			if err != nil {
				t.Fatalf("gauge %s is %q", name, text)
			}
			return value
		}
	}
	t.Fatalf("%s has no gauge %s", process, name)
	return 0
}

// noted checks an order's timeline for an entry with who and why, as a caller sees it.
func noted(c *client, order, typ, note string) error {
	var h historyBody
	if err := c.try("/v1/orders/"+order, &h); err != nil {
		return err
	}
	for _, m := range h.Timeline {
		if m.Type == typ && m.By != "" && m.Note == note {
			return nil
		}
	}
	return errorf("the timeline is %+v", h.Timeline)
}
