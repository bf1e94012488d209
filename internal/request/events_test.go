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

// deadlines is a writer of HTTP/2: the deadline that was set last ends the answer.
type deadlines struct {
	*httptest.ResponseRecorder
	last    time.Time
	written bool // while there was a deadline
}

func (d *deadlines) SetWriteDeadline(t time.Time) error {
	d.last = t
	return nil
}

func (d *deadlines) Write(p []byte) (int, error) {
	d.written = !d.last.IsZero()
	return d.ResponseRecorder.Write(p)
}

// A write has a deadline, and a stream with nothing to write has none: with HTTP/2 it would end there.
func TestOnlyWritesHaveADeadline(t *testing.T) {
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	Stream(func(e *Events) {
		e.AddComment()
		if err := e.Flush(); err != nil || !w.written || !w.last.IsZero() {
			t.Errorf("%v; written with a deadline: %t; then it is %s", err, w.written, w.last)
		}
	}).Write(w)
}
