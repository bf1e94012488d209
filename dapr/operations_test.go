package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"caravan/dapr/client"
)

const (
	letterJSON = `{"id":"l1","consumer":"notifications","topic":"orders","type":"orders.confirmed.v1","subject":"o1","reason":"bro\tken",
		"firstSeen":"2026-03-01T12:00:00Z","status":"open","attempts":3,"payload":"{\"a\":1}","payloadTruncated":false,"size":7,
		"payloadEncoding":"text","history":[{"kind":"received","at":"2026-03-01T12:00:00Z","by":"notifications"},
		{"kind":"replay_failed","at":"2026-03-01T12:00:01Z","by":"u1","reason":"repaired","outcome":"still broken"}]}`
	batchJSON = `{"id":"b1","action":"replay","status":"finished","filter":{},"perSecond":7,"requestedBy":"u1","requestedAt":"2026-03-01T12:00:00Z",
		"scanned":3,"done":2,"failed":1,"failures":[{"id":"l9","reason":"poison"}]}`
	waitingJSON = `{"items":[{"id":"o1","status":"reserved","lines":[],"placedAt":"2026-03-01T12:00:00Z","updatedAt":"2026-03-01T12:00:00Z",
		"waiting":{"step":"authorize","reason":"payments: not available","attempts":4,"nextAttemptAt":"2026-03-01T12:00:00Z","since":"2026-03-01T12:00:00Z","ageSeconds":90}}]}`
)

// office is an API that gives the answers of the test, and records its requests.
func office(t *testing.T, answers map[string]string) (staff *client.Client, asked func() string) {
	t.Helper()
	var log strings.Builder
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body bytes.Buffer
		_, _ = body.ReadFrom(r.Body)
		log.WriteString(r.Method + " " + r.URL.RequestURI() + " " + body.String() + "\n")
		answer, ok := answers[r.Method+" "+r.URL.Path]
		w.Header().Set("Content-Type", "application/json")
		switch {
		case !ok:
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusNotFound)
			answer = `{"type":"urn:caravan:problem:not-found","title":"x","status":404}`
		case r.Method == http.MethodPost && (strings.HasSuffix(r.URL.Path, "/dead-letters/replay") || strings.HasPrefix(r.URL.Path, "/v1/ops/orders") || strings.HasSuffix(r.URL.Path, "/resend")):
			w.WriteHeader(http.StatusAccepted)
		}
		_, _ = w.Write([]byte(answer))
	}))
	t.Cleanup(server.Close)
	return client.New(server.URL, nil), log.String
}

// operate runs a command with its flags against an API, after the log-in.
func operate(t *testing.T, chosen command, staff *client.Client, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	c := &cli{out: &out, err: &out}
	flags, err := c.parse(chosen, args)
	if err != nil {
		t.Fatal(err)
	}
	understand := c.lettersAction
	switch chosen.name {
	case "orders":
		understand = c.ordersAction
	case "notifications":
		understand = c.messagesAction
	}
	var act func(context.Context, *client.Client) error
	if act, err = understand(flags.Args()); err != nil {
		t.Fatal(err)
	}
	err = act(t.Context(), staff)
	return out.String(), err
}

