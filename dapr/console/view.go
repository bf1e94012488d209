package main

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"caravan/dapr/client"
	"caravan/dapr/launcher"
	"caravan/internal/problem"
)

//go:embed pages/*.html static/*
var files embed.FS

// pages are all templates. Each page is a template of its own name, in the frame of layout.html.
var pages = template.Must(template.New("pages").Funcs(functions).ParseFS(files, "pages/*.html"))

var functions = template.FuncMap{
	"moment": moment, "ago": ago, "span": spanText, "clock": clockTime, "plural": plural, "words": words, "in": inText, "fields": fields,
	"clocked": clocked, "status": statusLevel, "breaker": breakerLevel, "class": class, "connection": connectionLevel, "lasted": lasted, "again": again,
}

// staticTypes are the files that are served as they are.
var staticTypes = map[string]string{"console.css": "text/css; charset=utf-8", "console.js": "text/javascript; charset=utf-8"}

func serveStatic(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	raw, err := files.ReadFile(path.Join("static", name))
	if staticTypes[name] == "" || err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", staticTypes[name])
	_, _ = w.Write(raw)
}

// frame is what every page has.
type frame struct {
	Title   string
	Page    string // the name of the template
	Path    string
	Name    string // of the person; "" if nobody is signed in
	CSRF    string
	Notice  *notice
	Local   bool // the launcher runs on this machine
	Content template.HTML
}

// page writes a page with a status.
func (s *server) page(w http.ResponseWriter, r *http.Request, sess *session, status int, name, title string, content any) {
	f := frame{Title: title, Page: name, Path: r.URL.Path, Local: s.control != nil}
	if sess != nil {
		f.Name, f.CSRF, f.Notice = sess.name, sess.csrf, sess.takeNotice()
	}
	inner, err := render(name, content)
	if err == nil {
		f.Content = template.HTML(inner) //nolint:gosec // made by a template of this program
		inner, err = render("layout", f)
	}
	if err != nil {
		slog.Error("a page could not be made", "page", name, "error", err.Error())
		http.Error(w, "The page could not be made.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(inner))
}

// render executes a template. Templates escape all that is in the data.
func render(name string, data any) (string, error) {
	var out bytes.Buffer
	if err := pages.ExecuteTemplate(&out, name, data); err != nil {
		return "", fmt.Errorf("making %s: %w", name, err)
	}
	return out.String(), nil
}

// fail shows an error: as a page, or as JSON to the script of a page.
func (s *server) fail(w http.ResponseWriter, r *http.Request, status int, text string) {
	if wantsJSON(r) {
		writeJSON(w, status, answer{Error: text})
		return
	}
	s.page(w, r, s.sessionOf(r), status, "failure", http.StatusText(status), text)
}

// answer is what the script of a page gets for a form.
type answer struct {
	Message string `json:"message,omitempty"`
	Error   string `json:"error,omitempty"`
	Next    string `json:"next,omitempty"` // the page to open
}

// finish answers a form: the page's script gets JSON, and a browser without it is sent back to the page with a notice.
func (s *server) finish(w http.ResponseWriter, r *http.Request, sess *session, back, done string, err error) {
	text := ""
	if err != nil {
		text = "It did not work: " + reason(err)
	}
	if client.Status(err) == http.StatusUnauthorized {
		sess.end() // a person who may not do this stays signed in
	}
	if wantsJSON(r) {
		status := http.StatusOK
		if err != nil {
			status = http.StatusUnprocessableEntity
			done = ""
		}
		writeJSON(w, status, answer{Message: done, Error: text})
		return
	}
	if err != nil {
		sess.say(notice{Text: text, Failed: true})
	} else {
		sess.say(notice{Text: done})
	}
	http.Redirect(w, r, back, http.StatusSeeOther)
}

func wantsJSON(r *http.Request) bool { return r.Header.Get("Accept") == "application/json" }

func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value)
}

// reason is the text of an error for a person.
func reason(err error) string {
	var p *problem.Problem
	switch {
	case errors.As(err, &p):
		text := p.Title
		if p.Detail != "" {
			text = p.Detail
		}
		for _, field := range p.Errors {
			text += " " + field.Field + ": " + field.Message
		}
		return text
	case client.Status(err) != 0:
		return fmt.Sprintf("the gateway answered %d", client.Status(err))
	case timedOut(err):
		return "there was no answer in time"
	}
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err.Error()
	}
	return err.Error()
}

func timedOut(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

func escape(text string) string { return url.QueryEscape(text) }

// moment is a time with its zone. Pages show UTC, as logs do.
func moment(at time.Time) string {
	if at.IsZero() {
		return "never"
	}
	return at.UTC().Format("2006-01-02 15:04:05.000 UTC")
}

// clockTime is a time of the day with its zone.
func clockTime(at time.Time) string { return at.UTC().Format("15:04:05 UTC") }

// clocked is a time of the day to the millisecond, for lists whose caption has the zone.
func clocked(at time.Time) string { return at.UTC().Format("15:04:05.000 UTC") }

// statusLevel is the look of an order's state.
func statusLevel(status client.OrderStatus) string {
	switch status {
	case client.OrderStatusConfirmed:
		return "good"
	case client.OrderStatusRejected, client.OrderStatusCancelled, client.OrderStatusRefunded:
		return "off"
	}
	return "busy"
}

// breakerLevel is the look of a breaker's state.
func breakerLevel(state client.BreakerState) string {
	switch state {
	case client.BreakerStateClosed:
		return "good"
	case client.BreakerStateOpen:
		return "bad"
	}
	return "busy"
}

// connectionLevel is the look of a connection's state.
func connectionLevel(state launcher.ConnectionState) string {
	switch state {
	case launcher.Intact:
		return "good"
	case launcher.Cut:
		return "bad"
	}
	return "busy"
}

// class is the look of a bar.
func class(kind string, failed bool) string {
	if failed {
		return "failed"
	}
	return kind
}

// ago is how long ago something was.
func ago(at, now time.Time) string {
	if at.IsZero() {
		return "never"
	}
	if now.Sub(at) < time.Second {
		return "just now"
	}
	return spanText(now.Sub(at)) + " ago"
}

// lasted is how long something has lasted.
func lasted(since, now time.Time) string {
	if since.IsZero() {
		return ""
	}
	return spanText(max(now.Sub(since), 0).Round(time.Second))
}

// inText says when something that begins by itself is due.
func inText(at, now time.Time) string {
	if !at.After(now) {
		return "under way"
	}
	return "in " + spanText(at.Sub(now))
}

// spanText is a duration with about two digits.
func spanText(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + spanText(-d)
	case d == 0:
		return "0 s"
	case d < time.Millisecond:
		return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
	case d < 100*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.0f h", d.Hours())
	}
	return fmt.Sprintf("%.0f days", d.Hours()/24)
}

// plural counts things.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// words makes an identifier readable: out_of_stock is "out of stock".
func words(text any) string { return strings.ReplaceAll(fmt.Sprint(text), "_", " ") }

// fields makes a map for a template of keys and values.
func fields(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, errors.New("a key has no value")
	}
	all := map[string]any{}
	for pair := range slices.Chunk(pairs, 2) {
		key, ok := pair[0].(string)
		if !ok {
			return nil, errors.New("a key is no text")
		}
		all[key] = pair[1]
	}
	return all, nil
}
