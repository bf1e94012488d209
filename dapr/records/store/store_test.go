package store

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"caravan/dapr/records"
)

func TestInsertsUseOneConnectionWhileTheStoreLives(t *testing.T) {
	var got atomic.Value
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.URL.Path == "/insert/jsonline" {
			got.Store(r.URL.Query().Get("_stream_fields") + " " + r.Header.Get("Content-Type") + " " + string(body))
		}
	})
	server := httptest.NewServer(handler)
	defer server.Close()
	client := New(server.URL + "/")
	defer client.Close()
	first, err := client.Insert(t.Context(), []byte("{}\n"))
	if err != nil || first == 0 {
		t.Fatalf("connection %d, %v", first, err)
	}
	if want := "kind,app,instance,file application/stream+json {}\n"; got.Load() != want {
		t.Errorf("sent %q, want %q", got.Load(), want)
	}
	if err := client.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	if second, err := client.Health(t.Context()); err != nil || second != first {
		t.Errorf("connection %d after %d, %v", second, first, err)
	}
	// What the store loses, its connections lose too.
	server.CloseClientConnections()
	third, err := client.Health(t.Context())
	if err == nil && third == first {
		t.Error("a new connection has the number of the old one")
	}
	if fourth, err := client.Health(t.Context()); err != nil || fourth == first {
		t.Errorf("connection %d, %v", fourth, err)
	}
}

func TestAStoreThatRefusesIsAnError(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "the disk is full", http.StatusInsufficientStorage)
	}))
	defer server.Close()
	client := New(server.URL)
	_, inserting := client.Insert(t.Context(), []byte("{}\n"))
	for name, err := range map[string]error{
		"insert": inserting, "flush": client.Flush(t.Context()),
		"query": client.Query(t.Context(), "*", time.Time{}, func([]byte) error { return nil }),
	} {
		if err == nil || !strings.Contains(err.Error(), "the disk is full") {
			t.Errorf("%s returns %v", name, err)
		}
	}
}

// TestASlowStoreIsGivenUp: the caller's time limit holds for a store that accepts connections and does not answer.
func TestASlowStoreIsGivenUp(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := New(server.URL).Insert(ctx, []byte("{}\n")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("returned %v", err)
	}
}

func TestQueries(t *testing.T) {
	var form atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		form.Store(r.PostFormValue("query") + " from " + r.PostFormValue("start"))
		_, _ = io.WriteString(w, `{"_time":"2026-11-27T09:00:00.2Z","kind":"log","file":"f","offset":"9","_msg":"b"}`+"\n\n"+
			`{"_time":"2026-11-27T09:00:00.1Z","kind":"log","file":"f","offset":"5","_msg":"a"}`+"\n"+
			`{"_time":"2026-11-27T09:00:00.2Z","kind":"log","file":"f","offset":"9","_msg":"b"}`+"\n")
	}))
	defer server.Close()
	client := New(server.URL)
	rows, err := client.Rows(t.Context(), `x:="&"`, time.Unix(0, 7))
	if err != nil || len(rows) != 2 || rows[0].Message != "a" || rows[1].Offset != 9 {
		t.Errorf("rows %+v, %v", rows, err)
	}
	if want := `x:="&" from 7`; form.Load() != want {
		t.Errorf("asked %q, want %q", form.Load(), want)
	}
	offsets, err := client.Offsets(t.Context(), "f", 4)
	if err != nil || len(offsets) != 2 || !offsets[5] || !offsets[9] {
		t.Errorf("offsets %v, %v", offsets, err)
	}
	if want := records.OffsetsQL("f", 4) + " from "; form.Load() != want {
		t.Errorf("asked %q, want %q", form.Load(), want)
	}
	stop := errors.New("stop")
	if err := client.Query(t.Context(), "*", time.Time{}, func([]byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("returned %v", err)
	}
}
