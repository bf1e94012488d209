package records

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"caravan/dapr/client"
	"caravan/dapr/launcher"
	"caravan/dapr/records"
	"caravan/test/stacktest"
)

// TestRecords runs all on one stack.
func TestRecords(t *testing.T) {
	s := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	t.Run("one id finds all of an order with a retry", func(t *testing.T) { s.with(t).oneID(ctx) })
	t.Run("a line is found soon", func(t *testing.T) { s.with(t).soon(ctx) })
	t.Run("no secrets and no personal data", func(t *testing.T) { s.with(t).markers(ctx) })
	t.Run("kills lose and double no line", func(t *testing.T) { s.with(t).kills(ctx) })
	t.Run("who loses spans says so", func(t *testing.T) { s.with(t).losses(ctx) })
}

func (s *stack) with(t *testing.T) *stack {
	copied := *s
	copied.t = t
	return &copied
}

// oneID places an order while payments is down, so that it is tried again, and while the inbox of its customer cannot be read, so that
// its event becomes a dead letter, which is replayed. Then it finds all of it by its ids.
func (s *stack) oneID(ctx context.Context) {
	user := s.customer(ctx, "Ida", "ida@caravan.example", "correct horse 1")
	repair := s.unreadable(ctx, user)
	if err := s.Crash(ctx, "payments"); err != nil {
		s.t.Fatal(err)
	}
	order, cause, trace, err := s.place(ctx, user)
	if err != nil {
		s.t.Fatal(err)
	}
	waits := func(line launcher.LogLine) bool {
		return line.Message == "order waits" && line.Field("aggregate") == order
	}
	s.await("the order to wait", func() bool {
		lines, err := s.LogLines(waits)
		return err == nil && len(lines) > 0
	}, func() string { return order })
	if err := s.Raise("payments"); err != nil {
		s.t.Fatal(err)
	}
	if ended, err := user.AwaitOrder(ctx, order); err != nil || ended.Status != client.OrderStatusConfirmed {
		s.t.Fatalf("the order ended as %s, %v", ended.Status, err)
	}
	s.replay(ctx, user, cause, repair)
	lines := s.awaitSame()
	s.sameAsFiles(ctx, records.Query{Correlation: cause}, 12)
	s.finds(cause, "order waits", "dead letter kept", "dead letter handled")
	s.sameAsFiles(ctx, records.Query{Trace: trace}, 10)
	s.sameAsFiles(ctx, records.Query{Order: order}, 5)
	s.sameAsFiles(ctx, records.Query{Correlation: cause, Level: records.Warn}, 1)
	s.wholeTrace(ctx, cause, trace)
	s.t.Logf("%d lines are in files and store", lines)
}

