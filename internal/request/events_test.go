package request

import (
	"net/http/httptest"
	"testing"
	"time"
)

func TestEventsAreWrittenAsTheStandardSays(t *testing.T) {
	w := httptest.NewRecorder()
	Stream(func(e *Events) {
		e.AddRetry(2 * time.Second)
		if err := e.Add(Event{ID: "7", Name: "notice", Data: map[string]string{"text": "a\nb"}}); err != nil {
			t.Error(err)
		}
		if err := e.Add(Event{Name: "order", Data: 1}); err != nil {
			t.Error(err)
		}
		e.AddComment()
		if w.Body.Len() != 0 {
			t.Error("something is sent before Flush")
		}
		if err := e.Flush(); err != nil || !w.Flushed {
			t.Errorf("flushed %v, %v", w.Flushed, err)
		}
		if err := e.Add(Event{Name: "x", Data: make(chan int)}); err == nil {
			t.Error("a channel became JSON")
		}
	}).Write(w)
	want := "retry: 2000\n\nid: 7\nevent: notice\ndata: {\"text\":\"a\\nb\"}\n\nevent: order\ndata: 1\n\n:\n\n"
	if got := w.Body.String(); w.Code != 200 || w.Header().Get("Content-Type") != "text/event-stream" || got != want {
		t.Errorf("%d %s %q", w.Code, w.Header(), got)
	}
}
