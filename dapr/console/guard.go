package main

import (
	"crypto/subtle"
	"net"
	"net/http"
	"strings"

	"caravan/dapr/client"
)

// pagePolicy allows only what comes from this server (https://www.w3.org/TR/CSP3/).
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'self'; " +
	"frame-ancestors 'none'; base-uri 'none'"

// maxForm is how many bytes a form may have.
const maxForm = 64 << 10

// guard keeps other web sites out, which a browser on this machine may have open, and sets the headers of all answers.
func (s *server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", pagePolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if !loopbackName(r.Host) {
			http.Error(w, "Open this page as 127.0.0.1 or localhost.", http.StatusMisdirectedRequest)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		next.ServeHTTP(w, r)
	})
}

// loopbackName accepts a loopback address and localhost. Any other name may be another site's that resolves to this machine.
func loopbackName(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return ip != nil && ip.IsLoopback()
}

// signedIn passes requests of a session on, and checks the token of forms. Others get the page to sign in.
func (s *server) signedIn(serve func(http.ResponseWriter, *http.Request, *session)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		sess := s.sessionOf(r)
		if sess == nil {
			s.askToSignIn(w, r)
			return
		}
		if r.Method == http.MethodPost && !sess.accepts(r) {
			s.fail(w, r, http.StatusForbidden, "The form is out of date or was not sent by this page. Load the page again, and repeat.")
			return
		}
		serve(w, r, sess)
	}
}

func (s *server) sessionOf(r *http.Request) *session {
	cookie, err := r.Cookie(s.cookie)
	if err != nil {
		return nil
	}
	return s.sessions.find(cookie.Value)
}

// accepts reports whether a form has the session's token.
func (sess *session) accepts(r *http.Request) bool {
	return subtle.ConstantTimeCompare([]byte(r.PostFormValue("csrf")), []byte(sess.csrf)) == 1
}

// askToSignIn sends a person to the page to sign in. An event stream gets an event that says so, because a browser would repeat a
// stream that ends.
func (s *server) askToSignIn(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasSuffix(r.URL.Path, "/stream"):
		newEvents(w).send("signed-out", nil)
	case wantsJSON(r):
		writeJSON(w, http.StatusUnauthorized, answer{Error: "You are signed out. Sign in again.", Next: "/sign-in"})
	case r.Method == http.MethodGet:
		http.Redirect(w, r, "/sign-in?next="+escape(r.URL.RequestURI()), http.StatusSeeOther)
	default:
		http.Redirect(w, r, "/sign-in", http.StatusSeeOther)
	}
}

// refused reports whether a call failed because the session ended at the gateway or lost its permission.
func refused(err error) bool {
	status := client.Status(err)
	return status == http.StatusUnauthorized || status == http.StatusForbidden
}