// unreadable makes the inbox of a user unreadable until repair is called.
func (s *stack) unreadable(ctx context.Context, user *client.Client) (repair func()) {
	s.t.Helper()
	s.await("the inbox to be at rest", func() bool {
		inbox, err := user.ListNotifications(ctx, client.ListNotificationsParams{})
		return err == nil && len(inbox.Items) == 2 // welcome, deposit
	}, func() string { return "it has not two entries" })
	process, err := s.Process("notifications-daprd")
	if err != nil {
		s.t.Fatal(err)
	}
	who, err := user.GetOwnUser(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	store, key := stacktest.Documents{T: s.t, Address: process.URL, Token: s.APIToken()}, "inbox/"+string(who.ID)
	var entries any
	store.Change(key, func(d map[string]any) { entries, d["entries"] = d["entries"], "unreadable" })
	return func() { store.Change(key, func(d map[string]any) { d["entries"] = entries }) }
}

// replay waits until events of an order are dead letters, replays these after a repair, and waits for their entries in the inbox.
func (s *stack) replay(ctx context.Context, user *client.Client, cause string, repair func()) {
	s.t.Helper()
	letters := func() []client.DeadLetter {
		list, err := s.admin.OpsListDeadLetters(ctx, client.OpsListDeadLettersParams{Status: client.DeadLetterStatusOpen, Limit: 100})
		if err != nil {
			s.t.Fatal(err)
		}
		return slices.DeleteFunc(list.Items, func(l client.DeadLetter) bool { return l.CorrelationID != cause })
	}
	const events = 1 // order confirmed
	s.await("the dead letters", func() bool { return len(letters()) == events }, func() string { return fmt.Sprint(letters()) })
	repair()
	for _, letter := range letters() {
		if _, err := s.admin.OpsReplayDeadLetter(ctx, letter.ID, rand.Text(), client.DeadLetterReplay{Reason: "repaired"}); err != nil {
			s.t.Fatal(err)
		}
	}
	s.await("the entries of the order", func() bool {
		inbox, err := user.ListNotifications(ctx, client.ListNotificationsParams{})
		return err == nil && len(inbox.Items) == 2+events
	}, func() string { return "they are missing" })
}

// finds expects a correlation id to find lines with each of the messages.
func (s *stack) finds(cause string, messages ...string) {
	s.t.Helper()
	query := records.Query{Correlation: cause}
	rows := s.rows(query.LogsQL())
	for _, message := range messages {
		if !slices.ContainsFunc(rows, func(row records.Row) bool { return row.Message == message }) {
			s.t.Errorf("the correlation id finds no line %q", message)
		}
	}
}

// sameAsFiles waits until a query finds the same in the store and in the files, line by line.
func (s *stack) sameAsFiles(ctx context.Context, query records.Query, least int) {
	s.t.Helper()
	var got, want []string
	s.await("the same lines from files and store", func() bool {
		rows, err := s.store.Rows(ctx, query.LogsQL(), query.Since)
		if err != nil {
			s.t.Fatal(err)
		}
		lines, err := s.LogLines(func(line launcher.LogLine) bool {
			row := records.ParseLine(line.Process, line.Raw)
			return query.Match(&row)
		})
		if err != nil {
			s.t.Fatal(err)
		}
		got, want = nil, nil
		for _, row := range rows {
			got = append(got, row.Instance+" "+row.Text())
		}
		for _, line := range lines {
			want = append(want, line.Process+" "+records.Mask(line.Raw))
		}
		return len(want) >= least && slices.Equal(got, want)
	}, func() string {
		return fmt.Sprintf("%+v finds in the store\n%s\nand in the files\n%s", query, strings.Join(got, "\n"), strings.Join(want, "\n"))
	})
	s.t.Logf("%s: %d lines", query.LogsQL(), len(want))
}

// wholeTrace expects the spans of an order to be one tree, with spans of all that took part.
func (s *stack) wholeTrace(ctx context.Context, cause, trace string) {
	s.t.Helper()
	var spans []records.Row
	var problem string
	s.await("the whole trace", func() bool {
		traces, err := s.store.Values(ctx, records.TracesQL(cause), records.ColumnTrace, time.Time{})
		if err != nil || !slices.Contains(traces, trace) {
			problem = fmt.Sprintf("the traces are %v, %v, want %s", traces, err, trace)
			return false
		}
		if spans, err = s.store.Rows(ctx, records.SpansQL([]string{trace}), time.Time{}); err != nil {
			s.t.Fatal(err)
		}
		_, roots, orphans := connected(spans)
		problem = fmt.Sprintf("roots %v, orphans %v", roots, orphans)
		took := map[string]bool{}
		for _, span := range spans {
			took[span.App] = true
			took[span.Instance] = true
		}
		for _, name := range []string{"gateway", "orders", "products", "payments", "notifications", "gateway-daprd", "orders-daprd", "payments-daprd"} {
			if !took[name] {
				problem += ", no span of " + name
				return false
			}
		}
		return len(roots) == 1 && roots[0].Instance == "gateway" && len(orphans) == 0
	}, func() string { return problem })
	var drawn bytes.Buffer
	if err := records.Waterfall(&drawn, spans, 140, false); err != nil || strings.Count(drawn.String(), "\n") < 10 {
		s.t.Errorf("the waterfall is\n%s", drawn.String())
	}
	s.t.Logf("%d spans:\n%s", len(spans), drawn.String())
}

// soon measures the time between a line and its answer by the store.
func (s *stack) soon(ctx context.Context) {
	var slowest time.Duration
	for range 5 {
		var header http.Header
		if _, err := s.admin.ListProducts(client.WithHeader(ctx, &header), client.ListProductsParams{Limit: 1}); err != nil {
			s.t.Fatal(err)
		}
		began := time.Now()
		query := records.Query{Correlation: header.Get("X-Correlation-Id"), App: "gateway"}
		s.await("the line of a request", func() bool { return len(s.rows(query.LogsQL())) > 0 }, func() string { return query.LogsQL() })
		slowest = max(slowest, time.Since(began))
	}
	s.t.Logf("the slowest of 5 lines was found after %s", slowest.Round(time.Millisecond))
	if slowest > 10*time.Second {
		s.t.Errorf("a line was found after %s; on an idle machine it is less than 3 s", slowest)
	}
}

// markers puts secrets and personal data into every input, and looks for them in everything that the store has.
func (s *stack) markers(ctx context.Context) {
	const name, email, password = "Marker Mustermann", "marker-address@marker.example", "marker-passphrase-7"
	user := s.customer(ctx, name, email, password)
	gateway := client.New(s.GatewayURL(), nil)
	_, _ = gateway.Login(ctx, email, password+"-wrong")
	_, _ = gateway.RegisterUser(ctx, client.Registration{Email: email, Password: password, Name: name})
	session := user.Session()
	for _, path := range []string{"/v1/users/" + email, "/v1/nothing/" + email + "?password=" + password + "&token=" + session.AccessToken, "/v1/products?limit=" + password} {
		for _, token := range []string{session.AccessToken, "marker-passphrase-7"} {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.GatewayURL()+path, nil)
			if err != nil {
				s.t.Fatal(err)
			}
			request.Header.Set("Authorization", "Bearer "+token)
			request.Header.Set("User-Agent", name)
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				s.t.Fatal(err)
			}
			_ = response.Body.Close()
		}
	}
	order, _, _, err := s.place(ctx, user)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := user.AwaitOrder(ctx, order); err != nil {
		s.t.Fatal(err)
	}
	s.awaitSame()
	planted := map[string]string{
		"name": "Mustermann", "e-mail address": "marker-address", "password": password, "access token": session.AccessToken, "refresh token": session.RefreshToken,
		"password of the admin": s.Admin().Password, "token of sidecars": s.APIToken(), "token of programs": s.AppToken(),
	}
	rows := 0
	if err := s.store.Query(ctx, "*", time.Time{}, func(raw []byte) error {
		rows++
		for what, text := range planted {
			if bytes.Contains(raw, []byte(text)) {
				s.t.Errorf("the store has the %s: %.600s", what, raw)
			}
		}
		return nil
	}); err != nil {
		s.t.Fatal(err)
	}
	// Without this the search could look into nothing.
	query := records.Query{Order: order}
	if found := s.rows(query.LogsQL()); rows < 100 || len(found) == 0 {
		s.t.Errorf("%d rows were searched, %d of the order", rows, len(found))
	}
	s.t.Logf("%d rows were searched", rows)
}

