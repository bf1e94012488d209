package request

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// eventsTimeout is how long a client may take to receive what was sent. A client that is slower is cut off, and can go on where it
// was: see Events.
const eventsTimeout = 10 * time.Second

// Stream answers 200 with server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html). run sends them, and
// the answer ends when it returns. Register such a route with Long.
func Stream(run func(*Events)) Answer { return Answer{status: http.StatusOK, events: run} }

// Events sends server-sent events to one client. Only the function of Stream may use it, in one goroutine.
type Events struct {
	w          http.ResponseWriter
	connection *http.ResponseController
	buffer     bytes.Buffer
}

// Event is one event. Its data is written as JSON.
type Event struct {
	// ID becomes the Last-Event-ID of a client that connects again. An empty one leaves that as it is.
	ID string
	// Name is the type of the event.
	Name string
	Data any
}

func (a Answer) writeEvents(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(a.status)
	a.events(&Events{w: w, connection: http.NewResponseController(w)})
}

// Add adds an event to those that Flush sends.
func (e *Events) Add(event Event) error {
	data, err := json.Marshal(event.Data)
	if err != nil {
		return fmt.Errorf("writing an event: %w", err)
	}
	if event.ID != "" {
		e.line("id: ", event.ID)
	}
	e.line("event: ", event.Name)
	e.buffer.WriteString("data: ")
	e.buffer.Write(data) // JSON has no line breaks
	e.buffer.WriteString("\n\n")
	return nil
}

// AddRetry adds how long a client should wait before it connects again.
func (e *Events) AddRetry(pause time.Duration) {
	e.line("retry: ", strconv.FormatInt(pause.Milliseconds(), 10))
	e.buffer.WriteByte('\n')
}

// AddComment adds a line that clients ignore. It shows both sides that the connection works.
func (e *Events) AddComment() { e.buffer.WriteString(":\n\n") }

func (e *Events) line(field, value string) {
	e.buffer.WriteString(field)
	e.buffer.WriteString(value)
	e.buffer.WriteByte('\n')
}

// Flush sends what was added. An error means that the client is away or too slow.
func (e *Events) Flush() error {
	if e.buffer.Len() == 0 {
		return nil
	}
	defer e.buffer.Reset()
	_ = e.connection.SetWriteDeadline(time.Now().Add(eventsTimeout)) // not every writer has deadlines, for example in tests
	if _, err := e.w.Write(e.buffer.Bytes()); err != nil {
		return fmt.Errorf("sending events: %w", err)
	}
	if err := e.connection.Flush(); err != nil {
		return fmt.Errorf("sending events: %w", err)
	}
	_ = e.connection.SetWriteDeadline(time.Time{}) // HTTP/2 ends the answer at the deadline, whether something is being written or not
	return nil
}
