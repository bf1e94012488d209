package main

import (
	_ "embed" // the page and its style
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

//go:embed page.html
var pageSource string

//go:embed page.css
var style []byte

var page = template.Must(template.New("page").Parse(pageSource))

// Policies for content (https://www.w3.org/TR/CSP3/). E-mails are hostile: their HTML is a document of its own, in a
// sandbox without scripts, forms or any request.
const (
	pagePolicy = "default-src 'none'; style-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	mailPolicy = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
)

// listLimit is how many e-mails a list has at most.
const listLimit = 200

// pages is the HTTP interface of a mailbox.
type pages struct {
	box    *box
	faults *faults
}

func newPages(box *box, faults *faults) http.Handler {
	p := pages{box, faults}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.index)
	mux.HandleFunc("GET /page.css", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/css; charset=utf-8")
		_, _ = w.Write(style)
	})
	mux.HandleFunc("GET /mails/{id}/page", p.show)
	mux.HandleFunc("GET /mails/{id}/html", p.html)
	mux.HandleFunc("GET /mails/{id}/source", p.source)
	mux.HandleFunc("GET /mails", p.list)
	mux.HandleFunc("GET /mails/{id}", p.one)
	mux.HandleFunc("DELETE /mails", p.clear)
	mux.HandleFunc("GET /faults", p.fault)
	mux.HandleFunc("PUT /faults", p.setFault)
	mux.HandleFunc("DELETE /faults", p.endFault)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	return guard(http.NewCrossOriginProtection().Handler(mux))
}

// guard keeps other web sites out, which a browser on this machine may have open, and sets the headers of all answers.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !localName(r.Host) {
			http.Error(w, "open this page by its address or as localhost", http.StatusMisdirectedRequest)
			return
		}
		h := w.Header()
		h.Set("Content-Security-Policy", pagePolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// localName accepts an address, and a name without a dot, such as localhost or that of a container. A name of the
// Internet may be another site's that resolves to this machine.
func localName(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return net.ParseIP(strings.Trim(host, "[]")) != nil || host != "" && !strings.Contains(host, ".")
}

// summary is an e-mail in a list.
type summary struct {
	kept
	Subject   string `json:"subject"`
	MessageID string `json:"messageId"`
	Size      int    `json:"size"` // bytes
}

func summaryOf(m kept) summary {
	return summary{kept: m, Subject: m.seen.Subject, MessageID: m.seen.MessageID, Size: len(m.raw)}
}

// listing is the answer to GET /mails.
type listing struct {
	Items []summary `json:"items"` // newest first, at most listLimit
	Count int       `json:"count"` // of all that were asked for
}

func (p pages) listing(r *http.Request) listing {
	found, count := p.box.list(r.URL.Query().Get("to"), listLimit)
	l := listing{Items: make([]summary, len(found)), Count: count}
	for i, m := range found {
		l.Items[i] = summaryOf(m)
	}
	return l
}

func (p pages) list(w http.ResponseWriter, r *http.Request) { writeJSON(w, p.listing(r)) }

func (p pages) one(w http.ResponseWriter, r *http.Request) {
	if m, ok := p.find(w, r); ok {
		writeJSON(w, struct {
			summary
			content
		}{summaryOf(m), read(m.raw)})
	}
}

func (p pages) find(w http.ResponseWriter, r *http.Request) (kept, bool) {
	m, ok := p.box.find(r.PathValue("id"))
	if !ok {
		http.Error(w, "there is no such e-mail", http.StatusNotFound)
	}
	return m, ok
}

func (p pages) clear(w http.ResponseWriter, _ *http.Request) {
	p.box.clear()
	w.WriteHeader(http.StatusNoContent)
}

func (p pages) source(w http.ResponseWriter, r *http.Request) {
	if m, ok := p.find(w, r); ok {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Content-Security-Policy", mailPolicy)
		_, _ = w.Write(m.raw)
	}
}

func (p pages) html(w http.ResponseWriter, r *http.Request) {
	if m, ok := p.find(w, r); ok {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", mailPolicy)
		_, _ = io.WriteString(w, read(m.raw).HTML)
	}
}

// view is what the template shows: a list, or one e-mail.
type view struct {
	To    string
	List  *listing
	Fault fault
	Mail  *mailView
}

type mailView struct {
	summary
	content
	Words []word
}

// word is a part of the text: a link or not.
type word struct {
	Text string
	Link string // "" if it is none
}

func (p pages) index(w http.ResponseWriter, r *http.Request) {
	l := p.listing(r)
	writePage(w, view{To: r.URL.Query().Get("to"), List: &l, Fault: p.faults.present()})
}

func (p pages) show(w http.ResponseWriter, r *http.Request) {
	if m, ok := p.find(w, r); ok {
		c := read(m.raw)
		writePage(w, view{Mail: &mailView{summaryOf(m), c, links(c.Text)}, Fault: p.faults.present()})
	}
}

var linkPattern = regexp.MustCompile(`https?://[^\s<>"'\x60]+`)

// links splits a text at its links.
func links(text string) []word {
	var words []word
	end := 0
	for _, at := range linkPattern.FindAllStringIndex(text, -1) {
		link := strings.TrimRight(text[at[0]:at[1]], ".,;:!?)")
		words = append(words, word{Text: text[end:at[0]]})
		end = at[0] + len(link)
		found := word{Text: link}
		if address, err := url.Parse(link); err == nil && address.Hostname() != "" {
			found.Link = link
		}
		words = append(words, found)
	}
	return append(words, word{Text: text[end:]})
}

func (p pages) fault(w http.ResponseWriter, _ *http.Request) { writeJSON(w, p.faults.present()) }

func (p pages) setFault(w http.ResponseWriter, r *http.Request) {
	var next fault
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<10))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&next)
	if err == nil && next.Mode == "" {
		err = errors.New("mode is missing; DELETE ends a fault")
	}
	if err == nil {
		err = p.faults.set(next)
	}
	if err != nil {
		http.Error(w, fmt.Sprintf(`%v; want {"mode": "refuse|defer|stall|lose", "share": 0.5, "for": "60s"}`, err), http.StatusBadRequest)
		return
	}
	writeJSON(w, p.faults.present())
}

func (p pages) endFault(w http.ResponseWriter, _ *http.Request) {
	_ = p.faults.set(fault{}) // which is always accepted
	w.WriteHeader(http.StatusNoContent)
}

func writeJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value)
}

func writePage(w http.ResponseWriter, v view) {
	var out strings.Builder
	if err := page.Execute(&out, v); err != nil {
		http.Error(w, "the page could not be made", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = io.WriteString(w, out.String())
}

// When is the time as the page shows it.
func (s summary) When() string { return s.At.Format(time.DateTime) }

// Recipients are the addresses as the page shows them.
func (s summary) Recipients() string { return strings.Join(s.To, ", ") }

// Bytes is the size as the page shows it.
func (s summary) Bytes() string { return strconv.Itoa(s.Size) }