// kills kills collector and store in turn while orders are placed, and compares the store with the files.
func (s *stack) kills(ctx context.Context) {
	loading, stop := context.WithCancel(ctx)
	defer stop()
	var placed atomic.Int64
	var clients sync.WaitGroup
	for i := range 4 {
		user := s.customer(ctx, "Lotte", fmt.Sprintf("load-%d@caravan.example", i), "correct horse 2")
		clients.Go(func() {
			for loading.Err() == nil {
				if order, _, _, err := s.place(loading, user); err == nil {
					if _, err := user.AwaitOrder(loading, order); err == nil {
						placed.Add(1)
					}
				}
			}
		})
	}
	for range 3 {
		for _, name := range []string{"collector", "logstore"} {
			// A store forgets what it took in the last seconds, so there must be some.
			time.Sleep(3 * time.Second)
			if err := s.Kill(name, syscall.SIGKILL); err != nil {
				s.t.Fatal(err)
			}
			if err := s.AwaitProcess(ctx, name); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	time.Sleep(2 * time.Second)
	stop()
	clients.Wait()
	stopped := time.Now()
	for _, name := range []string{"collector", "logstore"} {
		if status, err := s.Process(name); err != nil || status.Restarts < 3 {
			s.t.Errorf("%s was started again %d times: the test did not break what it says", name, status.Restarts)
		}
	}
	lines := s.awaitSame()
	spans, orphans := s.awaitWholeTraces(stopped)
	failures := s.rows(exportFailures)
	report := s.Report(time.Now())
	s.t.Logf("%d orders, %d lines each once, %d spans, %d without their parent, %d exports failed; the collector says %+v", placed.Load(), lines, spans, len(orphans), len(failures), report.Collected)
	for _, process := range report.Processes {
		if process.Name == "collector" || process.Name == "logstore" {
			s.t.Logf("%s has %d MB, used %s of processor time since its start", process.Name, process.PSS>>20, process.CPU.Round(10*time.Millisecond))
		}
	}
	for _, failure := range failures {
		s.t.Logf("%s %s: %s", failure.Time.Format(time.RFC3339Nano), failure.Instance, failure.Text())
	}
	// An exporter repeats an export whose connection broke, unless it broke while the export was written.
	if len(orphans) > 0 && len(failures) == 0 {
		s.t.Errorf("%d spans miss their parent, and no exporter reports that it lost any; one is %+v", len(orphans), orphans[0])
	}
}

// exportFailures finds what programs and sidecars log when spans were lost: sidecars in the message, programs as the error beside it.
const exportFailures = `kind:="log" ("traces export" or line:"traces export")`

// losses proves that what kills looks for is found: the lines of a program and of a sidecar that lost spans.
func (s *stack) losses(ctx context.Context) {
	before := len(s.rows(exportFailures))
	var rows []byte
	for instance, text := range map[string]string{
		"gateway":       `{"level":"WARN","msg":"telemetry is losing data","error":"traces export: Post \"http://127.0.0.1:4318/v1/traces\": EOF"}`,
		"gateway-daprd": `{"level":"error","msg":"traces export: Post \"http://127.0.0.1:4318/v1/traces\": EOF"}`,
	} {
		row := records.ParseLine(instance, text)
		row.Time, row.File = time.Now(), "planted"
		rows = records.AppendRow(rows, &row)
	}
	if _, err := s.store.Insert(ctx, rows); err != nil {
		s.t.Fatal(err)
	}
	found := 0
	s.await("the lines of both", func() bool { found = len(s.rows(exportFailures)) - before; return found == 2 }, func() string { return fmt.Sprint(found) })
}

// awaitWholeTraces waits until every span of the traces that began before a time has its parent. It returns how many spans these
// have, and those without a parent at the end.
func (s *stack) awaitWholeTraces(before time.Time) (count int, orphans []records.Row) {
	s.t.Helper()
	for deadline := time.Now().Add(bound); ; time.Sleep(time.Second) {
		count, orphans = 0, nil
		for _, trace := range records.ByTrace(records.Distinct(s.rows(`kind:="span"`))) {
			if trace[0].Time.After(before) {
				continue
			}
			spans, _, missing := connected(trace)
			count += spans
			orphans = append(orphans, missing...)
		}
		if len(orphans) == 0 || time.Now().After(deadline) {
			return count, orphans
		}
	}
}
