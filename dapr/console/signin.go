package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"caravan/dapr/client"
)

// signInView is what the page to sign in shows.
type signInView struct {
	Token   string // of the form
	Email   string
	Next    string
	Problem string
}

// startCookie has the token of the form to sign in, before there is a session.
func (s *server) startCookie() string { return s.cookie + "-start" }

func (s *server) showSignIn(w http.ResponseWriter, r *http.Request) {
	if s.sessionOf(r) != nil {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	s.signInPage(w, r, http.StatusOK, signInView{Next: r.URL.Query().Get("next")})
}

func (s *server) signInPage(w http.ResponseWriter, r *http.Request, status int, v signInView) {
	v.Token = rand.Text()
	http.SetCookie(w, &http.Cookie{
		Name: s.startCookie(), Value: v.Token, Path: "/sign-in", HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: 3600,
	})
	s.page(w, r, nil, status, "sign-in", "Sign in", v)
}

func (s *server) signIn(w http.ResponseWriter, r *http.Request) {
	v := signInView{Email: strings.TrimSpace(r.PostFormValue("email")), Next: r.PostFormValue("next")}
	password := r.PostFormValue("password")
	cookie, err := r.Cookie(s.startCookie())
	switch {
	case err != nil || cookie.Value == "" || subtle.ConstantTimeCompare([]byte(cookie.Value), []byte(r.PostFormValue("csrf"))) != 1:
		v.Problem = "The form is out of date. Try again."
		s.signInPage(w, r, http.StatusForbidden, v)
		return
	case v.Email == "" || password == "" || len(v.Email) > 254 || len(password) > 1024:
		v.Problem = "Enter your e-mail address and your password."
		s.signInPage(w, r, http.StatusUnprocessableEntity, v)
		return
	}
	sess, status, text := s.open(r.Context(), v.Email, password)
	if sess == nil {
		slog.Info("sign-in refused", "status", status)
		v.Problem = text
		s.signInPage(w, r, status, v)
		return
	}
	s.sessions.add(sess)
	slog.Info("signed in", "user", sess.user, "roles", sess.roles)
	http.SetCookie(w, &http.Cookie{Name: s.cookie, Value: sess.id, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
	http.SetCookie(w, &http.Cookie{Name: s.startCookie(), Path: "/sign-in", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	http.Redirect(w, r, localPath(v.Next), http.StatusSeeOther)
}

// open signs somebody in at the gateway, and finds out whether they are staff. Without a session it returns a status and a text.
func (s *server) open(ctx context.Context, email, password string) (sess *session, status int, text string) {
	ctx, cancel := context.WithTimeout(ctx, signInTimeout)
	defer cancel()
	granted, err := s.gateway.SignIn(ctx, client.Credentials{Email: email, Password: password})
	switch client.Status(err) {
	case 0:
		if err != nil {
			return nil, http.StatusBadGateway, "The gateway does not answer. Try again when it runs."
		}
	case http.StatusUnauthorized, http.StatusBadRequest, http.StatusUnprocessableEntity:
		return nil, http.StatusUnauthorized, "E-mail address or password is wrong."
	case http.StatusTooManyRequests:
		return nil, http.StatusTooManyRequests, "There were too many attempts. Wait a minute."
	default:
		return nil, http.StatusBadGateway, "The gateway cannot sign anybody in at present: " + reason(err)
	}
	staff := s.gateway.Resume(granted)
	// The gateway decides who may read the state of the shop.
	if _, err := staff.OpsListBreakers(ctx); err != nil {
		closing, done := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		defer done()
		_ = staff.SignOut(closing) // the session is of no use
		if client.Status(err) == http.StatusForbidden {
			return nil, http.StatusForbidden, "This account is not allowed to use the console. Staff permissions are needed."
		}
		return nil, http.StatusBadGateway, "The gateway cannot tell what this account may do: " + reason(err)
	}
	me, err := staff.GetOwnUser(ctx)
	if err != nil {
		return nil, http.StatusBadGateway, "The gateway cannot show this account: " + reason(err)
	}
	sess = &session{user: me.ID, name: me.Name, staff: staff, board: newBoard()}
	for _, role := range me.Roles {
		sess.roles = append(sess.roles, string(role))
	}
	return sess, http.StatusOK, ""
}

func (s *server) signOut(w http.ResponseWriter, r *http.Request, sess *session) {
	ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
	defer cancel()
	if err := sess.staff.SignOut(ctx); err != nil {
		slog.Warn("the gateway did not end a session; it ends by itself", "error", err.Error())
	}
	s.sessions.remove(sess)
	http.SetCookie(w, &http.Cookie{Name: s.cookie, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteStrictMode, Expires: time.Unix(1, 0)})
	http.Redirect(w, r, "/sign-in", http.StatusSeeOther)
}

// localPath returns a path of this site, or "/" if the text is another site's address or no path.
func localPath(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(u.Path, "/") || strings.HasPrefix(text, "//") || strings.ContainsAny(text, "\\\r\n\t") {
		return "/"
	}
	return u.RequestURI()
}