func TestDeadLettersOnTheCommandLine(t *testing.T) {
	staff, asked := office(t, map[string]string{
		"GET /v1/ops/dead-letters":              `{"items":[` + letterJSON + `]}`,
		"GET /v1/ops/dead-letters/l1":           letterJSON,
		"POST /v1/ops/dead-letters/l1/replay":   strings.Replace(letterJSON, `"open"`, `"replayed"`, 1),
		"POST /v1/ops/dead-letters/l1/discard":  strings.Replace(letterJSON, `"open"`, `"discarded"`, 1),
		"POST /v1/ops/dead-letters/replay":      strings.Replace(batchJSON, "finished", "running", 1),
		"GET /v1/ops/dead-letters/replays/b1":   batchJSON,
		"GET /v1/ops/dead-letters/replays":      `{"items":[` + batchJSON + `]}`,
		"GET /v1/ops/dead-letters/discards":     `{"items":[]}`,
		"POST /v1/ops/dead-letters/discards/b2": "",
	})
	for _, c := range []struct {
		args  []string
		says  []string
		asks  string
		fails bool
	}{
		{args: []string{"--topic", "orders", "--contains", "bro"}, says: []string{"ID", "l1  open", "notifications", "bro ken"}, asks: "GET /v1/ops/dead-letters?limit=20&reason=bro&status=open&topic=orders"},
		{args: []string{"list", "--status", "any", "--since", "2026-01-01T00:00:00Z", "--limit", "7"}, asks: "GET /v1/ops/dead-letters?limit=7&since=2026-01-01T00%3A00%3A00Z "},
		{args: []string{"show", "l1"}, says: []string{"l1 is open after 3 attempts", "by u1, because repaired: still broken", "\"a\": 1"}},
		{args: []string{"show", "l2"}, fails: true},
		{args: []string{"replay", "l1"}, says: []string{"l1 is replayed"}, asks: "POST /v1/ops/dead-letters/l1/replay {}"},
		{args: []string{"discard", "l1", "--reason", "of no use"}, says: []string{"l1 is discarded"}, asks: `POST /v1/ops/dead-letters/l1/discard {"reason":"of no use"}`},
		{args: []string{"replay", "--all", "--type", "a.b.v1", "--per-second", "7"}, fails: true, // because one dead letter failed
			says: []string{"Batch b1 runs at 7 a second", "3 looked at, 2 done, 1 failed", "l9  poison"}, asks: `{"filter":{"type":"a.b.v1"},"perSecond":7}`},
		{args: []string{"batches"}, says: []string{"b1  replay  finished"}},
		{args: []string{"cancel", "b9"}, fails: true, asks: "POST /v1/ops/dead-letters/discards/b9/cancel"},
	} {
		out, err := operate(t, deadLettersCommand(), staff, c.args...)
		if (err != nil) != c.fails {
			t.Errorf("%v ended with %v", c.args, err)
		}
		for _, want := range c.says {
			if !strings.Contains(out, want) {
				t.Errorf("%v said %q; want %q", c.args, out, want)
			}
		}
		if !strings.Contains(asked(), c.asks) {
			t.Errorf("%v asked %q; want %q", c.args, asked(), c.asks)
		}
	}
	out, err := operate(t, deadLettersCommand(), staff, "--json")
	var letters []client.DeadLetter
	if err != nil || json.Unmarshal([]byte(out), &letters) != nil || len(letters) != 1 {
		t.Errorf("as JSON: %q, %v", out, err)
	}
}

func TestOrdersOnTheCommandLine(t *testing.T) {
	staff, asked := office(t, map[string]string{
		"GET /v1/ops/orders":            waitingJSON,
		"POST /v1/ops/orders/o1/retry":  `{"id":"o1","status":"reserved"}`,
		"POST /v1/ops/orders/o1/cancel": `{"id":"o1","status":"cancelling"}`,
	})
	for _, c := range []struct{ args, says, asks string }{
		{"waiting --longer 90s --step authorize", "o1  reserved  authorize  1m30s  4      now", "GET /v1/ops/orders?limit=50&step=authorize&waiting=1m30s"},
		{"retry o1", "o1 is tried again; it is reserved", "POST /v1/ops/orders/o1/retry {}"},
		{"cancel o1 --reason called", "o1 is being cancelled; it is cancelling", `POST /v1/ops/orders/o1/cancel {"reason":"called"}`},
	} {
		out, err := operate(t, ordersCommand(), staff, strings.Fields(c.args)...)
		if err != nil || !strings.Contains(out, c.says) || !strings.Contains(asked(), c.asks) {
			t.Errorf("%s said %q, asked %q: %v", c.args, out, asked(), err)
		}
	}
	if _, err := operate(t, ordersCommand(), staff, "retry", "o2"); err == nil || !strings.Contains(err.Error(), "there is no order o2") {
		t.Errorf("err = %v", err)
	}
}

func TestNotificationsOnTheCommandLine(t *testing.T) {
	const message = `{"id":"m.0","channel":"email","kind":"order-confirmed","status":"failed","userId":"u1","eventId":"orders/o1/5","attempts":15,"resends":0,` +
		`"reason":"550 no such mailbox","occurredAt":"2026-03-01T12:00:00Z","createdAt":"2026-03-01T12:00:01Z"}`
	staff, asked := office(t, map[string]string{
		"GET /v1/ops/notifications":             `{"items":[` + message + `]}`,
		"POST /v1/ops/notifications/m.0/resend": strings.Replace(message, "failed", "waiting", 1),
	})
	for _, c := range []struct{ args, says, asks string }{
		{"list --status failed --kind order-confirmed --since 2026-03-01T00:00:00Z", "m.0  email    order-confirmed  failed  15     2026-03-01T12:00:01Z  -     550 no such mailbox",
			"GET /v1/ops/notifications?kind=order-confirmed&limit=50&since=2026-03-01T00%3A00%3A00Z&status=failed"},
		{"--channel email --user u1", "m.0  email", "channel=email&limit=50&since="},
		{"resend m.0", "m.0 is sent again; it is waiting now", "POST /v1/ops/notifications/m.0/resend"},
	} {
		out, err := operate(t, notificationsCommand(), staff, strings.Fields(c.args)...)
		if err != nil || !strings.Contains(out, c.says) || !strings.Contains(asked(), c.asks) {
			t.Errorf("%s said %q, asked %q: %v", c.args, out, asked(), err)
		}
	}
	if _, err := operate(t, notificationsCommand(), staff, "resend", "m.1"); err == nil || !strings.Contains(err.Error(), "there is no message m.1") {
		t.Errorf("err = %v", err)
	}
}

