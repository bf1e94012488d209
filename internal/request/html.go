package request

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html/template"
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// htmlMax bounds a page in bytes.
const htmlMax = 64 << 10

// HTMLPage is an HTML page for people who follow a link. Browsers run and load nothing in it: no script, no image, no other style. It
// may have forms, which send to this host only.
type HTMLPage struct {
	// Template escapes all values. It has the style sheet as {{.Style}} inside <style>.
	Template *template.Template
	Style    template.CSS
}

// htmlValues are the values of a template.
type htmlValues struct {
	Style template.CSS
	Page  any
}

// Answer answers with the page. The template gets the value as {{.Page}}. language is that of the page.
func (p HTMLPage) Answer(status int, language string, value any) (Answer, error) {
	var body bytes.Buffer
	if err := p.Template.Execute(&limited{&body}, htmlValues{p.Style, value}); err != nil {
		return Answer{}, fmt.Errorf("writing a page: %w", err)
	}
	sum := sha256.Sum256([]byte(p.Style))
	policy := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	answer := Answer{status: status, html: body.Bytes()}
	return answer.With("Content-Security-Policy", policy).With("Content-Language", language).With("Vary", "Accept-Language"), nil
}

// limited refuses more than a page may have.
type limited struct{ *bytes.Buffer }

// Write implements io.Writer.
func (l *limited) Write(b []byte) (int, error) {
	if l.Len()+len(b) > htmlMax {
		return 0, fmt.Errorf("a page has more than %d bytes", htmlMax)
	}
	return l.Buffer.Write(b)
}

func (a Answer) writeHTML(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(a.html)))
	h.Set("Referrer-Policy", "no-referrer") // the address may have a token
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(a.status)
	_, _ = w.Write(a.html) // the client has left and cannot get an error
}

// AcceptsHTML reports whether the client is a browser that shows a page. Programs do not name HTML, and get problems.
func AcceptsHTML(r *http.Request) bool {
	for _, accepted := range r.Header.Values("Accept") {
		for one := range strings.SplitSeq(accepted, ",") {
			if media, _, err := mime.ParseMediaType(one); err == nil && media == "text/html" {
				return true
			}
		}
	}
	return false
}
