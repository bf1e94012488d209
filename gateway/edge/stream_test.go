package edge

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"caravan/gateway/proxy"
)

// TestStreamsAreCountedApartAndEndWithTheProgram opens as many streams as are allowed. Other requests are still answered, further
// streams are refused, and when the program drains the streams end like complete answers.
func TestStreamsAreCountedApartAndEndWithTheProgram(t *testing.T) {
	s := newSettings(t, func(w http.ResponseWriter, r *http.Request, c *proxy.Call) error {
		w.WriteHeader(http.StatusOK)
		if c.Match.Route.Stream {
			_, _ = io.WriteString(w, "begun\n")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			_, _ = io.WriteString(w, "ended\n")
		}
		return nil
	}, unused)
	s.Concurrent, s.Streams = 1, 1
	e, server := start(t, s)
	response, err := http.Get(server.URL + "/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body := bufio.NewReader(response.Body)
	if line, err := body.ReadString('\n'); err != nil || line != "begun\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	if status, text := get(t, server.URL+"/ask"); status != http.StatusOK {
		t.Errorf("a request besides a stream: got %d %s", status, text)
	}
	if status, text := get(t, server.URL+"/stream"); status != http.StatusServiceUnavailable || !strings.Contains(text, "overloaded") {
		t.Errorf("one stream too many: got %d %s", status, text)
	}
	e.Drain()
	if rest, err := io.ReadAll(body); err != nil || string(rest) != "ended\n" {
		t.Errorf("after the drain: got %q, %v", rest, err)
	}
	within := time.Now().Add(30 * time.Second)
	for e.streams.Load() != 0 {
		if time.Now().After(within) {
			t.Fatal("a stream that ended is still counted")
		}
		time.Sleep(time.Millisecond)
	}
}
