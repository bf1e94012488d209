package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// Limits of event streams.
const (
	writeTimeout = 10 * time.Second
	streamAge    = time.Hour // a browser opens a new stream after it
)

// events writes server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).
type events struct {
	w    http.ResponseWriter
	rc   *http.ResponseController
	sent map[string]string // fragments by id
}

func newEvents(w http.ResponseWriter) *events {
	w.Header().Set("Content-Type", "text/event-stream")
	return &events{w: w, rc: http.NewResponseController(w), sent: map[string]string{}}
}

// send writes one event. JSON has no line breaks, so it is one line.
func (e *events) send(kind string, data any) error {
	raw, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("writing an event: %w", err)
	}
	_ = e.rc.SetWriteDeadline(time.Now().Add(writeTimeout)) // not every writer has one, in tests
	if _, err := fmt.Fprintf(e.w, "event: %s\ndata: %s\n\n", kind, raw); err != nil {
		return fmt.Errorf("writing an event: %w", err)
	}
	return e.rc.Flush()
}

// fragment is a part of a page. ID is that of its element, and the name of its template.
type fragment struct {
	ID   string `json:"id"`
	HTML string `json:"html"`
}

// fragments makes parts of a page.
func fragments(data any, ids ...string) ([]fragment, error) {
	var all []fragment
	for _, id := range ids {
		html, err := render(id, data)
		if err != nil {
			return nil, err
		}
		all = append(all, fragment{id, html})
	}
	return all, nil
}

// live is the content of an event stream.
type live struct {
	// refresh are reads that may take long. Each is called at each tick, and returns at once if there is nothing to do.
	refresh []func(context.Context)
	// show returns all fragments. It is quick.
	show func() ([]fragment, error)
}

// stream serves an event stream until the browser goes or the session ends. It sends fragments that have changed, and a heartbeat
// by which the page knows that the connection works.
func (s *server) stream(w http.ResponseWriter, r *http.Request, sess *session, l live) {
	ctx, cancel := context.WithTimeout(r.Context(), streamAge)
	defer cancel()
	var reads sync.WaitGroup
	defer reads.Wait()
	defer cancel()
	out := newEvents(w)
	ticker := time.NewTicker(s.tick)
	defer ticker.Stop()
	for {
		for _, refresh := range l.refresh {
			reads.Go(func() { refresh(ctx) })
		}
		if sess.over() {
			_ = out.send("signed-out", nil)
			return
		}
		sess.touch(s.clock.Now())
		if out.update(l.show) != nil {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// update sends the fragments that have changed, and the heartbeat.
func (e *events) update(show func() ([]fragment, error)) error {
	all, err := show()
	if err != nil {
		slog.Error("a part of a page could not be made", "error", err.Error())
		return err
	}
	for _, f := range all {
		if e.sent[f.ID] == f.HTML {
			continue
		}
		if err := e.send("fragment", f); err != nil {
			return err
		}
		e.sent[f.ID] = f.HTML
	}
	return e.send("beat", struct{}{})
}

// readAll calls all reads at the same time and waits for them, at most for a limit: a page is shown with what is known then.
func readAll(ctx context.Context, limit time.Duration, refresh []func(context.Context)) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var reads sync.WaitGroup
	for _, read := range refresh {
		reads.Go(func() { read(ctx) })
	}
	reads.Wait()
}

// jobs are what goes on when its request has ended. The server owns them.
type jobs struct {
	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup
}

func newJobs() *jobs {
	ctx, cancel := context.WithCancel(context.Background())
	return &jobs{ctx: ctx, cancel: cancel}
}

// start runs a job in the background.
func (j *jobs) start(do func(context.Context)) { j.group.Go(func() { do(j.ctx) }) }

// end ends all jobs and waits for them.
func (j *jobs) end() {
	j.cancel()
	j.group.Wait()
}