func TestMessagesCannotCommandTheTerminal(t *testing.T) {
	for _, d := range []client.DeadLetterDetail{
		{Payload: "\x1b[2J", PayloadEncoding: "text"}, {Payload: "G1syShj/", PayloadEncoding: "base64"}, {Payload: `"\u001b[2J"`, PayloadEncoding: "text"},
	} {
		if got := message(d) + plain(d.Payload); strings.ContainsRune(got, 0x1b) {
			t.Errorf("it shows %q", got)
		}
	}
}

func TestMoments(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{"": {}, "30m": now.Add(-30 * time.Minute), "2026-01-02T03:04:05Z": time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} {
		if got, err := moment("since", text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q is %v, %v", text, got, err)
		}
	}
	var usage *usageError
	if _, err := moment("since", "-5m", now); !errors.As(err, &usage) {
		t.Errorf("err = %v", err)
	}
}

func TestWhatIsNotThereIsSaidInSentences(t *testing.T) {
	staff, _ := office(t, map[string]string{"GET /v1/ops/orders": `{"items":[]}`, "GET /v1/ops/dead-letters": `{"items":[]}`})
	for _, test := range []struct {
		command command
		args    string
		want    string
	}{
		{ordersCommand(), "waiting", "No order has been waiting for 1m or longer.\n"},
		{ordersCommand(), "waiting --longer 0s", "No order is waiting.\n"},
		{ordersCommand(), "waiting --longer 2h --step reserve", "No such order has been waiting for 2h or longer.\n"},
		{ordersCommand(), "waiting --longer 1h30s", "No order has been waiting for 1h0m30s or longer.\n"},
		{deadLettersCommand(), "", "There are no open dead letters.\n"},
		{deadLettersCommand(), "list --status discarded", "There are no discarded dead letters.\n"},
		{deadLettersCommand(), "list --status any", "There are no dead letters.\n"},
		{deadLettersCommand(), "list --status any --topic orders", "There are no such dead letters.\n"},
		{deadLettersCommand(), "list --since 30m", "There are no such open dead letters.\n"},
	} {
		if out, err := operate(t, test.command, staff, strings.Fields(test.args)...); err != nil || out != test.want {
			t.Errorf("%s %s said %q, %v; want %q", test.command.name, test.args, out, err, test.want)
		}
	}
}

func TestTheAuditIsShownInSentences(t *testing.T) {
	report := client.Audit{Counts: map[string]int64{"orders.confirmed": 1, "payments.accounts": 1, "products.products": 2, "notifications.letters.open": 1}}
	report.Invariants = append(report.Invariants, client.AuditInvariant{Service: "payments", Invariant: "refunds"})
	for verbose, want := range map[bool]string{
		false: "1 more invariant found nothing there to check; --verbose names them.\n", true: "Nothing there to check: refunds (payments)\n",
	} {
		var out bytes.Buffer
		c := &cli{out: &out}
		c.options.audit.verbose = verbose
		err := c.showAudit(report)
		counts := "1 order ended, 0 under way; 2 products with 0 units on hand; 1 wallet; ledger sums to 0; 0 notices\n1 dead letter open; 0 invariants checked 0 times\n"
		if err != nil || out.String() != counts+want+"Every invariant holds.\n" {
			t.Errorf("it said %q, %v", out.String(), err)
		}
	}
}

// guarded is a buffer for concurrent reads and writes.
type guarded struct {
	mu   sync.Mutex
	text strings.Builder
}

func (g *guarded) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.text.Write(p)
}

func (g *guarded) String() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.text.String()
}

func TestALongAuditSaysThatItIsUnderWay(t *testing.T) {
	t.Setenv("STAFF_PASSWORD", "right")
	var said guarded
	var audits atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost:
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write([]byte(`{"accessToken":"t","expiresIn":900}`))
		case said.String() == "" && r.Context().Err() == nil: // not complete until the command has printed something
			audits.Add(1)
			time.Sleep(20 * time.Millisecond)
			_, _ = w.Write([]byte(`{"complete":false}`))
		default:
			_, _ = w.Write([]byte(auditJSON))
		}
	}))
	t.Cleanup(server.Close)
	c := &cli{out: io.Discard, err: &said}
	if status := c.main(t.Context(), []string{"audit", "--gateway", server.URL}); status != exitOK || !strings.HasPrefix(said.String(), "Still auditing") || audits.Load() == 0 {
		t.Errorf("status %d, said %q", status, said.String())
	}
	var quick guarded
	(&cli{err: &quick}).sayAfter(time.Hour, "no")()
	if quick.String() != "" {
		t.Errorf("what was quick said %q", quick.String())
	}
}
