package adapters

import (
	"embed"
	"errors"
	"html/template"
	"net/http"

	"caravan/internal/problem"
	"caravan/internal/request"
	"caravan/services/notifications/domain"
)

// pages has the pages for people who follow the link of a mail.
//
//go:embed pages
var pages embed.FS

// unsubscribePage asks before mails are switched off, and says that they are.
var unsubscribePage = request.HTMLPage{
	Template: template.Must(template.ParseFS(pages, "pages/unsubscribe.html")),
	Style:    mustStyle("pages/page.css"),
}

func mustStyle(file string) template.CSS {
	style, err := pages.ReadFile(file)
	if err != nil {
		panic(err) // it is embedded
	}
	return template.CSS(style)
}

// oneClick is the only field of the form, and its value (RFC 8058, 3.1).
const (
	oneClickField = "List-Unsubscribe"
	oneClickValue = "One-Click"
)

// showUnsubscription answers GET /v1/unsubscribe with a page that has a button. It changes nothing.
func (a API) showUnsubscription(r *http.Request) (request.Answer, error) {
	found, err := a.ShowUnsubscription.Do(r.Context(), r.URL.Query().Get("token"))
	if err != nil {
		return invalidLink(r, err)
	}
	return pageOf(r, found.Kind, found.Wishes, found.Off)
}

// unsubscribe answers POST /v1/unsubscribe: of the button, and of the mail program of the user.
func (a API) unsubscribe(r *http.Request) (request.Answer, error) {
	form, err := request.Form(r, oneClickField)
	if err != nil {
		return request.Answer{}, err
	}
	if form[oneClickField] != oneClickValue {
		return request.Answer{}, problem.Invalid(problem.FieldError{Field: oneClickField, Code: "oneof", Message: "must be " + oneClickValue})
	}
	found, err := a.Unsubscribe.Do(r.Context(), r.URL.Query().Get("token"))
	if err != nil {
		return invalidLink(r, err)
	}
	return pageOf(r, found.Kind, found.Wishes, found.Off)
}

func pageOf(r *http.Request, k domain.Kind, wishes *domain.Preferences, off bool) (request.Answer, error) {
	locale := wishes.Locale
	if locale == "" {
		locale = domain.AcceptedLocale(r.Header.Get("Accept-Language"))
	}
	text, err := domain.RenderUnsubscribe(k, locale, off)
	if err != nil {
		return request.Answer{}, err
	}
	return unsubscribePage.Answer(http.StatusOK, string(text.Locale), text)
}

// invalidLink is the page for a link that is not valid, for people. Programs get the problem.
func invalidLink(r *http.Request, err error) (request.Answer, error) {
	if !errors.Is(err, domain.ErrUnsubscribe) || !request.AcceptsHTML(r) {
		return request.Answer{}, err
	}
	text, err := domain.RenderInvalidUnsubscribe(domain.AcceptedLocale(r.Header.Get("Accept-Language")))
	if err != nil {
		return request.Answer{}, err
	}
	return unsubscribePage.Answer(http.StatusBadRequest, string(text.Locale), text)
}
