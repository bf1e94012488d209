package request

import (
	"net/http"

	"caravan/internal/problem"
)

// Handler answers one request with a value or an error, and writes nothing itself. The chassis writes the answer, or
// the problem for the error (see package problem), and one log line.
type Handler = func(r *http.Request) (Answer, error)

// Answer is the answer to a request. The zero Answer is for errors only.
type Answer struct {
	status  int
	body    any
	headers [][2]string
	events  func(*Events)
	html    []byte
}

// Reply answers with a status and a value, which is written as JSON; see Respond. A json.RawMessage is written as it is.
func Reply(status int, body any) Answer { return Answer{status: status, body: body} }

// OK answers 200.
func OK(body any) Answer { return Reply(http.StatusOK, body) }

// NoContent answers 204.
func NoContent() Answer { return Reply(http.StatusNoContent, nil) }

// Created answers 201. The Location is the path of the created resource.
func Created(location string, body any) Answer {
	return Reply(http.StatusCreated, body).With("Location", location)
}

// Accepted answers 202. The Location is the path at which the outcome will be found, unless it is "".
func Accepted(location string, body any) Answer {
	answer := Reply(http.StatusAccepted, body)
	if location == "" {
		return answer
	}
	return answer.With("Location", location)
}

// With adds a header to an answer.
func (a Answer) With(name, value string) Answer {
	a.headers = append(a.headers[:len(a.headers):len(a.headers)], [2]string{name, value})
	return a
}

// Write sends the answer.
func (a Answer) Write(w http.ResponseWriter) {
	for _, header := range a.headers {
		w.Header().Set(header[0], header[1])
	}
	if a.events != nil {
		a.writeEvents(w)
		return
	}
	if a.html != nil {
		a.writeHTML(w)
		return
	}
	Respond(w, a.status, a.body)
}

// HTTP serves a handler without the chassis, for tests.
func HTTP(h Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answer, err := h(r)
		if err != nil {
			problem.Write(w, r, err)
			return
		}
		answer.Write(w)
	}
}
