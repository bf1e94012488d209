package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"caravan/dapr/launcher"
	"caravan/dapr/records"
)

// loggedStack is a stack's folder with logs.
type loggedStack struct {
	dir  string
	rows []records.Row // of its lines, as the collector stores them
}

// newLoggedStack writes lines of three processes: two requests that had to do with order o-1, and one that did not.
func newLoggedStack(t *testing.T) *loggedStack {
	t.Helper()
	s := &loggedStack{dir: t.TempDir()}
	now := time.Now().UTC()
	line := func(second int, rest string) string {
		return fmt.Sprintf(`{"time":"%s","level":"INFO",%s}`, now.Add(time.Duration(second-30)*time.Second).Format(time.RFC3339Nano), rest)
	}
	for name, lines := range map[string][]string{
		"gateway": {
			line(1, `"msg":"request","route":"POST /v1/orders","correlation_id":"c-1","trace_id":"t-1","subject":"u-1"`),
			line(5, `"msg":"request","route":"GET /v1/products","correlation_id":"c-2"`),
			line(7, `"msg":"request","route":"POST /v1/orders/{id}/cancel","correlation_id":"c-3"`),
		},
		"orders-2": {line(2, `"msg":"order","aggregate":"o-1","correlation_id":"c-1"`), line(8, `"msg":"order","aggregate":"o-1","correlation_id":"c-3"`)},
		"broker":   {"about o-1 in a text", "a text about nothing"},
	} {
		s.write(t, name, lines)
	}
	slices.SortFunc(s.rows, records.Order)
	return s
}

func (s *loggedStack) write(t *testing.T, name string, lines []string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(s.dir, "logs"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "logs", name+".log"), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, text := range lines {
		row := records.ParseLine(name, text)
		row.File, row.Offset = name, int64(i)
		s.rows = append(s.rows, row)
	}
}

// store starts a store with the rows of the stack and more, and writes its address to stack.json. It finds rows by the query that a
// command has to ask.
func (s *loggedStack) store(t *testing.T, query *records.Query, more ...records.Row) (asked func() []string) {
	t.Helper()
	var mu sync.Mutex
	var questions []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text := r.PostFormValue("query")
		mu.Lock()
		questions = append(questions, text)
		mu.Unlock()
		for _, row := range slices.Concat(s.rows, more) {
			found := text == query.LogsQL() && query.Match(&row)
			switch text {
			case records.CausesQL(query.Order):
				found = row.Aggregate == query.Order
			case records.TracesQL("o-1"):
				found = row.Trace == "t-1" && row.Kind == records.Log
			case records.SpansQL([]string{"t-1"}):
				found = row.Kind == records.Span
			}
			if found {
				_ = json.NewEncoder(w).Encode(map[string]string{
					"_time": row.Time.UTC().Format(time.RFC3339Nano), "_msg": row.Message, "line": row.Line, "instance": row.Instance, "file": row.File,
					"offset": fmt.Sprint(row.Offset), "kind": string(row.Kind), "correlation_id": row.Correlation, "trace_id": row.Trace,
					"span_id": row.SpanID, "parent_span_id": row.ParentID, "duration_ns": fmt.Sprint(int64(row.Duration)),
				})
			}
		}
	}))
	t.Cleanup(server.Close)
	s.publish(t, server.URL)
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(questions)
	}
}

func (s *loggedStack) publish(t *testing.T, url string) {
	t.Helper()
	if err := launcher.WriteSecret(filepath.Join(s.dir, "run", "stack.json"), launcher.Metadata{Logs: url}); err != nil {
		t.Fatal(err)
	}
}

// TestLogsAreTheSameFromStoreAndFiles: each query shows the same lines from the files, from the store, and from the files when
// the store does not answer.
func TestLogsAreTheSameFromStoreAndFiles(t *testing.T) {
	for name, test := range map[string]struct {
		args  []string
		query records.Query
		lines int
	}{
		"an order":         {[]string{"--order", "o-1"}, records.Query{Order: "o-1", Correlations: []string{"c-1", "c-3"}}, 5},
		"a request":        {[]string{"--correlation", "c-1"}, records.Query{Correlation: "c-1"}, 2},
		"a trace":          {[]string{"--trace", "t-1"}, records.Query{Trace: "t-1"}, 1},
		"a user":           {[]string{"--user", "u-1", "--app", "gateway"}, records.Query{User: "u-1", App: "gateway"}, 1},
		"none of that app": {[]string{"--user", "u-1", "--app", "orders"}, records.Query{User: "u-1", App: "orders"}, 0},
		"a process":        {[]string{"--order", "o-1", "orders-2"}, records.Query{Order: "o-1", Correlations: []string{"c-1", "c-3"}, Instance: "orders-2"}, 2},
		"none so bad":      {[]string{"--order", "o-1", "--level", "WARN"}, records.Query{Order: "o-1", Correlations: []string{"c-1", "c-3"}, Level: records.Warn}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newLoggedStack(t)
			args := append([]string{"logs", "--dir", s.dir}, test.args...)
			status, files, _ := invoke(t, args...)
			if got := strings.Count(files, "\n"); status != exitOK || got != test.lines {
				t.Fatalf("status %d, %d lines, want %d:\n%s", status, got, test.lines, files)
			}
			asked := s.store(t, &test.query)
			status, stored, _ := invoke(t, args...)
			if status != exitOK || stored != files {
				t.Errorf("status %d, the store shows\n%s\nand the files\n%s\nasked was %q", status, stored, files, asked())
			}
			if len(asked()) == 0 {
				t.Error("the store was not asked")
			}
			s.publish(t, "http://127.0.0.1:1")
			status, down, said := invoke(t, args...)
			if status != exitOK || down != files || !strings.Contains(said, "does not answer, so the files are read") {
				t.Errorf("status %d, without the store it says %q and shows\n%s", status, said, down)
			}
		})
	}
}

