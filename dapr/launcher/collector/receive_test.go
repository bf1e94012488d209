package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// exported is an export of a span of each trace.
func exported(t *testing.T, service string, traces ...string) []byte {
	t.Helper()
	var spans []*trace.Span
	for _, id := range traces {
		spans = append(spans, &trace.Span{
			TraceId: []byte(id), SpanId: []byte("abcdefgh"), Name: "GET /users/ada@caravan.example", StartTimeUnixNano: 1, EndTimeUnixNano: 2,
		})
	}
	raw, err := proto.Marshal(&collector.ExportTraceServiceRequest{ResourceSpans: []*trace.ResourceSpans{{
		Resource:   &resource.Resource{Attributes: []*common.KeyValue{{Key: "service.name", Value: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: service}}}}},
		ScopeSpans: []*trace.ScopeSpans{{Spans: spans}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// manyTraces are ids of traces.
func manyTraces(n int) []string {
	var ids []string
	for i := range n {
		ids = append(ids, fmt.Sprintf("%c%c%014d", byte(i*37), byte(i*101), i))
	}
	for i, id := range ids {
		ids[i] = string([]byte(id)[:8]) + string([]byte{0, byte(i * 67), byte(i * 13)}) + fmt.Sprintf("%05d", i)
	}
	return ids
}

func newReceiver(t *testing.T, limits spoolLimits) *receiver {
	t.Helper()
	spool, err := openSpool(filepath.Join(t.TempDir(), "spans"), limits)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = spool.close() })
	return &receiver{spool: spool, counts: new(counts), share: 1}
}

func (r *receiver) post(path, kind, encoding string, body []byte) *httptest.ResponseRecorder {
	request := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
	request.Header.Set("Content-Type", kind)
	if encoding != "" {
		request.Header.Set("Content-Encoding", encoding)
	}
	answer := httptest.NewRecorder()
	r.handler().ServeHTTP(answer, request)
	return answer
}

func TestSpansAreReceived(t *testing.T) {
	r := newReceiver(t, spoolLimits{file: 1 << 20, all: 1 << 20})
	body := exported(t, "orders", "0123456789abcdef", "fedcba9876543210")
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, _ = w.Write(body)
	_ = w.Close()
	for name, test := range map[string]struct {
		path, kind, encoding string
		body                 []byte
		want                 int
	}{
		"spans":             {"/v1/traces", protobuf, "", body, 200},
		"compressed":        {"/v1/traces", protobuf, "gzip", zipped.Bytes(), 200},
		"nothing":           {"/v1/traces", protobuf, "", nil, 200},
		"JSON":              {"/v1/traces", "application/json", "", []byte("{}"), 415},
		"half":              {"/v1/traces", protobuf, "", body[:len(body)-3], 400},
		"not compressed":    {"/v1/traces", protobuf, "gzip", body, 400},
		"another encoding":  {"/v1/traces", protobuf, "br", body, 400},
		"metrics":           {"/v1/metrics", protobuf, "", []byte("any"), 200},
		"something unknown": {"/v1/other", protobuf, "", nil, 404},
		"too long":          {"/v1/traces", protobuf, "", make([]byte, maxExport+1), 400},
	} {
		if got := r.post(test.path, test.kind, test.encoding, test.body); got.Code != test.want {
			t.Errorf("%s: %d %s", name, got.Code, got.Body)
		}
	}
	if s := r.counts.status(); s.Spans != 4 || s.ExportsInvalid != 4 {
		t.Errorf("counted %+v", s)
	}
	raw, err := os.ReadFile(r.spool.active())
	if err != nil || strings.Count(string(raw), "\n") != 4 || strings.Contains(string(raw), "ada@") {
		t.Errorf("kept %s, %v", raw, err)
	}
}

// TestFullFilesRefuseSpans: what cannot be kept is refused and counted, and taken again when there is room.
func TestFullFilesRefuseSpans(t *testing.T) {
	r := newReceiver(t, spoolLimits{file: 600, all: 2000})
	body := exported(t, "orders", "0123456789abcdef", "fedcba9876543210")
	accepted := 0
	for {
		got := r.post("/v1/traces", protobuf, "", body)
		if got.Code == http.StatusServiceUnavailable {
			if got.Header().Get("Retry-After") == "" {
				t.Error("the refusal has no Retry-After")
			}
			break
		}
		if accepted++; accepted > 20 {
			t.Fatal("nothing is refused")
		}
	}
	if s := r.counts.status(); s.SpansRefused != 2 || s.Spans != int64(2*accepted) {
		t.Errorf("counted %+v after %d exports", s, accepted)
	}
	files, err := os.ReadDir(r.spool.folder)
	if err != nil || len(files) < 2 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		path := filepath.Join(r.spool.folder, file.Name())
		if info, err := file.Info(); err != nil || info.Size() > 1000 {
			t.Errorf("a file has %d bytes, %v", info.Size(), err)
		}
		if path != r.spool.active() {
			if err := r.spool.remove(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := r.post("/v1/traces", protobuf, "", body); got.Code != http.StatusOK {
		t.Errorf("with room again: %d", got.Code)
	}
}

func TestSpansOfSidecarsAreSampledByTrace(t *testing.T) {
	ids := manyTraces(400)
	r := newReceiver(t, spoolLimits{file: 1 << 20, all: 1 << 20})
	r.share = 0.25
	for _, service := range []string{"orders", "orders-daprd", "payments-2-daprd"} {
		if got := r.post("/v1/traces", protobuf, "", exported(t, service, ids...)); got.Code != http.StatusOK {
			t.Fatal(got.Code)
		}
	}
	raw, err := os.ReadFile(r.spool.active())
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	program, first, second := strings.Count(text, `"instance":"orders"`), strings.Count(text, `"orders-daprd"`), strings.Count(text, `"payments-2-daprd"`)
	if program != 400 || first != second || first < 20 || first > 250 {
		t.Errorf("kept are %d of the program, %d and %d of the sidecars", program, first, second)
	}
	if s := r.counts.status(); s.SpansLeftOut != int64(800-first-second) {
		t.Errorf("counted %+v", s)
	}
}

// TestSpansReachTheStoreThroughTheirFiles: they survive kills of collector and store, and their files are removed.
func TestSpansReachTheStoreThroughTheirFiles(t *testing.T) {
	s := newScene(t)
	limits := spoolLimits{file: 700, all: 1 << 20}
	spool, err := openSpool(filepath.Join(s.dir, "spans"), limits)
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{spool: spool, counts: new(counts), share: 1}
	watch := func() {
		s.shipper.folders = append(s.shipper.folders, folder{path: spool.folder, spans: true, active: spool.active, finished: spool.remove})
	}
	watch()
	for i := range 10 {
		if got := r.post("/v1/traces", protobuf, "", exported(t, "orders", manyTraces(20)[2*i:2*i+2]...)); got.Code != http.StatusOK {
			t.Fatal(got.Code)
		}
		s.passes(1)
		if i == 3 {
			s.store.kill()
		}
		if i == 6 {
			s.restart()
			watch()
		}
	}
	// The end of a row that was cut by a kill is no row.
	if err := os.WriteFile(filepath.Join(spool.folder, "spans-1.log"), []byte(`{"_time":1,"_msg":"cut`), 0o600); err != nil {
		t.Fatal(err)
	}
	s.passes(safeAfter + 10)
	if n := len(s.store.all()); n != 20 {
		t.Errorf("the store has %d spans, want 20", n)
	}
	files, err := os.ReadDir(spool.folder)
	if err != nil || len(files) != 1 || filepath.Join(spool.folder, files[0].Name()) != spool.active() {
		t.Errorf("left are %v, %v", files, err)
	}
	again, err := openSpool(spool.folder, limits)
	if err != nil || again.old == 0 || again.old > 1000 {
		t.Errorf("another collector counts %d bytes, %v", again.old, err)
	}
}

func TestPositionsThatCannotBeRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "positions.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readPositions(path); err == nil {
		t.Error("half a file was accepted")
	}
	p := &positions{path: filepath.Join(path, "x"), of: map[string]position{}}
	if err := p.write(); err == nil || errors.Is(err, os.ErrNotExist) {
		t.Errorf("writing below a file returns %v", err)
	}
}