func TestLogsWithoutAnIdAreThoseOfTheFiles(t *testing.T) {
	s := newLoggedStack(t)
	asked := s.store(t, &records.Query{})
	for _, args := range [][]string{{"logs"}, {"logs", "--level", "info"}, {"logs", "--app", "orders"}, {"logs", "--raw", "--order", "o-1"}} {
		if status, out, _ := invoke(t, append(args, "--dir", s.dir)...); status != exitOK || out == "" {
			t.Errorf("%v: status %d, %q", args, status, out)
		}
	}
	if got := asked(); len(got) > 0 {
		t.Errorf("the store was asked %q", got)
	}
	if status, _, said := invoke(t, "logs", "--dir", s.dir, "--level", "loud"); status != exitUsage || !strings.Contains(said, `no level "loud"`) {
		t.Errorf("status %d, said %q", status, said)
	}
	query := records.Query{}
	asked = s.store(t, &query)
	if status, _, said := invoke(t, "logs", "--dir", s.dir, "--since", "10m"); status != exitOK || len(asked()) != 1 || said != "" {
		t.Errorf("with --since: status %d, asked %q, said %q", status, asked(), said)
	}
}

// TestFollowingAnOrder: requests become known while they are followed.
func TestFollowingAnOrder(t *testing.T) {
	accept := following(records.Query{Order: "o-1"})
	for i, test := range []struct {
		raw  string
		want bool
	}{
		{`{"msg":"request","correlation_id":"c-9"}`, false},
		{`{"msg":"order","aggregate":"o-1","correlation_id":"c-9"}`, true},
		{`{"msg":"request","correlation_id":"c-9"}`, true},
		{`{"msg":"request","correlation_id":"c-8"}`, false},
		{`{"msg":"request"}`, false},
	} {
		if got := accept(launcher.ParseLine("orders", test.raw)); got != test.want {
			t.Errorf("line %d: %v", i, got)
		}
	}
}

func TestTrace(t *testing.T) {
	s := newLoggedStack(t)
	if status, _, said := invoke(t, "trace", "o-1", "--dir", s.dir); status != exitFailure || !strings.Contains(said, "up --observe logs") {
		t.Errorf("without a store: status %d, said %q", status, said)
	}
	span := func(id, parent string, start int) records.Row {
		return records.Row{
			Kind: records.Span, Time: time.Now().Add(time.Duration(start) * time.Millisecond), Instance: "orders", Message: "span " + id, SpanID: id, ParentID: parent,
			IDs: records.IDs{Trace: "t-1"}, Duration: 5 * time.Millisecond,
		}
	}
	s.store(t, &records.Query{}, span("2", "1", 3), span("1", "", 0))
	status, out, said := invoke(t, "trace", "o-1", "--dir", s.dir)
	if status != exitOK || !strings.Contains(out, "Trace t-1: 2 spans") || !strings.Contains(out, "\n  orders: span 2 ") {
		t.Errorf("status %d, %q, shows\n%s", status, said, out)
	}
	if status, _, said := invoke(t, "trace", "o-2", "--dir", s.dir); status != exitFailure || !strings.Contains(said, `no spans of "o-2"`) {
		t.Errorf("status %d, said %q", status, said)
	}
	s.publish(t, "http://127.0.0.1:1")
	if status, _, said := invoke(t, "trace", "o-1", "--dir", s.dir); status != exitFailure || !strings.Contains(said, "asking the store") {
		t.Errorf("status %d, said %q", status, said)
	}
}

// TestLinesOfTextHaveTheTimeOfTheLineBefore in queries too.
func TestLinesOfTextHaveTheTimeOfTheLineBefore(t *testing.T) {
	s := newLoggedStack(t)
	at := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339Nano)
	s.write(t, "payments", []string{`{"time":"` + at + `","msg":"old"}`, "old text", `{"time":"` + time.Now().UTC().Format(time.RFC3339Nano) + `","msg":"new"}`, "new text"})
	lines, err := launcherLogs(s.dir)(context.Background(), func(line launcher.LogLine) bool {
		row := rowOf(line)
		return (&records.Query{Instance: "payments", Since: time.Now().Add(-time.Minute)}).Match(&row)
	})
	if err != nil || len(lines) != 2 || lines[1].Raw != "new text" {
		t.Errorf("%v, %v", lines, err)
	}
}
